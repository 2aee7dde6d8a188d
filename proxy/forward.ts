import type { IncomingMessage, ServerResponse } from 'node:http'
import { cutOff } from './cut-off.ts'
import { fieldOf, pairs } from './header-list.ts'
import { relayedHeaders } from './request-passes.ts'
import type { Route } from './routes.ts'
import type {
  TargetAnswer,
  TargetEvents,
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
  /** How long the client may be silent within the body of its request, in milliseconds; 0 for ever. */
  readonly uploadTimeout: number
  /** Whether the client may send another request on its connection. */
  readonly mayGoOn: () => boolean
  /** Changes the headers of an answer (name, value, name, value) in place. */
  readonly rewrite?: (headers: string[], status: number) => void
  /** Called at most once, before anything of an answer was sent: the callee answers the client. */
  readonly failed: (failure: TargetFailure) => void
}

/** Requests that may be sent twice (RFC 9110 9.2.2). */
const idempotent = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'])

/** Fields that no trailer section may hold (RFC 9110 6.5.1): they would change what came before, or pass by the rules for headers. */
const notInTrailers =
  /^(?:content-length|transfer-encoding|host|connection|trailer|te|upgrade|cookie|set-cookie|authorization|proxy-auth.*|forwarded|x-forwarded-.*|x-real-ip|x-scheme|content-(?:type|encoding|range))$/i

/** Up to this size a body is sent in one piece with its head, which costs a copy but saves a write. */
const smallBody = 16 * 1024

/**
 * Forwards one request, streaming with back-pressure both ways. Either side's end is the other's, at
 * every stage: a target that breaks off ends the client's connection, so that nobody takes a part for
 * the whole; a client that goes away, or is silent for too long within its body, ends the target's.
 * A request that can be sent twice is, once, when a kept connection turns out to be dead.
 */
export function forwardRequest(forwarding: HttpForwarding): void {
  new Forwarded(forwarding).start()
}

class Forwarded implements TargetEvents {
  readonly #forwarding: HttpForwarding
  #exchange: TargetExchange | null = null
  #upload: Upload | null = null
  #status = 0
  #hasLength = false
  #hasRetried = false
  /** The first piece of the body, which goes out together with the head. */
  #first: Buffer | null = null
  #isFlushed = false
  #waitsForDrain = false

  constructor(forwarding: HttpForwarding) {
    this.#forwarding = forwarding
  }

  start(): void {
    const { request, response, head } = this.#forwarding
    response.on('error', ignore)
    response.once('close', () => this.#left())
    // An answer that waits for an earlier one on its connection is not told when that connection ends.
    if (response.socket === null) {
      const { socket } = request
      const left = () => this.#left()
      socket.once('close', left)
      response.once('close', () => socket.off('close', left))
    }
    this.#send()
    if (head.body !== 'none') this.#upload = new Upload(this.#forwarding, () => this.#exchange)
  }

  /** Early hints are worth passing on (RFC 8297); other interim answers say nothing to a browser. */
  informed({ status, headers }: TargetAnswer): void {
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

  answered({ status, reason, headers }: TargetAnswer): void {
    const { response, failed, rewrite, mayGoOn } = this.#forwarding
    if (!mayGoOn()) response.shouldKeepAlive = false
    this.#status = status
    const relayed = relayedHeaders(headers, status)
    rewrite?.(relayed, status)
    this.#hasLength = fieldOf(relayed, 'content-length') !== null
    try {
      response.writeHead(status, reason, relayed)
    } catch (cause) {
      this.#exchange?.abort()
      const error = new Error('the head of the answer is invalid', { cause })
      failed({ error, onReusedConnection: false, isInvalidAnswer: true })
    }
  }

  data(piece: Buffer): void {
    if (!this.#isFlushed && this.#first === null) {
      this.#first = piece
      return
    }
    this.#sendFirst()
    this.#write(piece)
  }

  /** Sends the head without waiting for the body. */
  flush(): void {
    if (this.#isFlushed || !this.#forwarding.response.headersSent) return
    this.#sendFirst()
  }

  ended(trailers: readonly string[]): void {
    const { response, route } = this.#forwarding
    this.#upload?.discardRest()
    const first = this.#first
    const passed = withoutFraming(trailers)
    if (passed.length > 0 && response.chunkedEncoding) response.addTrailers(pairs(passed))
    this.#first = null
    if (first !== null && first.length > smallBody) response.write(Buffer.from(first))
    else if (first !== null) writeAtOnce(response, first)
    response.end()
    if (this.#status < 300) route.touch()
  }

  broken(): void {
    const { response } = this.#forwarding
    // Where the end of the connection is the end of the answer, it must not look like one.
    if (!response.chunkedEncoding && !this.#hasLength) cutOff(response.socket)
    response.destroy()
  }

  drained(): void {
    this.#upload?.resume()
  }

  upgraded(): void {}

  failed(failure: TargetFailure): void {
    const { response, route, head, failed } = this.#forwarding
    if (response.destroyed) return
    const canRetry =
      failure.onReusedConnection && head.body === 'none' && idempotent.has(head.method)
    if (canRetry && !this.#hasRetried) {
      this.#hasRetried = true
      route.pool.dropIdle()
      return this.#send()
    }
    this.#upload?.discardRest()
    failed(failure)
  }

  #send(): void {
    const { route, head } = this.#forwarding
    this.#exchange = route.pool.send(head, this)
  }

  #sendFirst(): void {
    if (this.#isFlushed) return
    this.#isFlushed = true
    const first = this.#first
    this.#first = null
    // Not flushHeaders, which sends bytes above ASCII as UTF-8.
    if (first === null) this.#forwarding.response.write('', 'latin1')
    else this.#write(first)
  }

  #write(piece: Buffer): void {
    const { response } = this.#forwarding
    if (response.write(Buffer.from(piece)) || this.#waitsForDrain) return
    this.#waitsForDrain = true
    this.#exchange?.pause()
    response.once('drain', () => {
      this.#waitsForDrain = false
      this.#exchange?.resume()
    })
  }

  #left(): void {
    this.#upload?.stop()
    if (!this.#forwarding.response.writableFinished) this.#exchange?.abort()
  }
}

/** The body of one request on its way to the target. */
class Upload {
  readonly #request: IncomingMessage
  readonly #timer: NodeJS.Timeout | null
  readonly #exchange: () => TargetExchange | null
  #isDiscarding = false

  constructor(
    { request, route, uploadTimeout }: HttpForwarding,
    exchange: () => TargetExchange | null,
  ) {
    this.#request = request
    this.#exchange = exchange
    this.#timer = uploadTimeout > 0 ? setTimeout(() => this.#stalled(), uploadTimeout) : null
    request.on('error', ignore)
    request.on('data', (piece: Buffer) => {
      this.#timer?.refresh()
      route.touch()
      if (!this.#isDiscarding && exchange()?.write(piece) === false) request.pause()
    })
    request.once('end', () => {
      this.stop()
      exchange()?.finish(withoutFraming(request.rawTrailers))
    })
  }

  resume(): void {
    this.#timer?.refresh()
    this.#request.resume()
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer)
  }

  /** The target takes no more of it. What still comes must not block the client's connection. */
  discardRest(): void {
    this.#isDiscarding = true
    if (!this.#request.destroyed) this.#request.resume()
  }

  #stalled(): void {
    if (this.#request.isPaused()) return void this.#timer?.refresh()
    this.#exchange()?.abort()
    this.#request.socket.destroy()
  }
}

/** One string of head and body is one write; what `end` would make of it are two. */
function writeAtOnce(response: ServerResponse, body: Buffer): void {
  response.cork()
  response.write(body.toString('latin1'), 'latin1')
  response.uncork()
}

function ignore(): void {}

function withoutFraming(trailers: readonly string[]): readonly string[] {
  if (trailers.length === 0) return trailers
  return pairs(trailers).flatMap((pair) => (notInTrailers.test(pair[0]) ? [] : pair))
}
