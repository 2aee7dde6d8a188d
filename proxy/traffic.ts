import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import type { AccessLog } from './access-log.ts'
import type { Metrics } from './metrics.ts'
import type { TargetFailure } from './target-client.ts'

/** A request under way, as far as it is counted. */
export interface Visit {
  readonly method: string
  readonly url: string
  readonly socket: Socket
  readonly startedAt: number
  readonly bytesBefore: number
}

/** How a request ended. */
export interface Ending {
  readonly client: string | null
  readonly status: number
  readonly route: string | null
  readonly isWebSocket: boolean
}

/** Tells metrics and access log what happens on the public side. Costs nothing when both are off. */
export class Traffic {
  readonly #metrics: Metrics | null
  readonly #accessLog: AccessLog | null

  /** Null for what is off. */
  constructor(metrics: Metrics | null, accessLog: AccessLog | null) {
    this.#metrics = metrics
    this.#accessLog = accessLog
  }

  /** Null when nobody asks. */
  begin(request: IncomingMessage, kind: 'requests_web' | 'requests_ws'): Visit | null {
    if (!this.#metrics && !this.#accessLog) return null
    this.#metrics?.count(kind)
    const { method = '', url = '', socket } = request
    const bytesBefore = socket.bytesWritten
    return { method, url, socket, startedAt: performance.now(), bytesBefore }
  }

  end({ method, url, socket, startedAt, bytesBefore }: Visit, ending: Ending): void {
    const milliseconds = performance.now() - startedAt
    const { client, status, route, isWebSocket } = ending
    this.#metrics?.count('requests_proxy', `status="${status}"`)
    if (!isWebSocket) this.#metrics?.duration(status, milliseconds)
    // Noting it is one assignment here: too short to be measured.
    if (status < 300) this.#metrics?.time('last_activity_updating', 0)
    const [path = ''] = url.split('?', 1)
    const bytes = socket.bytesWritten - bytesBefore
    this.#accessLog?.write({ client, method, path, status, bytes, milliseconds, route })
  }

  connected(socket: Duplex): void {
    this.#count(socket, 'proxy_open_connections')
  }

  upgraded(socket: Duplex): void {
    this.#count(socket, 'proxy_open_websockets')
  }

  limited(name: string): void {
    this.#metrics?.count('proxy_limited_requests', `limit="${name}"`)
  }

  targetFailed(failure: TargetFailure): void {
    this.#metrics?.count('proxy_target_errors', `cause="${causeOf(failure)}"`)
  }

  /** Runs `find`, which looks for a route. */
  finding<Found>(find: () => Found): Found {
    if (!this.#metrics) return find()
    const startedAt = performance.now()
    const found = find()
    this.#metrics.time('find_target_for_req', performance.now() - startedAt)
    return found
  }

  #count(socket: Duplex, name: 'proxy_open_connections' | 'proxy_open_websockets'): void {
    const metrics = this.#metrics
    if (!metrics) return
    metrics.count(name)
    ;(socket as Socket).once('close', () => metrics.count(name, '', -1))
  }
}

const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'reset',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  ENOENT: 'no_socket',
  ENOTFOUND: 'name',
  EAI_AGAIN: 'name',
}

function causeOf({ error, isInvalidAnswer }: TargetFailure): string {
  if (isInvalidAnswer) return 'invalid_answer'
  const { code = '' } = error as NodeJS.ErrnoException
  if (/TLS|SSL|CERT|SIGNATURE|ISSUER/.test(code)) return 'tls'
  return causes[code] ?? 'other'
}
