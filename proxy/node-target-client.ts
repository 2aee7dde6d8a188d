import http from 'node:http'
import https from 'node:https'
import { isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Target } from './target.ts'
import type {
  TargetAnswer,
  TargetClient,
  TargetEvents,
  TargetExchange,
  TargetPool,
  TargetRequest,
} from './target-client.ts'
import type { TargetTls } from './target-tls.ts'

/** Milliseconds. */
export interface TargetTimeouts {
  readonly connect: number
  /** How long a target may be silent within an exchange; 0 for no limit. */
  readonly idle: number
  /** How long a target may take to answer an upgrade. */
  readonly upgrade: number
}

const maxHeadBytes = 64 * 1024
/** How long a connection is kept for the next request: less than the 5 s after which many targets end it. */
const keepFor = 4_000
const keepAliveProbe = 30_000

/** Speaks to targets through http.request, with one keep-alive agent per target. */
export class NodeTargetClient implements TargetClient {
  readonly #timeouts: TargetTimeouts
  readonly #tls: TargetTls

  constructor(timeouts: TargetTimeouts, tls: TargetTls) {
    this.#timeouts = timeouts
    this.#tls = tls
  }

  pool(target: Target): TargetPool {
    return new NodePool(target, this.#timeouts, this.#tls)
  }
}

class NodePool implements TargetPool {
  readonly #target: Target
  readonly #timeouts: TargetTimeouts
  readonly #agent: http.Agent
  readonly #tls: TargetTls

  constructor(target: Target, timeouts: TargetTimeouts, tls: TargetTls) {
    this.#target = target
    this.#tls = tls
    this.#timeouts = timeouts
    const options: http.AgentOptions = {
      keepAlive: true,
      keepAliveMsecs: keepAliveProbe,
      maxFreeSockets: 32,
      scheduling: 'lifo',
      timeout: keepFor,
    }
    this.#agent = target.secure ? new https.Agent(options) : new http.Agent(options)
  }

  send(request: TargetRequest, events: TargetEvents): TargetExchange {
    const { secure, connect } = this.#target
    const outgoing = (secure ? https : http).request({
      ...connect,
      method: request.method,
      path: request.path,
      headers: request.headers,
      agent: request.isUpgrade ? false : this.#agent,
      maxHeaderSize: maxHeadBytes,
      ...(secure && { servername: serverName(this.#target), ...this.#tls.options() }),
    })
    return new NodeExchange(outgoing, request.isUpgrade, events, this.#timeouts)
  }

  dropIdle(): void {
    for (const sockets of Object.values(this.#agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy()
    }
  }

  close(): void {
    this.#agent.maxFreeSockets = 0
    this.dropIdle()
  }
}

/** One http.request. The first of its events decides; later ones are the end of the same story. */
class NodeExchange implements TargetExchange {
  readonly body: http.ClientRequest
  readonly #events: TargetEvents
  #isDecided = false

  constructor(
    outgoing: http.ClientRequest,
    isUpgrade: boolean,
    events: TargetEvents,
    timeouts: TargetTimeouts,
  ) {
    this.body = outgoing
    this.#events = events
    outgoing.on('information', (info) => this.#informed(info))
    outgoing.on('response', (answer) => this.#answered(answer))
    outgoing.on('upgrade', (answer, socket, head) =>
      this.#upgraded(answer, socket, head, isUpgrade),
    )
    outgoing.on('error', (error: NodeJS.ErrnoException) => this.#failed(error))
    outgoing.on('close', () => this.#failed(new Error('the target closed the connection')))
    limitConnect(outgoing, timeouts.connect)
    const idle = timeouts.idle || (isUpgrade ? timeouts.upgrade : 0)
    if (idle > 0) outgoing.setTimeout(idle, () => outgoing.destroy(timedOut('did not answer')))
  }

  begin(): void {
    this.body.flushHeaders()
  }

  finish(trailers: readonly string[]): void {
    if (trailers.length > 0 && this.body.chunkedEncoding) this.body.addTrailers(pairs(trailers))
    this.body.end()
  }

  abort(): void {
    this.#isDecided = true
    this.body.destroy()
  }

  #informed(info: http.InformationEvent): void {
    if (this.#isDecided || info.statusCode === 100) return
    this.#events.informed({
      status: info.statusCode,
      reason: info.statusMessage,
      headers: info.rawHeaders,
    })
  }

  #answered(answer: http.IncomingMessage): void {
    if (this.#isDecided) return void answer.destroy()
    if (!isHttp1(answer)) return this.#refuse('the target does not speak HTTP/1.1')
    if (answer.statusCode === 101) return this.#refuse('the target switched to no protocol')
    this.#isDecided = true
    // An answer that breaks off also emits an error; its end is told by `close`.
    answer.on('error', () => {})
    this.#events.answered(headOf(answer), answer)
  }

  #upgraded(answer: http.IncomingMessage, socket: Duplex, head: Buffer, isUpgrade: boolean): void {
    socket.on('error', () => {})
    const protocol = answer.headers.upgrade?.toLowerCase()
    if (this.#isDecided || !isUpgrade || protocol !== 'websocket' || !isHttp1(answer)) {
      socket.destroy()
      return this.#refuse('the target switched to a protocol that was not asked for')
    }
    this.#isDecided = true
    this.#events.upgraded(headOf(answer), socket, head)
  }

  #refuse(reason: string): void {
    if (this.#isDecided) return
    this.#isDecided = true
    this.#events.failed({
      error: new Error(reason),
      onReusedConnection: false,
      isInvalidAnswer: true,
    })
    this.body.destroy()
  }

  #failed(error: NodeJS.ErrnoException): void {
    if (this.#isDecided) return
    this.#isDecided = true
    const isInvalidAnswer = error.code?.startsWith('HPE_') ?? false
    const onReusedConnection = this.body.reusedSocket && !isInvalidAnswer
    this.#events.failed({ error, onReusedConnection, isInvalidAnswer })
    this.body.destroy()
  }
}

/** Only while a new connection is made: the timer never outlives it. */
function limitConnect(outgoing: http.ClientRequest, ms: number): void {
  outgoing.once('socket', (socket) => {
    if (!socket.connecting) return
    const timer = setTimeout(() => outgoing.destroy(timedOut('could not be reached')), ms)
    socket.once('connect', () => clearTimeout(timer))
    socket.once('close', () => clearTimeout(timer))
  })
}

function timedOut(what: string): Error {
  return Object.assign(new Error(`the target ${what} in time`), { code: 'ETIMEDOUT' })
}

/** What the certificate must be made out to: the target's own name; none for an address. */
function serverName({ host }: Target): string {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return isIP(name) === 0 ? name : ''
}

function isHttp1({ httpVersion }: http.IncomingMessage): boolean {
  return httpVersion === '1.1' || httpVersion === '1.0'
}

function headOf(answer: http.IncomingMessage): TargetAnswer {
  return {
    status: answer.statusCode ?? 0,
    reason: answer.statusMessage ?? '',
    headers: answer.rawHeaders,
  }
}

/** Trailers as node:http wants them. */
export function pairs(flat: readonly string[]): [name: string, value: string][] {
  const result: [string, string][] = []
  for (let i = 0; i < flat.length; i += 2) result.push([flat[i] ?? '', flat[i + 1] ?? ''])
  return result
}
