import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Admitted, type Refused, admit } from './admission.ts'
import { routesApi } from './api.ts'
import { ErrorPages, type Problem } from './error-pages.ts'
import { forwardRequest } from './forward.ts'
import type { Log } from './log.ts'
import { PooledTargetClient } from './pooled-target-client.ts'
import { readRequestPath } from './request-path.ts'
import { type HeaderRules, forwardedHeaders } from './request-passes.ts'
import { type Route, Routes, readRouteData } from './routes.ts'
import type { Bind, ProxySettings } from './settings.ts'
import { pathAtTarget } from './target.ts'
import type { TargetFailure, TargetRequest } from './target-client.ts'
import { TrustedPeers, peerAddress } from './trusted-peers.ts'
import { forwardUpgrade, refuseUpgrade } from './upgrade.ts'

/** A proxy that listens. */
export interface RunningProxy {
  readonly publicAddress: AddressInfo
  readonly apiAddress: AddressInfo
  /**
   * Stops accepting at once, gives requests under way `grace` milliseconds to end, then ends all
   * connections. WebSockets, which have no end of their own, are ended first.
   */
  close(grace: number): Promise<void>
}

const maxHeadBytes = 64 * 1024
const headersTimeout = 20_000
const checkingInterval = 5_000
const keepAliveProbe = 30_000
const connectTimeout = 15_000
/** Jupyter servers answer a handshake only once the kernel does, for which they wait 60 s. */
const upgradeTimeout = 120_000

/**
 * Starts both listeners. Resolves when they accept connections.
 * @throws what `listen` fails with; nothing listens then.
 */
export async function startProxy(settings: ProxySettings, log: Log): Promise<RunningProxy> {
  const client = new PooledTargetClient({
    connect: connectTimeout,
    idle: settings.proxyTimeout,
    upgrade: upgradeTimeout,
  })
  const routes = new Routes(client)
  const { defaultTarget, authToken } = settings
  const root = defaultTarget === null ? null : readRouteData({ target: defaultTarget })
  if (root !== null && typeof root !== 'string') routes.set('/', root)
  const front = new Front(settings, routes, log)
  const api = http.createServer({ headersTimeout }, routesApi({ routes, token: authToken, log }))
  try {
    const publicAddress = await listen(front.server, settings.publicBind)
    const apiAddress = await listen(api, settings.apiBind)
    return { publicAddress, apiAddress, close: (grace) => front.close(api, grace) }
  } catch (error) {
    front.server.close()
    api.close()
    throw error
  }
}

/** The public side: decides for each request where it goes, and refuses what goes nowhere. */
class Front {
  readonly server: http.Server
  readonly #settings: ProxySettings
  readonly #routes: Routes
  readonly #log: Log
  readonly #pages: ErrorPages
  readonly #trusted: TrustedPeers
  readonly #rules: HeaderRules
  readonly #webSockets = new Set<Duplex>()
  /** How many requests of a connection wait for their answers: more than one when they are pipelined. */
  readonly #unanswered = new WeakMap<Duplex, { count: number }>()
  #hasWarned = false

  constructor(settings: ProxySettings, routes: Routes, log: Log) {
    this.#settings = settings
    this.#routes = routes
    this.#log = log
    this.#pages = new ErrorPages({ ...settings, log })
    this.#trusted = new TrustedPeers(settings.trustedProxies)
    this.#rules = { ...settings, onUntrusted: (peer) => this.#warnUntrusted(peer) }
    this.server = this.#createServer()
  }

  async close(api: http.Server, grace: number): Promise<void> {
    const closed = Promise.all([closing(this.server), closing(api)])
    for (const socket of this.#webSockets) socket.end(() => socket.destroy())
    const deadline = new AbortController()
    const force = sleep(grace, undefined, { signal: deadline.signal }).then(
      () => [this.server, api].forEach((each) => each.closeAllConnections()),
      () => {},
    )
    const idle = setInterval(
      () => [this.server, api].forEach((each) => each.closeIdleConnections()),
      20,
    )
    await Promise.race([closed, force])
    for (const socket of this.#webSockets) socket.destroy()
    await closed
    clearInterval(idle)
    deadline.abort()
    this.#routes.close()
  }

  #createServer(): http.Server {
    const { timeout, keepAliveTimeout } = this.#settings
    const server = http.createServer({
      maxHeaderSize: maxHeadBytes,
      headersTimeout,
      requestTimeout: 0,
      keepAliveTimeout,
      connectionsCheckingInterval: checkingInterval,
      keepAlive: true,
      keepAliveInitialDelay: keepAliveProbe,
      noDelay: true,
    })
    server.maxHeadersCount = 0
    server.timeout = timeout
    // One listener for each request that a client pipelines.
    server.on('connection', (socket) => void socket.setMaxListeners(0))
    server.on('request', (request, response) => this.#serve(request, response))
    server.on('checkContinue', (request, response) => this.#serve(request, response))
    server.on('upgrade', (request, socket, early) => this.#upgrade(request, socket, early))
    server.on('connect', (_request, socket) => refuseUpgrade(socket, 405, 'Method Not Allowed'))
    return server
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.#count(request.socket, response)
    const found = this.#find(request)
    if (request.url === '/_chp_healthz') return answerHealthy(response)
    if (found.kind !== 'found') return this.#refuse(request, response, found)
    if (request.headers.expect !== undefined && request.httpVersion === '1.1') {
      response.writeContinue()
    }
    forwardRequest({
      request,
      response,
      route: found.route,
      head: this.#headFor(request, found, false),
      failed: (failure) => this.#refuse(request, response, this.#blame(found, failure)),
    })
  }

  #upgrade(request: IncomingMessage, socket: Duplex, early: Buffer): void {
    // What follows an unanswered request on the same connection cannot take that connection over.
    if ((this.#unanswered.get(socket)?.count ?? 0) > 0) return void socket.destroy()
    if (!isWebSocketHandshake(request)) return serveAsPlain(this.server, request, socket, early)
    const found = this.#find(request)
    const refuse = ({ status }: Refused) =>
      refuseUpgrade(socket, status, http.STATUS_CODES[status] ?? '')
    if (found.kind !== 'found') return refuse(found)
    if (found.framing.kind !== 'none') {
      return refuse({ kind: 'refused', status: 400, reason: 'a handshake has no body' })
    }
    this.#webSockets.add(socket)
    socket.once('close', () => this.#webSockets.delete(socket))
    forwardUpgrade({
      request,
      socket,
      early,
      route: found.route,
      head: this.#headFor(request, found, true),
      failed: (failure) => refuse(this.#blame(found, failure)),
    })
  }

  #count(socket: Duplex, response: ServerResponse): void {
    const unanswered = this.#unanswered.get(socket) ?? { count: 0 }
    if (!this.#unanswered.has(socket)) this.#unanswered.set(socket, unanswered)
    unanswered.count += 1
    response.once('close', () => void (unanswered.count -= 1))
  }

  #find(request: IncomingMessage): Found | Refused {
    const admitted = admit(request)
    if (admitted.kind === 'refused') return admitted
    const path = readRequestPath(admitted.url, this.#routes.depth)
    if (path.kind === 'refused') return { kind: 'refused', status: 400, reason: path.reason }
    if (this.#settings.waitForRoutes && !this.#routes.hasTable) return notReady
    const route = this.#routes.find(path.segments)
    if (!route) return { kind: 'refused', status: 404, reason: 'nothing is served at this address' }
    return { ...admitted, kind: 'found', route }
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
    if (request.headers.host === undefined) headers.push('Host', route.target.host)
    const path = pathAtTarget(route.target, url)
    return { method, path, headers, body: framing.kind, isUpgrade }
  }

  /** What the client is told when the target failed, and what the log says about it. */
  #blame({ route, url }: Found, { error, isInvalidAnswer }: TargetFailure): Refused {
    const status = isInvalidAnswer ? 502 : 503
    const [path] = url.split('?')
    this.#log.warn(`${status} ${path} from ${route.target.host}: ${error.message}`)
    return {
      kind: 'refused',
      status,
      reason: isInvalidAnswer ? 'the server gave no valid answer' : 'the server does not answer',
    }
  }

  #refuse(request: IncomingMessage, response: ServerResponse, { status, reason }: Refused): void {
    const problem: Problem = {
      status,
      message: `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`,
      mayAsk: status === 404 || (status === 503 && this.#isReady()),
      ...(status === 503 && { retryAfter: this.#isReady() ? 5 : 1 }),
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

type Found = Omit<Admitted, 'kind'> & { readonly kind: 'found'; readonly route: Route }

const notReady: Refused = {
  kind: 'refused',
  status: 503,
  reason: 'the hub is starting and has not said yet where requests go',
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
  server.emit('connection', socket)
}

function withoutUpgrade(connection: string): string {
  const options = connection.split(',').map((option) => option.trim())
  return options.filter((option) => option.toLowerCase() !== 'upgrade').join(', ') || 'keep-alive'
}

function answerHealthy(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json' })
  response.end('{"status":"OK"}')
}

function listen(server: http.Server, { host, port }: Bind): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, ...(host !== null && { host }) }, () => {
      server.off('error', reject)
      resolve(server.address() as AddressInfo)
    })
  })
}

function closing(server: http.Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
