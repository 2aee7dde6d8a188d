import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { HubError } from '../core/errors.ts'
import { HubAuth, type Caller } from '../hub-auth/index.ts'
import { Activity } from './activity.ts'
import { packageVersion, serveAsset } from './assets.ts'
import type { SingleUserConfig } from './config.ts'
import { contents } from './contents.ts'
import { Failures, isAt, isNavigation } from './failures.ts'
import { Files } from './files.ts'
import { Home } from './home.ts'
import { checkHub } from './hub-check.ts'
import { sendShell } from './pages.ts'
import { sendJson, sendRedirect, setCommonHeaders, type Exchange } from './replies.ts'
import { terminalsApi, TerminalSockets } from './terminal-api.ts'
import { Terminals } from './terminals.ts'
import { transfer } from './transfers.ts'
import { hasOurOrigin, Xsrf } from './xsrf.ts'

export interface SingleUserServer {
  /** The port it listens on. */
  readonly port: number
  /** Resolves once the hub was reached, rejects when it cannot be. */
  readonly hubChecked: Promise<void>
  /** Ends terminals and connections, within a second. */
  [Symbol.asyncDispose](): Promise<void>
}

type Log = (line: string) => void

/**
 * Starts the embedded single-user server. Throws `not_found` for a missing root folder, and the
 * system's error when the address cannot be listened on.
 */
export async function startSingleUser(
  config: SingleUserConfig,
  log: Log,
): Promise<SingleUserServer> {
  const app = new App(config, new Files(await Home.open(config.rootDir)), log)
  const listener = createServer({ requestTimeout: 0, headersTimeout: 30_000 })
  listener.keepAliveTimeout = 75_000
  listener.on('request', (request, response) => void app.handle(request, response))
  listener.on('upgrade', (request, socket, head) => void app.upgrade(request, socket, head))
  listener.listen({ port: config.port, ...(config.host !== '' && { host: config.host }) })
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  log(`listening on port ${port}, prefix ${config.hub.servicePrefix}`)
  const stopping = new AbortController()
  const hubChecked = checkHub(config.hub.apiUrl, log, stopping.signal)
  void hubChecked.then(() => app.activity.report(stopping.signal)).catch(() => null)
  return {
    port,
    hubChecked,
    async [Symbol.asyncDispose]() {
      stopping.abort()
      listener.close()
      await app.close()
      listener.closeAllConnections()
    },
  }
}

/** Milliseconds a connection may be silent in the middle of an exchange. */
const maxSilence = 300_000

class App {
  readonly activity: Activity
  readonly #auth: HubAuth
  readonly #xsrf: Xsrf
  readonly #files: Files
  readonly #terminals: Terminals
  readonly #sockets = new TerminalSockets()
  readonly #failures: Failures

  constructor(config: SingleUserConfig, files: Files, log: Log) {
    this.#auth = new HubAuth(config.hub)
    this.#xsrf = new Xsrf(this.#auth)
    this.#files = files
    this.#terminals = new Terminals({ env: config.terminalEnv, cwd: config.homeDir })
    this.activity = new Activity(config.hub, config.activityInterval, log)
    this.#failures = new Failures(config.hub, log)
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    setCommonHeaders(response)
    request.setTimeout(maxSilence, () => request.destroy())
    try {
      await this.#route(request, response)
    } catch (error) {
      this.#failures.send(error, request, response)
    }
  }

  /** Only terminals speak WebSocket. Browsers must name our origin; scripts have a token instead. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy())
    try {
      const name = /^terminals\/websocket\/(\d+)$/.exec(this.#below(request).path ?? '')?.[1]
      if (name === undefined) throw new HubError('not_found', 'there is no such WebSocket')
      const caller = await this.#authorised(request)
      if (caller.via === 'cookie' && !hasOurOrigin(request, this.#auth)) {
        throw new HubError('forbidden', 'this connection comes from a page of another origin')
      }
      const terminal = this.#terminals.get(name)
      const touch = (): void => this.activity.touch()
      this.#sockets.accept({ request, socket, head, terminal, caller, touch })
    } catch (error) {
      this.#failures.refuseUpgrade(error, socket)
    }
  }

  async close(): Promise<void> {
    this.#sockets.closeAll()
    await this.#terminals.closeAll()
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { path, query } = this.#below(request)
    if (path === null) return sendRedirect(response, this.#auth.config.servicePrefix)
    if (path === 'api' || path === 'api/')
      return sendJson(response, 200, { version: packageVersion })
    if (path === 'logout') return this.#redirect(response, this.#auth.logout(request))
    if (path === 'oauth_callback') return this.#finishLogin(request, response)
    const caller = await this.#auth.caller(request)
    if (caller === null && isNavigation(request, path)) {
      return this.#redirect(response, this.#auth.startLogin(request))
    }
    const allowed = this.#admit(caller)
    this.#xsrf.check(request, allowed)
    this.activity.touch()
    const method = request.method ?? ''
    const exchange = (prefix: string): Exchange => {
      const rest = path.slice(prefix.length).replace(/^\//, '')
      return { request, response, method, rest, query }
    }
    if (isAt(path, 'api/contents')) return contents(exchange('api/contents'), this.#files)
    if (isAt(path, 'api/terminals')) return terminalsApi(exchange('api/terminals'), this.#terminals)
    if (isAt(path, 'files')) return transfer(exchange('files'), this.#files)
    if (isAt(path, 'assets')) return serveAsset(exchange('assets'))
    return this.#page(exchange(''), allowed)
  }

  async #page({ method, rest, request, response }: Exchange, caller: Caller): Promise<void> {
    const { config } = this.#auth
    const view = ['tree', 'edit', 'terminals'].some((name) => isAt(rest, name))
    if (method !== 'GET' && method !== 'HEAD') {
      throw new HubError('method_not_allowed', `${method} is not possible here`)
    }
    // What other single-user servers show first leads to what this one shows first.
    if (rest === '' || isAt(rest, 'lab'))
      return sendRedirect(response, `${config.servicePrefix}tree/`)
    if (!view) throw new HubError('not_found', 'there is no such page on this server')
    const { value: xsrf, cookies } = this.#xsrf.issue(request, caller)
    if (cookies.length > 0) response.setHeader('set-cookie', cookies)
    const terminalProblem = await this.#terminals.problem()
    const host = request.headers.host ?? ''
    return sendShell(response, { config, viewer: caller.user.name, xsrf, host, terminalProblem })
  }

  async #finishLogin(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader('referrer-policy', 'no-referrer')
    this.#redirect(response, await this.#auth.finishLogin(request))
  }

  #redirect(response: ServerResponse, to: { location: string; cookies: readonly string[] }): void {
    sendRedirect(response, to.location, to.cookies)
  }

  async #authorised(request: IncomingMessage): Promise<Caller> {
    return this.#admit(await this.#auth.caller(request))
  }

  #admit(caller: Caller | null): Caller {
    if (caller === null)
      throw new HubError('not_authenticated', 'not logged in: open the page again')
    if (this.#auth.allows(caller.user)) return caller
    const { user } = this.#auth.config
    const message = `${caller.user.kind} ${caller.user.name} has no access to the server of ${user}`
    throw new HubError('missing_scope', message)
  }

  /** Path below our prefix, undecoded; null for the prefix without its slash. Throws `not_found`. */
  #below(request: IncomingMessage): { path: string | null; query: URLSearchParams } {
    const [path = '', search = ''] = (request.url ?? '').split(/\?(.*)/s)
    const query = new URLSearchParams(search)
    const { servicePrefix } = this.#auth.config
    if (path.startsWith(servicePrefix)) return { path: path.slice(servicePrefix.length), query }
    if (`${path}/` === servicePrefix) return { path: null, query }
    throw new HubError('not_found', `this server answers below ${servicePrefix} only`)
  }
}
