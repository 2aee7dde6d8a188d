import type { Duplex, Readable, Writable } from 'node:stream'
import type { Target } from './target.ts'

/** The head of a request as it goes on the wire. */
export interface TargetRequest {
  readonly method: string
  readonly path: string
  /** Name, value, name, value; complete, with `Host` and with what frames the body. */
  readonly headers: string[]
  /** Asks for a connection of its own that may become a WebSocket. */
  readonly isUpgrade: boolean
}

/** The head of an answer. */
export interface TargetAnswer {
  readonly status: number
  readonly reason: string
  /** Name, value, name, value, as on the wire. */
  readonly headers: readonly string[]
}

/** A final answer: its body ends with `end` when it is whole, else only with `close`. */
export interface TargetBody extends Readable {
  readonly rawTrailers: readonly string[]
}

/**
 * What becomes of a request: any number of `informed`, then one of the other three. Nothing is
 * called after `abort`.
 */
export interface TargetEvents {
  /** An answer of the 1xx range other than 100 and 101. */
  informed(answer: TargetAnswer): void
  answered(answer: TargetAnswer, body: TargetBody): void
  /** The target has answered 101. The socket now belongs to the callee; `head` came with the answer. */
  upgraded(answer: TargetAnswer, socket: Duplex, head: Buffer): void
  failed(failure: TargetFailure): void
}

/** Why there is no answer. */
export interface TargetFailure {
  readonly error: Error
  /**
   * Nothing was received on a connection that had carried a request before: the target may have
   * closed it without having seen this one (RFC 9112 9.3.1).
   */
  readonly onReusedConnection: boolean
  /** The target has answered, but not with anything that HTTP/1.1 allows here. */
  readonly isInvalidAnswer: boolean
}

/** A request under way. */
export interface TargetExchange {
  /** Takes the request's body. Errors on it are no news: `failed` or the end of the answer tells. */
  readonly body: Writable
  /** Sends the head without waiting for the body. */
  begin(): void
  /** Ends the request, with trailers (name, value, name, value) when it is chunked. */
  finish(trailers: readonly string[]): void
  /** Ends the connection, at any stage, also after the end. */
  abort(): void
}

/** The connections to one target. */
export interface TargetPool {
  send(request: TargetRequest, events: TargetEvents): TargetExchange
  /** Ends the connections that carry nothing, before a request is sent once more. */
  dropIdle(): void
  /** Drops idle connections and keeps none from now on. Requests may still be sent. */
  close(): void
}

/** How the proxy speaks to targets. Everything past this interface can be swapped. */
export interface TargetClient {
  pool(target: Target): TargetPool
}
