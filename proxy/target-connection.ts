import { type NetConnectOpts, type Socket, connect, isIP } from 'node:net'
import { type ConnectionOptions, type SecureContext, connect as connectTls } from 'node:tls'
import { AnswerParser, type AnswerSink } from './answer-parser.ts'
import { InvalidMessage } from './head-reader.ts'
import { type Take, readInto } from './reading.ts'
import type { Target } from './target.ts'
import type {
  TargetAnswer,
  TargetEvents,
  TargetExchange,
  TargetFailure,
  TargetRequest,
} from './target-client.ts'

/** Milliseconds. */
export interface TargetTimeouts {
  readonly connect: number
  /** How long a target may be silent within an exchange; 0 for no limit. */
  readonly idle: number
  /** How long a target may take to answer an upgrade. */
  readonly upgrade: number
}

/** What `https` targets are shown and measured by. */
export interface TargetTls {
  /** Our certificate and the authorities we trust; Node's own when absent. */
  readonly secureContext?: SecureContext
  /** False accepts any certificate. Default: true. */
  readonly rejectUnauthorized?: boolean
  /** Of an earlier connection to the same target: saves both sides most of the handshake. */
  readonly session?: Buffer
}

/** Whom a connection tells what becomes of it. */
export interface ConnectionOwner {
  /** The exchange has ended, and the connection may carry another one. */
  released(connection: TargetConnection): void
  /** It carries nothing any more. Called once, also after `released`. */
  gone(connection: TargetConnection): void
  /** How the connection was made, with a session that the next one may resume. */
  learned(tls: TargetTls): void
}

export interface ConnectionPlan {
  readonly target: Target
  readonly tls: TargetTls
  readonly timeouts: TargetTimeouts
  readonly owner: ConnectionOwner
}

const keepAliveProbe = 30_000

/** Who takes what a socket reads. The socket knows nobody else, so that whom it was handed over by can go. */
interface Reader {
  take: Take
}

/** One connection to a target. Carries one exchange after the other, never two. */
export class TargetConnection implements AnswerSink {
  /** Milliseconds of the monotonic clock, set by the owner while nothing is carried. */
  expires = 0
  readonly #plan: ConnectionPlan
  readonly #socket: Socket
  readonly #parser = new AnswerParser(this)
  #exchange: Exchange | null = null
  /** Its answer is whole, but the read that brought its end is not done with. */
  #finished: Exchange | null = null
  /** Milliseconds of silence that end the exchange; 0 for any. */
  #limit = 0
  #hasServed = false
  readonly #reader: Reader
  /** For the connection to be made, then for the answer to an upgrade. */
  #deadline: NodeJS.Timeout
  #isGone = false

  /** Connects. */
  constructor(plan: ConnectionPlan) {
    this.#plan = plan
    const { target, tls, timeouts } = plan
    this.#reader = { take: (chunk) => this.#read(chunk) }
    this.#socket = target.secure
      ? connectTls(tlsOptions(target, tls))
      : connect({ ...plainOptions(target), onread: readInto(tellTo(this.#reader)) })
    const socket = this.#socket
    if (target.secure) {
      socket.once('session', (session: Buffer) => plan.owner.learned({ ...tls, session }))
      socket.setNoDelay(true).setKeepAlive(true, keepAliveProbe)
      socket.on('data', tellTo(this.#reader))
    }
    socket.on('error', this.#lost)
    socket.on('end', this.#ended)
    socket.on('close', this.#lost)
    socket.on('drain', this.#drained)
    socket.on('timeout', this.#timedOut)
    socket.on(target.secure ? 'secureConnect' : 'connect', this.#connected)
    this.#deadline = setTimeout(this.#unreachable, timeouts.connect)
  }

  get isPersistent(): boolean {
    return this.#parser.isPersistent
  }

  /** Seconds that the target has announced, or null. */
  get keepFor(): number | null {
    return this.#parser.keepFor
  }

  /** Sends the head of a request. The connection must carry nothing. */
  send(request: TargetRequest, events: TargetEvents): TargetExchange {
    const exchange = new Exchange(this, this.#socket, request, events, this.#hasServed)
    this.#exchange = exchange
    this.#parser.begin(request)
    const { idle, upgrade } = this.#plan.timeouts
    this.#limit = idle || (request.isUpgrade ? upgrade : 0)
    // A socket would keep what is left of its timer for as long as a WebSocket is open.
    if (this.#limit > 0 && !request.isUpgrade) this.#socket.setTimeout(this.#limit)
    exchange.sendHead(request)
    return exchange
  }

  destroy(): void {
    this.#leave()
    this.#socket.destroy()
  }

  informed(answer: TargetAnswer): void {
    this.#exchange?.events.informed(answer)
  }

  answered(answer: TargetAnswer): void {
    const exchange = this.#exchange
    if (!exchange) return
    exchange.isAnswered = true
    clearTimeout(this.#deadline)
    if (this.#limit > 0 && exchange.isUpgrade) this.#socket.setTimeout(this.#limit)
    exchange.events.answered(answer)
  }

  data(piece: Buffer): void {
    this.#exchange?.events.data(piece)
  }

  ended(trailers: readonly string[]): void {
    const exchange = this.#exchange
    if (!exchange) return
    this.#exchange = null
    this.#hasServed = true
    exchange.isOver = true
    exchange.events.ended(trailers)
    exchange.canBeFollowed = exchange.isSent && this.isPersistent
    // What follows within the same read decides whether the connection can be trusted.
    this.#finished = exchange
  }

  upgraded(answer: TargetAnswer, first: Buffer): void {
    const exchange = this.#exchange
    if (!exchange) return
    const socket = this.#socket
    const reader = this.#reader
    this.#leave()
    socket.off('end', this.#ended).off('close', this.#lost)
    socket.off('drain', this.#drained).off('timeout', this.#timedOut)
    socket.off(this.#plan.target.secure ? 'secureConnect' : 'connect', this.#connected)
    const read = (take: Take) => void (reader.take = take)
    exchange.events.upgraded(answer, { socket, first, read })
    // An open WebSocket holds nothing of its handshake.
    socket.off('error', this.#lost)
  }

  pause(): void {
    this.#socket.pause()
    // It is the client that is slow, not the target.
    if (this.#limit > 0) this.#socket.setTimeout(0)
  }

  resume(): void {
    if (this.#limit > 0) this.#socket.setTimeout(this.#limit)
    this.#socket.resume()
  }

  /** Ends the connection of an exchange that nobody wants any more. */
  abort(exchange: Exchange): void {
    if (this.#exchange === exchange) this.destroy()
  }

  #read(chunk: Buffer): void {
    // Nobody has asked for anything: whatever it is, it must not become the next answer.
    if (this.#exchange === null) return this.destroy()
    this.#exchange.isHeard = true
    try {
      this.#parser.push(chunk)
    } catch (error) {
      if (!(error instanceof InvalidMessage)) throw error
      this.#refuse(error)
    }
    this.#settle()
  }

  /** After everything that one read has brought. */
  #settle(): void {
    this.#exchange?.events.flush()
    const finished = this.#finished
    if (!finished) return
    this.#finished = null
    if (this.#isGone) return
    if (!finished.canBeFollowed || !this.isPersistent) return this.destroy()
    if (this.#limit > 0) this.#socket.setTimeout(0)
    this.#socket.resume()
    this.#plan.owner.released(this)
  }

  #refuse(error: InvalidMessage): void {
    const exchange = this.#exchange
    this.destroy()
    if (exchange) exchange.fail(new Error(`invalid answer: ${error.message}`), true)
  }

  readonly #ended = (): void => {
    if (this.#exchange && !this.#parser.end()) return this.#lost()
    this.#finished = null
    this.destroy()
  }

  readonly #lost = (error?: Error | boolean): void => {
    const exchange = this.#exchange
    this.destroy()
    const cause = error instanceof Error ? error : new Error('the target closed the connection')
    exchange?.fail(cause, false)
  }

  readonly #connected = (): void => {
    clearTimeout(this.#deadline)
    if (!this.#exchange?.isUpgrade) return
    this.#deadline = setTimeout(this.#timedOut, this.#limit)
  }

  readonly #unreachable = (): void => this.#lost(timedOut('could not be reached'))

  readonly #drained = (): void => this.#exchange?.events.drained()

  readonly #timedOut = (): void => this.#lost(timedOut('did not answer'))

  #leave(): void {
    this.#exchange = null
    if (this.#isGone) return
    this.#isGone = true
    clearTimeout(this.#deadline)
    this.#plan.owner.gone(this)
  }
}

/** One request and its answer. */
class Exchange implements TargetExchange {
  readonly events: TargetEvents
  isHeard = false
  isAnswered = false
  isSent: boolean
  readonly isUpgrade: boolean
  isOver = false
  canBeFollowed = false
  readonly #connection: TargetConnection
  readonly #socket: Socket
  readonly #isChunked: boolean
  readonly #isReused: boolean

  constructor(
    connection: TargetConnection,
    socket: Socket,
    request: TargetRequest,
    events: TargetEvents,
    isReused: boolean,
  ) {
    this.events = events
    this.isSent = request.body === 'none'
    this.isUpgrade = request.isUpgrade
    this.#connection = connection
    this.#socket = socket
    this.#isChunked = request.body === 'chunked'
    this.#isReused = isReused
  }

  /** With the beginning of the body, when that is there at once. */
  sendHead(request: TargetRequest): void {
    if (!this.isSent) {
      this.#socket.cork()
      process.nextTick(uncork, this.#socket)
    }
    this.#socket.write(headOf(request), 'latin1')
  }

  write(piece: Buffer): boolean {
    if (this.isOver || piece.length === 0) return true
    if (!this.#isChunked) return this.#socket.write(piece)
    this.#socket.cork()
    this.#socket.write(`${piece.length.toString(16)}\r\n`, 'latin1')
    this.#socket.write(piece)
    const takesMore = this.#socket.write('\r\n', 'latin1')
    this.#socket.uncork()
    return takesMore
  }

  finish(trailers: readonly string[]): void {
    if (this.isOver || this.isSent) return
    this.isSent = true
    if (this.#isChunked) this.#socket.write(`0\r\n${linesOf(trailers)}\r\n`, 'latin1')
  }

  pause(): void {
    if (!this.isOver) this.#connection.pause()
  }

  resume(): void {
    if (!this.isOver) this.#connection.resume()
  }

  abort(): void {
    this.isOver = true
    this.#connection.abort(this)
  }

  fail(error: Error, isInvalidAnswer: boolean): void {
    if (this.isOver) return
    this.isOver = true
    if (this.isAnswered) return this.events.broken()
    const onReusedConnection = this.#isReused && !this.isHeard
    const failure: TargetFailure = { error, onReusedConnection, isInvalidAnswer }
    this.events.failed(failure)
  }
}

function tellTo(reader: Reader): Take {
  return (chunk) => reader.take(chunk)
}

function headOf({ method, path, headers }: TargetRequest): string {
  return `${method} ${path} HTTP/1.1\r\n${linesOf(headers)}\r\n`
}

function linesOf(fields: readonly string[]): string {
  let lines = ''
  for (let i = 0; i < fields.length; i += 2) lines += `${fields[i]}: ${fields[i + 1]}\r\n`
  return lines
}

function uncork(socket: Socket): void {
  socket.uncork()
}

/** Spread into what `connect` gets: sockets made from a plain literal cost Node a quarter more. */
function plainOptions({ connect: where }: Target): NetConnectOpts {
  const common = {
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveProbe,
  }
  return 'socketPath' in where
    ? { ...common, path: where.socketPath }
    : { ...common, host: where.host, port: where.port }
}

function tlsOptions(target: Target, tls: TargetTls): ConnectionOptions {
  const { connect: where } = target
  return {
    ...tls,
    ...('socketPath' in where ? { path: where.socketPath } : where),
    servername: serverName(target),
    ALPNProtocols: ['http/1.1'],
  }
}

/** What the certificate must be made out to: the target's own name; none for an address. */
function serverName({ host }: Target): string {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return isIP(name) === 0 ? name : ''
}

function timedOut(what: string): Error {
  return Object.assign(new Error(`the target ${what} in time`), { code: 'ETIMEDOUT' })
}
