import type { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { relayedHeaders } from './request-passes.ts'
import type { Route } from './routes.ts'
import type {
  TargetAnswer,
  TargetBody,
  TargetExchange,
  TargetFailure,
  TargetRequest,
} from './target-client.ts'

/** One WebSocket handshake of a client (RFC 6455 4). */
export interface UpgradeForwarding {
  readonly request: IncomingMessage
  readonly socket: Duplex
  /** What the client sent together with the handshake. */
  readonly early: Buffer
  readonly route: Route
  readonly head: TargetRequest
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
  socket.on('error', () => {})
  endBoth(socket)
  if (!socket.writable) return void socket.destroy()
  socket.end(`HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  socket.resume()
}

class ForwardedUpgrade {
  readonly #forwarding: UpgradeForwarding
  readonly #early: Buffer[]
  #earlyBytes: number
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

  constructor(forwarding: UpgradeForwarding) {
    this.#forwarding = forwarding
    this.#early = [forwarding.early]
    this.#earlyBytes = forwarding.early.length
  }

  start(): void {
    const { socket, route, head } = this.#forwarding
    keepAlive(socket)
    socket.on('error', () => {})
    socket.once('close', this.#abort)
    socket.once('end', this.#abort)
    socket.on('data', this.#keepEarly)
    this.#exchange = route.pool.send(head, {
      informed: () => {},
      answered: (answer, body) => this.#relay(answer, body),
      upgraded: (answer, target, first) => this.#splice(answer, target, first),
      failed: (failure) => this.#failed(failure),
    })
    this.#exchange.finish([])
  }

  #splice(answer: TargetAnswer, target: Duplex, first: Buffer): void {
    const { socket, route } = this.#forwarding
    this.#release()
    keepAlive(target)
    const relayed = relayedHeaders(answer.headers, answer.status)
    socket.write(headBytes(answer, [...relayed, 'Connection', 'Upgrade', 'Upgrade', 'websocket']))
    if (first.length > 0) socket.write(first)
    for (const chunk of this.#early) target.write(chunk)
    if (this.#earlyBytes > 0) route.touch()
    socket.on('data', () => route.touch())
    join(socket, target)
  }

  #relay(answer: TargetAnswer, body: TargetBody): void {
    const { socket } = this.#forwarding
    socket.off('data', this.#keepEarly)
    socket.resume()
    const relayed = relayedHeaders(answer.headers, answer.status)
    socket.write(headBytes(answer, [...relayed, 'Connection', 'close']))
    body.pipe(socket)
    body.once('end', () => endBoth(socket))
    body.once('close', () => {
      if (!body.readableEnded) socket.destroy()
    })
  }

  #failed(failure: TargetFailure): void {
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

/** Passes everything on both ways until one side ends; then the other does. */
function join(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => {})
    from.pipe(to)
    from.once('end', () => endBoth(from, to))
    from.once('close', () => {
      if (to.writable) to.end()
      to.resume()
      endBoth(to)
    })
    if (from.destroyed) to.destroy()
  }
}

/** Gives what is still to be written a moment, then ends the connections for good. */
function endBoth(...sockets: readonly Duplex[]): void {
  for (const socket of sockets) {
    if (socket.destroyed) continue
    const timer = setTimeout(() => socket.destroy(), lingerFor)
    socket.once('close', () => clearTimeout(timer))
  }
}

function keepAlive(socket: Duplex): void {
  if (!(socket instanceof Socket)) return
  socket.setTimeout(0)
  socket.setNoDelay(true)
  socket.setKeepAlive(true, keepAliveProbe)
}

function headBytes({ status, reason }: TargetAnswer, headers: readonly string[]): Buffer {
  let head = `HTTP/1.1 ${status} ${reason}\r\n`
  for (let i = 0; i < headers.length; i += 2) head += `${headers[i]}: ${headers[i + 1]}\r\n`
  return Buffer.from(`${head}\r\n`, 'latin1')
}
