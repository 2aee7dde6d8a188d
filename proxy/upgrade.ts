import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { cutOff } from './cut-off.ts'
import { readFrom } from './reading.ts'
import { relayedHeaders } from './request-passes.ts'
import type { Route } from './routes.ts'
import type {
  TargetAnswer,
  TargetEvents,
  TargetExchange,
  TargetFailure,
  TargetRequest,
  Tunnel,
} from './target-client.ts'

/** One WebSocket handshake of a client (RFC 6455 4). */
export interface UpgradeForwarding {
  readonly request: IncomingMessage
  readonly socket: Duplex
  /** What the client sent together with the handshake. */
  readonly early: Buffer
  readonly route: Route
  readonly head: TargetRequest
  /** How long the open WebSocket may be silent both ways, in milliseconds; 0 for ever. */
  readonly silence: number
  /** Called at most once, before anything was sent to the client: the callee answers and ends the socket. */
  readonly failed: (failure: TargetFailure) => void
}

/** How much a client may send ahead of the target's answer before it has to wait. */
const maxEarlyBytes = 64 * 1024
/** How long one side may go on after the other one has ended, in milliseconds. */
const lingerFor = 5_000
const keepAliveProbe = 30_000

/**
 * Forwards one handshake and, after the target's 101, splices the two connections: bytes pass as they
 * are, frames are never parsed. Both sides end together at every stage. An answer other than 101 is
 * relayed, then the connection is closed.
 */
export function forwardUpgrade(forwarding: UpgradeForwarding): void {
  new ForwardedUpgrade(forwarding).start()
}

/** Answers a handshake that goes nowhere, and ends the connection. There is never a page. */
export function refuseUpgrade(socket: Duplex, status: number, reason: string): void {
  socket.on('error', ignore)
  endSoon(socket)
  if (!socket.writable) return void socket.destroy()
  socket.end(`HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  socket.resume()
}

/** Lives until the target has answered: an open WebSocket holds nothing of its handshake. */
class ForwardedUpgrade implements TargetEvents {
  readonly #forwarding: UpgradeForwarding
  readonly #early: Buffer[] = []
  #earlyBytes = 0
  #exchange: TargetExchange | null = null
  readonly #keepEarly = (chunk: Buffer) => {
    this.#early.push(chunk)
    this.#earlyBytes += chunk.length
    if (this.#earlyBytes > maxEarlyBytes) this.#forwarding.socket.pause()
  }
  readonly #abort = () => {
    this.#exchange?.abort()
    this.#forwarding.socket.destroy()
  }
  readonly #drain = () => this.#exchange?.resume()

  constructor(forwarding: UpgradeForwarding) {
    this.#forwarding = forwarding
    if (forwarding.early.length > 0) this.#keepEarly(forwarding.early)
  }

  start(): void {
    const { socket, route, head } = this.#forwarding
    keepAlive(socket)
    socket.on('error', ignore)
    socket.on('close', this.#abort)
    socket.on('end', this.#abort)
    socket.on('data', this.#keepEarly)
    this.#exchange = route.pool.send(head, this)
  }

  upgraded(answer: TargetAnswer, tunnel: Tunnel): void {
    const { socket, route, silence } = this.#forwarding
    const { socket: target, first } = tunnel
    this.#release()
    if (silence > 0) endWhenSilent(socket, silence)
    target.on('error', ignore)
    keepAlive(target)
    const relayed = relayedHeaders(answer.headers, answer.status)
    const head = headOf(answer, [...relayed, 'Connection', 'Upgrade', 'Upgrade', 'websocket'])
    if (first.length === 0) socket.write(head, 'latin1')
    else socket.write(Buffer.concat([Buffer.from(head, 'latin1'), first]))
    for (const chunk of this.#early) target.write(chunk)
    if (this.#earlyBytes > 0) route.touch()
    splice(socket, tunnel, route)
  }

  informed(): void {}

  answered(answer: TargetAnswer): void {
    const { socket } = this.#forwarding
    socket.off('data', this.#keepEarly)
    socket.off('end', this.#abort)
    socket.resume()
    socket.on('drain', this.#drain)
    const relayed = relayedHeaders(answer.headers, answer.status)
    socket.write(headOf(answer, [...relayed, 'Connection', 'close']), 'latin1')
  }

  data(piece: Buffer): void {
    if (!this.#forwarding.socket.write(Buffer.from(piece))) this.#exchange?.pause()
  }

  ended(): void {
    const { socket } = this.#forwarding
    socket.end()
    endSoon(socket)
  }

  /** Without a reset the end of the connection would look like the end of the answer. */
  broken(): void {
    cutOff(this.#forwarding.socket)
  }

  flush(): void {}

  drained(): void {}

  failed(failure: TargetFailure): void {
    const { socket, failed } = this.#forwarding
    this.#release()
    if (!socket.destroyed) failed(failure)
  }

  #release(): void {
    const { socket } = this.#forwarding
    socket.off('data', this.#keepEarly)
    socket.off('end', this.#abort)
    socket.off('close', this.#abort)
  }
}

/** Passes everything on both ways until one side ends; then the other does. Errors are told by `close`. */
function splice(client: Duplex, tunnel: Tunnel, route: Route): void {
  const target = tunnel.socket
  readFrom(client, (piece) => {
    route.touch()
    if (!target.write(Buffer.from(piece))) client.pause()
  })
  tunnel.read((piece) => {
    if (!client.write(Buffer.from(piece))) target.pause()
  })
  endTogether(client, target)
  endTogether(target, client)
  client.resume()
}

/** What `from` says about its end and its pace, is said to `to`. */
function endTogether(from: Duplex, to: Duplex): void {
  from.on('drain', () => to.resume())
  from.on('end', () => {
    to.end()
    endSoon(from, to)
  })
  from.on('close', () => {
    if (from.errored || !from.readableEnded) return void to.destroy()
    if (to.writable) to.end()
    to.resume()
    endSoon(to)
  })
  if (from.destroyed) to.destroy()
}

/** Gives what is still to be written a moment, then ends the connections for good. */
function endSoon(...sockets: readonly Duplex[]): void {
  for (const socket of sockets) {
    if (socket.destroyed) continue
    const timer = setTimeout(() => socket.destroy(), lingerFor)
    socket.once('close', () => clearTimeout(timer))
  }
}

function endWhenSilent(socket: Duplex, ms: number): void {
  if (socket instanceof Socket) socket.setTimeout(ms, () => socket.destroy())
}

function ignore(): void {}

function keepAlive(socket: Duplex): void {
  if (!(socket instanceof Socket)) return
  socket.setTimeout(0)
  socket.setNoDelay(true)
  socket.setKeepAlive(true, keepAliveProbe)
}

function headOf({ status, reason }: TargetAnswer, headers: readonly string[]): string {
  let head = `HTTP/1.1 ${status} ${reason}\r\n`
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`
  return `${head}\r\n`
}
