import type { IncomingMessage, ServerResponse } from 'node:http'
import { pairs } from './node-target-client.ts'
import { relayedHeaders } from './request-passes.ts'
import type { Route } from './routes.ts'
import type {
  TargetAnswer,
  TargetBody,
  TargetExchange,
  TargetFailure,
  TargetRequest,
} from './target-client.ts'

/** One request of a client that goes to the target of its route. */
export interface HttpForwarding {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly route: Route
  readonly head: TargetRequest
  readonly hasBody: boolean
  /** Changes the headers of an answer (name, value, name, value) in place. */
  readonly rewrite?: (headers: string[], status: number) => void
  /** Called at most once, before anything of an answer was sent: the callee answers the client. */
  readonly failed: (failure: TargetFailure) => void
}

/** Requests that may be sent twice (RFC 9110 9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** Fields that no trailer section may hold (RFC 9110 6.5.1): they would change what came before. */
const notInTrailers =
  /^(?:content-length|transfer-encoding|host|connection|trailer|te|upgrade|set-cookie|authorization|content-(?:type|encoding|range))$/i

/**
 * Forwards one request, streaming with back-pressure both ways. Either side's end is the other's, at
 * every stage: a target that breaks off ends the client's connection, so that nobody takes a part for
 * the whole; a client that goes away ends the target's. A request that can be sent twice is, once,
 * when a kept connection turns out to be dead.
 */
export function forwardRequest(forwarding: HttpForwarding): void {
  new Forwarded(forwarding).start()
}

class Forwarded {
  readonly #forwarding: HttpForwarding
  #exchange: TargetExchange | null = null
  #hasRetried = false

  constructor(forwarding: HttpForwarding) {
    this.#forwarding = forwarding
  }

  start(): void {
    const { request, response, route, hasBody } = this.#forwarding
    request.on('error', () => {})
    response.on('error', () => {})
    // An answer that waits for an earlier one on its connection is not told when that connection ends.
    const { socket } = request
    const abort = () => this.#exchange?.abort()
    socket.once('close', abort)
    response.once('close', () => {
      socket.off('close', abort)
      if (!response.writableFinished) abort()
    })
    this.#send()
    if (!hasBody) return
    request.on('data', () => route.touch())
    request.once('end', () => this.#exchange?.finish(withoutFraming(request.rawTrailers)))
  }

  #send(): void {
    const { request, route, head, hasBody } = this.#forwarding
    const exchange = route.pool.send(head, {
      informed: (answer) => this.#informed(answer),
      answered: (answer, body) => this.#answered(answer, body),
      upgraded: () => {},
      failed: (failure) => this.#failed(failure),
    })
    this.#exchange = exchange
    if (!hasBody) return exchange.finish([])
    exchange.begin()
    request.pipe(exchange.body, { end: false })
    exchange.body.once('close', () => this.#discardRest())
  }

  /** Early hints are worth passing on (RFC 8297); other interim answers say nothing to a browser. */
  #informed({ status, headers }: TargetAnswer): void {
    const { request, response } = this.#forwarding
    if (status !== 103 || request.httpVersionMinor < 1 || response.headersSent) return
    const link = pairs(headers).flatMap(([name, value]) =>
      name.toLowerCase() === 'link' ? [value] : [],
    )
    try {
      if (link.length > 0) response.writeEarlyHints({ link })
    } catch {
      // Links that Node does not find well-formed are no loss.
    }
  }

  #answered({ status, reason, headers }: TargetAnswer, body: TargetBody): void {
    const { response, route, rewrite } = this.#forwarding
    const relayed = relayedHeaders(headers, status)
    rewrite?.(relayed, status)
    if (!this.#writeHead(status, reason, relayed)) return
    // With the first bytes of the body, if they are there already, but without waiting for them.
    response.cork()
    response.flushHeaders()
    body.pipe(response, { end: false })
    process.nextTick(() => response.uncork())
    body.once('end', () => {
      const trailers = withoutFraming(body.rawTrailers)
      if (trailers.length > 0 && response.chunkedEncoding) response.addTrailers(pairs(trailers))
      response.end()
      if (status < 300) route.touch()
    })
    body.once('close', () => {
      if (!body.readableEnded) response.destroy()
    })
  }

  /** False when the answer's head cannot be passed on: then the client has got another one. */
  #writeHead(status: number, reason: string, headers: string[]): boolean {
    const { response, failed } = this.#forwarding
    try {
      response.writeHead(status, reason, headers)
      return true
    } catch (cause) {
      this.#exchange?.abort()
      const error = new Error('the head of the answer is invalid', { cause })
      failed({ error, onReusedConnection: false, isInvalidAnswer: true })
      return false
    }
  }

  #failed(failure: TargetFailure): void {
    const { request, response, route, head, hasBody, failed } = this.#forwarding
    if (response.destroyed) return
    const canRetry = failure.onReusedConnection && !hasBody && idempotent.has(head.method)
    if (canRetry && !this.#hasRetried) {
      this.#hasRetried = true
      route.pool.dropIdle()
      return this.#send()
    }
    request.unpipe()
    request.resume()
    failed(failure)
  }

  /** The target takes no more of the body. What still comes must not block the client's connection. */
  #discardRest(): void {
    const { request } = this.#forwarding
    request.unpipe()
    if (!request.destroyed) request.resume()
  }
}

function withoutFraming(trailers: readonly string[]): string[] {
  return pairs(trailers).flatMap((pair) => (notInTrailers.test(pair[0]) ? [] : pair))
}
