import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AccessLog } from './access-log.ts'
import type { Refused } from './admission.ts'
import { Certificate } from './certificates.ts'
import { Dispatcher } from './dispatcher.ts'
import { ErrorPages, type Problem, isNavigation } from './error-pages.ts'
import { forwardRequest } from './forward.ts'
import type { Found, Refusal } from './judgement.ts'
import type { Leave } from './limits.ts'
import { type Address, closing, httpServer, listen } from './listeners.ts'
import { rewriteLocation } from './location-rewrite.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { isWebSocketHandshake, serveAsPlain } from './plain-upgrade.ts'
import { PooledTargetClient } from './pooled-target-client.ts'
import { Routes } from './routes.ts'
import type { ProxySettings } from './settings.ts'
import type { TargetFailure } from './target-client.ts'
import { type Ending, Traffic, type Visit } from './traffic.ts'
import { forwardUpgrade, refuseUpgrade } from './upgrade.ts'

export interface FrontOptions {
  readonly settings: ProxySettings
  readonly metrics: Metrics
  readonly accessLog: AccessLog | null
  readonly log: Log
}

const maxHeadBytes = 64 * 1024
const longestChecking = 5_000
const keepAliveProbe = 30_000
const connectTimeout = 15_000
/** Jupyter servers answer a handshake only once the kernel does, for which they wait 60 s. */
const upgradeTimeout = 120_000

/** What a WebSocket leaves behind: whom its end is told, and the place that it has taken. */
interface Stay {
  readonly visit: Visit | null
  ending: Ending | null
  readonly leave: Leave | undefined
}

/** The public side: takes requests, forwards them, and answers those that go nowhere. */
export class Front {
  readonly server: http.Server
  readonly routes: Routes
  readonly certificates: readonly Certificate[]
  readonly #settings: ProxySettings
  readonly #log: Log
  readonly #pages: ErrorPages
  readonly #dispatcher: Dispatcher
  readonly #traffic: Traffic
  readonly #webSockets = new Set<Duplex>()
  /** How many requests of a connection wait for their answers: more than one when they are pipelined. */
  readonly #unanswered = new WeakMap<Duplex, { count: number }>()
  #isEnding = false
  readonly #mayGoOn = () => !this.#isEnding

  /** @throws {BadCertificate} */
  constructor({ settings, metrics, accessLog, log }: FrontOptions) {
    const { publicTls, clientTls } = settings
    const own = publicTls && new Certificate('public', publicTls, log)
    const client = new Certificate('client', clientTls, log)
    const tls = () => ({
      secureContext: client.context,
      rejectUnauthorized: !clientTls.insecure,
    })
    const timeouts = {
      connect: connectTimeout,
      idle: settings.proxyTimeout,
      upgrade: upgradeTimeout,
    }
    this.#settings = settings
    this.#log = log
    this.certificates = own ? [own, client] : [client]
    this.routes = new Routes(new PooledTargetClient(timeouts, tls))
    this.#pages = new ErrorPages({ ...settings, tls, log })
    this.#traffic = new Traffic(settings.metricsBind && metrics, accessLog)
    const { routes } = this
    this.#dispatcher = new Dispatcher({ settings, routes, traffic: this.#traffic, log })
    this.server = this.#createServer(own)
  }

  /** @throws {CannotListen} */
  listen(): Promise<Address> {
    return listen(this.server, this.#settings.publicBind)
  }

  async close(grace: number): Promise<void> {
    this.#isEnding = true
    const closed = closing(this.server)
    for (const socket of this.#webSockets) socket.end(() => socket.destroy())
    const deadline = new AbortController()
    const force = sleep(grace, undefined, { signal: deadline.signal }).then(
      () => this.server.closeAllConnections(),
      () => {},
    )
    const idle = setInterval(() => this.server.closeIdleConnections(), 20)
    await Promise.race([closed, force])
    for (const socket of this.#webSockets) socket.destroy()
    await closed
    clearInterval(idle)
    deadline.abort()
    this.routes.close()
  }

  #createServer(certificate: Certificate | null): http.Server {
    const { timeout, keepAliveTimeout, headerTimeout, publicTls } = this.#settings
    const options: http.ServerOptions = {
      maxHeaderSize: maxHeadBytes,
      headersTimeout: headerTimeout,
      requestTimeout: 0,
      keepAliveTimeout,
      connectionsCheckingInterval: Math.min(
        longestChecking,
        Math.ceil(headerTimeout / 4) || Infinity,
      ),
      keepAlive: true,
      keepAliveInitialDelay: keepAliveProbe,
      noDelay: true,
    }
    const server = httpServer(options, certificate, publicTls?.requestCert)
    server.maxHeadersCount = 0
    server.timeout = timeout
    // One listener for each request that a client pipelines.
    const opened = certificate ? 'secureConnection' : 'connection'
    server.on(opened, (socket: Duplex) => {
      // `serveAsPlain` gives back one that is known.
      if (socket.getMaxListeners() === 0) return
      socket.setMaxListeners(0)
      this.#traffic.connected(socket)
    })
    server.on('request', (request, response) => this.#serve(request, response))
    server.on('checkContinue', (request, response) => this.#serve(request, response))
    server.on('upgrade', (request, socket, early) => this.#upgrade(request, socket, early))
    server.on('connect', (_request, socket) => refuseUpgrade(socket, 405, 'Method Not Allowed'))
    return server
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === '/_chp_healthz') return answerHealthy(response)
    const visit = this.#traffic.begin(request, 'requests_web')
    const found = this.#dispatcher.enter(request)
    this.#count(request, response, () => {
      if (found.kind === 'found') found.leave?.()
      if (visit) this.#traffic.end(visit, this.#ending(request, found, response.statusCode))
    })
    if (found.kind !== 'found') return this.#refuse(request, response, found)
    if (request.headers.expect !== undefined && request.httpVersion === '1.1') {
      response.writeContinue()
    }
    const { route } = found
    forwardRequest({
      request,
      response,
      route,
      head: this.#dispatcher.headFor(request, found, false),
      uploadTimeout: this.#settings.uploadTimeout,
      mayGoOn: this.#mayGoOn,
      ...(this.#rewritesLocation && {
        rewrite: (headers: string[], status: number) =>
          rewriteLocation(headers, status, route.target.host, request.headers.host, this.#settings),
      }),
      failed: (failure) => this.#refuse(request, response, this.#blame(found, failure)),
    })
  }

  #upgrade(request: IncomingMessage, socket: Duplex, early: Buffer): void {
    // What follows an unanswered request on the same connection cannot take that connection over.
    if ((this.#unanswered.get(socket)?.count ?? 0) > 0) return void socket.destroy()
    if (!isWebSocketHandshake(request)) return serveAsPlain(this.server, request, socket, early)
    const visit = this.#traffic.begin(request, 'requests_ws')
    const found = this.#dispatcher.enter(request)
    const stay: Stay = {
      visit,
      ending: visit && this.#ending(request, found, 101, true),
      leave: found.kind === 'found' ? found.leave : undefined,
    }
    const refuse = ({ status }: Refused) => {
      if (stay.ending) stay.ending = { ...stay.ending, status }
      refuseUpgrade(socket, status, http.STATUS_CODES[status] ?? '')
    }
    this.#follow(socket, stay)
    if (found.kind !== 'found') return refuse(found)
    if (found.framing.kind !== 'none') {
      return refuse({ kind: 'refused', status: 400, reason: 'a handshake has no body' })
    }
    this.#webSockets.add(socket)
    this.#traffic.upgraded(socket)
    forwardUpgrade({
      request,
      socket,
      early,
      route: found.route,
      head: this.#dispatcher.headFor(request, found, true),
      silence: this.#settings.webSocketTimeout,
      failed: (failure) => refuse(this.#blame(found, failure)),
    })
  }

  /** Until the connection of a WebSocket ends. Keeps nothing of the handshake but `stay`. */
  #follow(socket: Duplex, stay: Stay): void {
    socket.on('close', () => {
      const { visit, ending, leave } = stay
      this.#webSockets.delete(socket)
      leave?.()
      if (visit && ending) this.#traffic.end(visit, ending)
    })
  }

  get #rewritesLocation(): boolean {
    return this.#settings.autoRewrite || this.#settings.protocolRewrite !== null
  }

  #ending(
    request: IncomingMessage,
    found: Found | Refusal,
    status: number,
    isWebSocket = false,
  ): Ending {
    const route = found.kind === 'found' ? found.route.path : null
    return { client: this.#dispatcher.clientOf(request), status, route, isWebSocket }
  }

  /** Until the answer has ended. */
  #count(request: IncomingMessage, response: ServerResponse, ended: () => void): void {
    const { socket } = request
    const unanswered = this.#unanswered.get(socket) ?? { count: 0 }
    if (!this.#unanswered.has(socket)) this.#unanswered.set(socket, unanswered)
    unanswered.count += 1
    response.once('close', () => {
      unanswered.count -= 1
      ended()
    })
  }

  /** What the client is told when the target failed, and what the log says about it. */
  #blame({ route, url }: Found, failure: TargetFailure): Refusal {
    const { error, isInvalidAnswer } = failure
    this.#traffic.targetFailed(failure)
    const status = isInvalidAnswer ? 502 : 503
    const [path] = url.split('?')
    this.#log.warn(`${status} ${path} from ${route.target.host}: ${error.message}`)
    return {
      kind: 'refused',
      status,
      reason: isInvalidAnswer ? 'the server gave no valid answer' : 'the server does not answer',
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, refusal: Refusal): void {
    const { status, reason, why, retryAfter } = refusal
    const { isReady } = this.#dispatcher
    const mayAsk = status === 404 || (status === 503 && isReady) || status === 502
    const problem: Problem = {
      status,
      message: `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`,
      mayAsk: why?.isTombstone ? isNavigation(request) : mayAsk,
      ...(why && { reason: why.reason }),
      ...(status === 503 && !why?.isTombstone && { retryAfter: isReady ? 5 : 1 }),
      ...(retryAfter !== undefined && { retryAfter }),
    }
    this.#pages.answer(request, response, problem).catch((error: unknown) => {
      this.#log.error(`no answer could be given: ${String(error)}`)
      response.destroy()
    })
  }
}

function answerHealthy(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end('{"status":"OK"}')
}
