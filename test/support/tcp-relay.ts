import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'

/** A listener in between that writes down what passes. */
export interface Relay {
  readonly host: string
  readonly port: number
  /** Everything that clients have sent, over all connections. */
  readonly sent: () => Buffer
  readonly connections: () => number
  /** Ends all connections at once, without a word. */
  cut(): void
  /** Where new connections lead; null: they are taken and never answered. */
  lead(port: number | null): void
}

/**
 * Relays TCP from a port of its own to `port` on 127.0.0.1. `rewrite` may change what the server
 * says, piece by piece, and `rewriteSent` what clients say.
 */
export async function startRelay(
  t: TestContext,
  port: number | null,
  options: {
    readonly host?: string
    readonly rewrite?: (bytes: Buffer) => Buffer
    readonly rewriteSent?: (bytes: Buffer) => Buffer
  } = {},
): Promise<Relay> {
  const unchanged = (bytes: Buffer): Buffer => bytes
  const { host = '127.0.0.1', rewrite = unchanged, rewriteSent = unchanged } = options
  const sockets = new Set<Socket>()
  const sent: Buffer[] = []
  let count = 0
  let target = port
  const keep = (socket: Socket): Socket => {
    sockets.add(socket)
    return socket.on('error', () => {}).on('close', () => sockets.delete(socket))
  }
  const server = createServer((client) => {
    count += 1
    keep(client).on('data', (bytes) => sent.push(bytes))
    if (target === null) return
    const upstream = keep(connect(target, '127.0.0.1'))
    client
      .on('data', (bytes) => upstream.write(rewriteSent(bytes)))
      .on('close', () => upstream.destroy())
    upstream.on('data', (bytes) => client.write(rewrite(bytes))).on('close', () => client.destroy())
  })
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  server.listen(0, host)
  await once(server, 'listening')
  t.after(() => {
    cut()
    server.close()
  })
  return {
    host,
    port: (server.address() as AddressInfo).port,
    sent: () => Buffer.concat(sent),
    connections: () => count,
    cut,
    lead: (other) => void (target = other),
  }
}
