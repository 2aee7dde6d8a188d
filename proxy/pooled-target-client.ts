import type { Target } from './target.ts'
import type {
  TargetClient,
  TargetEvents,
  TargetExchange,
  TargetPool,
  TargetRequest,
} from './target-client.ts'
import {
  type ConnectionOwner,
  TargetConnection,
  type TargetTimeouts,
  type TargetTls,
} from './target-connection.ts'

/** How long a connection is kept for the next request, in milliseconds: less than the 5 s after which many targets end it. */
const keepFor = 4_000
/** Before a target ends a connection as announced, we do: a request must not meet its end. */
const margin = 1_000
const maxIdle = 32
/** Requests under way at one route; WebSockets are not among them. A target that holds more is stuck. */
const maxActive = 8_192

/**
 * Speaks to targets over connections of its own, with one keep-alive pool per target, so that
 * nothing of one route is ever seen by another. A connection on which anything unexpected has
 * happened carries no second request.
 */
export class PooledTargetClient implements TargetClient {
  readonly #timeouts: TargetTimeouts
  readonly #tls: () => TargetTls
  readonly #idle = new IdleConnections()

  /** `tls` is asked for each connection to an `https` target, so that it may change. */
  constructor(timeouts: TargetTimeouts, tls: () => TargetTls = () => ({})) {
    this.#timeouts = timeouts
    this.#tls = tls
  }

  pool(target: Target): TargetPool {
    return new Pool(target, this.#timeouts, this.#tls, this.#idle)
  }
}

class Pool implements TargetPool, ConnectionOwner {
  readonly #target: Target
  readonly #timeouts: TargetTimeouts
  readonly #tls: () => TargetTls
  readonly #allIdle: IdleConnections
  /** The one used last is used next, so that the others can be given up. */
  #idle: TargetConnection[] = []
  readonly #active = new Set<TargetConnection>()
  #isClosed = false
  /** How the latest connection was made, with the session that came of it. */
  #resumable: TargetTls = {}

  constructor(
    target: Target,
    timeouts: TargetTimeouts,
    tls: () => TargetTls,
    allIdle: IdleConnections,
  ) {
    this.#target = target
    this.#timeouts = timeouts
    this.#tls = tls
    this.#allIdle = allIdle
  }

  send(request: TargetRequest, events: TargetEvents): TargetExchange {
    if (request.isUpgrade) return this.#connect().send(request, events)
    if (this.#active.size >= maxActive) return refuse(events)
    const connection = this.#takeIdle() ?? this.#connect()
    this.#active.add(connection)
    return connection.send(request, events)
  }

  dropIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy()
  }

  close(): void {
    this.#isClosed = true
    this.dropIdle()
  }

  released(connection: TargetConnection): void {
    this.#active.delete(connection)
    const announced = connection.keepFor
    const keep = announced === null ? keepFor : Math.min(keepFor, announced * 1000 - margin)
    if (this.#isClosed || keep <= 0 || this.#idle.length >= maxIdle) return connection.destroy()
    connection.expires = performance.now() + keep
    this.#idle.push(connection)
    this.#allIdle.add(connection)
  }

  gone(connection: TargetConnection): void {
    this.#allIdle.delete(connection)
    if (this.#active.delete(connection)) return
    const at = this.#idle.lastIndexOf(connection)
    if (at >= 0) this.#idle.splice(at, 1)
  }

  learned(tls: TargetTls): void {
    this.#resumable = tls
  }

  #takeIdle(): TargetConnection | null {
    const connection = this.#idle.pop()
    if (!connection) return null
    this.#allIdle.delete(connection)
    if (connection.expires > performance.now()) return connection
    connection.destroy()
    // All others have waited longer.
    this.dropIdle()
    return null
  }

  #connect(): TargetConnection {
    const target = this.#target
    const now = target.secure ? this.#tls() : {}
    // A session holds what was found of the target's certificate by the rules of then.
    const tls =
      now.secureContext === this.#resumable.secureContext ? { ...this.#resumable, ...now } : now
    return new TargetConnection({ target, tls, timeouts: this.#timeouts, owner: this })
  }
}

/** Ends connections of all pools when their time is over. One timer, and only while there are any. */
class IdleConnections {
  readonly #all = new Set<TargetConnection>()
  #timer: NodeJS.Timeout | null = null

  add(connection: TargetConnection): void {
    this.#all.add(connection)
    this.#timer ??= setInterval(() => this.#sweep(), margin).unref()
  }

  delete(connection: TargetConnection): void {
    this.#all.delete(connection)
  }

  #sweep(): void {
    const now = performance.now()
    for (const connection of this.#all) if (connection.expires <= now) connection.destroy()
    if (this.#all.size > 0 || !this.#timer) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}

function refuse(events: TargetEvents): TargetExchange {
  const error = new Error(`${maxActive} requests to it are under way`)
  queueMicrotask(() => events.failed({ error, onReusedConnection: false, isInvalidAnswer: false }))
  return { write: () => true, finish() {}, pause() {}, resume() {}, abort() {} }
}
