import type { Duplex } from 'node:stream'
import type { Take } from './reading.ts'
import type { Target } from './target.ts'

/** The head of a request as it goes on the wire. */
export interface TargetRequest {
  readonly method: string
  readonly path: string
  /** Name, value, name, value; complete, with `Host` and with what frames the body. */
  readonly headers: readonly string[]
  readonly body: 'none' | 'length' | 'chunked'
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

/**
 * What becomes of a request: any number of `informed`, then either `answered`, `data`* and one of
 * `ended` and `broken`, or `upgraded`, or `failed`. Nothing is called after `abort`.
 */
export interface TargetEvents {
  /** An answer of the 1xx range other than 100 and 101. */
  informed(answer: TargetAnswer): void
  answered(answer: TargetAnswer): void
  /** A piece of the body, without its framing. It is overwritten after the call: copy what is kept. */
  data(piece: Buffer): void
  /** Everything that has arrived so far was told. */
  flush(): void
  /** The answer is whole, and the target takes no more. Trailers are name, value, name, value. */
  ended(trailers: readonly string[]): void
  /** The answer ends here without being whole. */
  broken(): void
  /** After a `write` that was false: the target takes more. */
  drained(): void
  /** The target has answered 101. */
  upgraded(answer: TargetAnswer, tunnel: Tunnel): void
  failed(failure: TargetFailure): void
}

/** A connection that has left HTTP behind. It belongs to whom it was told. */
export interface Tunnel {
  /** For everything but reading: it has no `data` of its own. */
  readonly socket: Duplex
  /** What came with the answer, overwritten like every piece. */
  readonly first: Buffer
  /**
   * Has each piece that arrives from now on told to `take`. To be called at once. A piece is
   * overwritten after the call: copy what is kept.
   */
  read(take: Take): void
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

/** A request under way, its head sent. All calls are without effect once it has come to its end. */
export interface TargetExchange {
  /** Sends a piece of the body. False when the target is behind: `drained` tells when it is not. */
  write(piece: Buffer): boolean
  /** Ends the body, with trailers (name, value, name, value) when it is chunked. */
  finish(trailers: readonly string[]): void
  /** Stops `data` until `resume`. */
  pause(): void
  resume(): void
  /** Ends the connection. */
  abort(): void
}

/** The connections to one target. */
export interface TargetPool {
  /** `failed` may be called before this returns. */
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
