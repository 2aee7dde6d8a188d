import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AccessLog } from './access-log.ts'
import { type Refused, admit } from './admission.ts'
import { Certificate } from './certificates.ts'
import { clientAddress } from './client-address.ts'
import { Control } from './control.ts'
import { ErrorPages, type Problem, isNavigation } from './error-pages.ts'
import { forwardRequest } from './forward.ts'
import { type Found, type Refusal, judge, notReady, plainHost } from './judgement.ts'
import { Limits } from './limits.ts'
import { type Address, closing, httpServer, listen } from './listeners.ts'
import { rewriteLocation } from './location-rewrite.ts'
import type { Log } from './log.ts'
import { Metrics } from './metrics.ts'
import { PooledTargetClient } from './pooled-target-client.ts'
import { readRequestPath } from './request-path.ts'
import { type HeaderRules, forwardedHeaders } from './request-passes.ts'
import { openRouteFile } from './route-file.ts'
import { Routes } from './routes.ts'
import type { ProxySettings } from './settings.ts'
import { openBackend } from './storage-backend.ts'
import type { TargetFailure, TargetRequest } from './target-client.ts'
import { targetPath } from './target-path.ts'
import { type Ending, Traffic } from './traffic.ts'
import { TrustedPeers, peerAddress } from './trusted-peers.ts'
import { forwardUpgrade, refuseUpgrade } from './upgrade.ts'

/** A proxy that listens. */
export interface RunningProxy {
  readonly publicAddress: Address
  readonly apiAddress: Address
  /** Reads certificates again and opens the access log anew. */
  reload(): void
  /**
   * Stops accepting at once, gives requests under way `grace` milliseconds to end, then ends all
   * connections. WebSockets, which have no end of their own, are ended first.
   */
  close(grace: number): Promise<void>
}

const maxHeadBytes = 64 * 1024
const longestChecking = 5_000
const keepAliveProbe = 30_000
const connectTimeout = 15_000
/** Jupyter servers answer a handshake only once the kernel does, for which they wait 60 s. */
const upgradeTimeout = 120_000

/**
 * Starts all listeners in this process. Resolves when they accept connections.
 * @throws {CannotListen} and {BadCertificate}; nothing listens then.
 */
export async function startProxy(
  settings: ProxySettings,
  log: Log,
  accessLog: AccessLog | null = null,
): Promise<RunningProxy> {
  const metrics = new Metrics()
  const front = new Front({ settings, metrics, accessLog, log })
  const { routes, certificates } = front
  const file = await openRouteFile(settings, routes, log)
  const backend = await openBackend(settings, routes, log)
  backend?.holdBack(front.server)
  const control = new Control({
    settings,
    routes,
    metrics,
    certificates,
    published: (change) => (backend ?? file)?.append(change),
    gather: async () => {
      await backend?.gather()
      return []
    },
    log,
  })
  const publicAddress = await front.listen()
  const watching = new AbortController()
  try {
    const apiAddress = await control.listen(publicAddress)
    control.watch(watching.signal)
    const reload = () => {
      control.refresh()
      accessLog?.reopen()
    }
    const close = async (grace: number) => {
      watching.abort()
      await Promise.all([front.close(grace), control.close(grace)])
      await file?.close()
    }
    return { publicAddress, apiAddress, reload, close }
  } catch (error) {
    front.server.close()
    throw error
  }
}

interface FrontOptions {
  readonly settings: ProxySettings
  readonly metrics: Metrics
  readonly accessLog: AccessLog | null
  readonly log: Log
}

/** The public side: decides for each request where it goes, and refuses what goes nowhere. */
export class Front {
  readonly server: http.Server
  readonly routes: Routes
  readonly certificates: readonly Certificate[]
  readonly #settings: ProxySettings
  readonly #log: Log
  readonly #pages: ErrorPages
  readonly #trusted: TrustedPeers
  readonly #rules: HeaderRules
  readonly #limits: Limits | null
  readonly #traffic: Traffic
  readonly #webSockets = new Set<Duplex>()
  /** How many requests of a connection wait for their answers: more than one when they are pipelined. */
  readonly #unanswered = new WeakMap<Duplex, { count: number }>()
  #hasWarned = false
  #isEnding = false
  readonly #mayGoOn = () => !this.#isEnding

  /** @throws {BadCertificate} */
  constructor({ settings, metrics, accessLog, log }: FrontOptions) {
    const { publicTls, clientTls, limits } = settings
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
    this.#trusted = new TrustedPeers(settings.trustedProxies)
    this.#rules = { ...settings, onUntrusted: (peer) => this.#warnUntrusted(peer) }
    this.#limits = Object.values(limits).some((limit) => limit > 0) ? new Limits(limits) : null
    this.#traffic = new Traffic(settings.metricsBind && metrics, accessLog)
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
    const found = this.#enter(request)
    this.#count(request, response, () => {
      if (found.kind === 'found') found.leave?.()
      if (visit)
        this.#traffic.end(visit, request, this.#ending(request, found, response.statusCode))
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
      head: this.#headFor(request, found, false),
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
    const found = this.#enter(request)
    let status = 101
    const refuse = (refused: Refused) => {
      status = refused.status
      refuseUpgrade(socket, status, http.STATUS_CODES[status] ?? '')
    }
    socket.once('close', () => {
      this.#webSockets.delete(socket)
      if (found.kind === 'found') found.leave?.()
      if (visit) this.#traffic.end(visit, request, this.#ending(request, found, status, true))
    })
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
      head: this.#headFor(request, found, true),
      silence: this.#settings.webSocketTimeout,
      failed: (failure) => refuse(this.#blame(found, failure)),
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
    return { client: clientAddress(request, this.#trusted), status, route, isWebSocket }
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

  /** Finds the route, and takes a place where places are limited. */
  #enter(request: IncomingMessage): Found | Refusal {
    const found = this.#traffic.finding(() => this.#find(request))
    if (found.kind !== 'found' || !this.#limits) return found
    const client = clientAddress(request, this.#trusted) ?? 'unix'
    const leave = this.#limits.enter(client, found.route.path)
    if (typeof leave !== 'string') return { ...found, leave }
    this.#traffic.limited(leave)
    return { kind: 'refused', status: 429, reason: 'too many requests at once', retryAfter: 1 }
  }

  #find(request: IncomingMessage): Found | Refusal {
    const admitted = admit(request)
    if (admitted.kind === 'refused') return admitted
    const { hostRouting, waitForRoutes } = this.#settings
    const { depth } = this.#routes
    const path = readRequestPath(admitted.url, hostRouting ? Math.max(0, depth - 1) : depth)
    if (path.kind === 'refused') return { kind: 'refused', status: 400, reason: path.reason }
    if (waitForRoutes && !this.#routes.hasTable) return notReady
    const segments = hostRouting
      ? [plainHost(request.headers.host ?? ''), ...path.segments]
      : path.segments
    return judge(this.#routes.find(segments), admitted, request)
  }

  get #routes(): Routes {
    return this.routes
  }

  #headFor(
    request: IncomingMessage,
    { route, url, framing }: Found,
    isUpgrade: boolean,
  ): TargetRequest {
    const { method = 'GET', socket } = request
    const peer = peerAddress(socket)
    const forwarding = {
      method,
      isUpgrade,
      framing,
      peer,
      isTrustedPeer: this.#trusted.trusts(peer),
      isSecure: 'encrypted' in socket,
      toHub: route.isHub,
    }
    const headers = forwardedHeaders(request.rawHeaders, forwarding, this.#rules)
    if (this.#settings.changeOrigin) setHost(headers, route.target.host)
    else if (request.headers.host === undefined) headers.push('Host', route.target.host)
    const path = targetPath(route, url, this.#settings)
    return { method, path, headers, body: framing.kind, isUpgrade }
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
    const isReady = this.#isReady()
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

  #isReady(): boolean {
    return !this.#settings.waitForRoutes || this.#routes.hasTable
  }

  #warnUntrusted(peer: string | null): void {
    if (this.#hasWarned) return
    this.#hasWarned = true
    const from = peer ?? 'a unix socket'
    this.#log.warn(
      `dropped forwarding headers from ${from}, which is not a trusted proxy; if it is your front end, name it in --trusted-proxies`,
    )
  }
}

function setHost(headers: string[], host: string): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (headers[i]?.toLowerCase() === 'host') headers.splice(i, 2)
  }
  headers.push('Host', host)
}

function isWebSocketHandshake({ method, httpVersion, headers }: IncomingMessage): boolean {
  return method === 'GET' && httpVersion === '1.1' && headers.upgrade?.toLowerCase() === 'websocket'
}

/**
 * node:http takes every `Upgrade` for a change of protocol. A proxy may ignore those that it does not
 * know (RFC 9110 7.8): the same request, without that header, is given back to the server.
 */
function serveAsPlain(
  server: http.Server,
  { method, url, httpVersion, rawHeaders }: IncomingMessage,
  socket: Duplex,
  early: Buffer,
): void {
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    const value = rawHeaders[i + 1] ?? ''
    if (name.toLowerCase() === 'upgrade') continue
    const kept = name.toLowerCase() === 'connection' ? withoutUpgrade(value) : value
    head += `${name}: ${kept}\r\n`
  }
  socket.unshift(Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), early]))
  server.emit('encrypted' in socket ? 'secureConnection' : 'connection', socket)
}

function withoutUpgrade(connection: string): string {
  const options = connection.split(',').map((option) => option.trim())
  return options.filter((option) => option.toLowerCase() !== 'upgrade').join(', ') || 'keep-alive'
}

function answerHealthy(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end('{"status":"OK"}')
}
