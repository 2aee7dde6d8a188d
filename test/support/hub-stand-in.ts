/**
 * A counterpart for single-user servers and services: the few endpoints of the wire that they use
 * (version, identity, OAuth code grant with PKCE, activity, logout), a proxy in front of them, and
 * a browser with cookies. Everything on loopback.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { programPath } from 'portico/process'
import { until } from './until.ts'

interface Token {
  readonly user: string
  readonly scopes: readonly string[]
  readonly session: string
}

interface Code extends Token {
  readonly clientId: string
  readonly redirectUri: string
  readonly challenge: string
}

export interface ActivityReport {
  readonly user: string
  readonly authorization: string
  readonly body: unknown
}

export class HubStandIn {
  readonly activity: ActivityReport[] = []
  /** How often `GET /hub/api/user` was asked. */
  lookups = 0
  /** While true every request to the hub itself ends without an answer. */
  down = false
  /** What `X-JupyterHub-Version` says. */
  version = '6.0.0'
  /** Scopes by user, besides those of their own server. */
  readonly scopes = new Map<string, readonly string[]>()
  /** Secrets by OAuth client id. */
  readonly clients = new Map<string, string>()
  /** Ports by path prefix. */
  readonly routes = new Map<string, number>()
  readonly #tokens = new Map<string, Token>()
  readonly #codes = new Map<string, Code>()
  readonly #listener = createServer()

  static async start(): Promise<HubStandIn> {
    const hub = new HubStandIn()
    hub.#listener.on('request', (request, response) => void hub.#handle(request, response))
    hub.#listener.on('upgrade', (request, socket, head) => hub.#splice(request, socket, head))
    hub.#listener.listen(0, '127.0.0.1')
    await once(hub.#listener, 'listening')
    return hub
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#listener.address() as AddressInfo).port}`
  }

  issueToken(user: string, scopes: readonly string[], session = ''): string {
    const token = randomBytes(16).toString('hex')
    this.#tokens.set(token, { user, scopes, session })
    return token
  }

  /** What a logout does to the tokens of one browser session. */
  logOut(session: string): void {
    for (const [value, token] of this.#tokens) {
      if (token.session === session) this.#tokens.delete(value)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close()
    this.#listener.closeAllConnections()
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', this.url)
    const target = this.#targetOf(url.pathname)
    if (target !== undefined) return forward(request, response, target)
    if (this.down) return void request.socket.destroy()
    response.setHeader('x-jupyterhub-version', this.version)
    const handlers: Record<string, () => unknown> = {
      '/hub/api': () => json(response, 200, { version: this.version }),
      '/hub/api/user': () => this.#user(request, response),
      '/hub/api/oauth2/authorize': () => this.#authorize(request, response, url),
      '/hub/api/oauth2/token': () => this.#token(request, response),
      '/hub/login': () => this.#login(response, url),
      '/hub/logout': () => this.#logout(request, response),
    }
    const handler = handlers[url.pathname]
    if (handler) await handler()
    else if (url.pathname.endsWith('/activity')) await this.#activity(request, response, url)
    else json(response, 404, { status: 404, message: url.pathname })
  }

  /** `?user=` logs in at once. */
  #login(response: ServerResponse, url: URL): void {
    const user = url.searchParams.get('user')
    if (user === null) return json(response, 200, { page: 'login' })
    response.setHeader('set-cookie', [
      `stand-in-login=${user}; Path=/hub/; HttpOnly`,
      `jupyterhub-session-id=${randomBytes(16).toString('hex')}; Path=/; HttpOnly`,
    ])
    return redirect(response, url.searchParams.get('next') ?? '/hub/home')
  }

  #logout(request: IncomingMessage, response: ServerResponse): void {
    this.logOut(cookie(request, 'jupyterhub-session-id'))
    response.setHeader('set-cookie', [
      'stand-in-login=; Path=/hub/; Max-Age=0',
      'jupyterhub-session-id=; Path=/; Max-Age=0',
    ])
    redirect(response, '/hub/login')
  }

  #user(request: IncomingMessage, response: ServerResponse): void {
    this.lookups++
    const value = /^(?:token|bearer) (\S+)$/i.exec(request.headers.authorization ?? '')?.[1]
    const token = this.#tokens.get(value ?? '')
    if (!token) return json(response, 403, { status: 403, message: null })
    const { user: name, scopes } = token
    return json(response, 200, { name, kind: 'user', admin: false, groups: [], scopes })
  }

  #authorize(request: IncomingMessage, response: ServerResponse, url: URL): void {
    const user = cookie(request, 'stand-in-login')
    if (user === '') return redirect(response, `/hub/login?next=${encodeURIComponent(url.href)}`)
    const query = (name: string): string => url.searchParams.get(name) ?? ''
    const code = randomBytes(15).toString('hex')
    const redirectUri = query('redirect_uri')
    this.#codes.set(code, {
      user,
      scopes: this.scopes.get(user) ?? [`access:servers!server=${user}/`],
      session: cookie(request, 'jupyterhub-session-id'),
      clientId: query('client_id'),
      redirectUri,
      challenge: query('code_challenge'),
    })
    const back = new URLSearchParams({ code, state: query('state') })
    return redirect(response, `${redirectUri}?${back}`)
  }

  async #token(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const form = new URLSearchParams(await bodyOf(request))
    const field = (name: string): string => form.get(name) ?? ''
    const code = this.#codes.get(field('code'))
    if (this.clients.get(field('client_id')) !== field('client_secret')) {
      return json(response, 401, { error: 'invalid_client' })
    }
    const challenge = createHash('sha256').update(field('code_verifier')).digest('base64url')
    if (
      code?.clientId !== field('client_id') ||
      code.redirectUri !== field('redirect_uri') ||
      code.challenge !== challenge
    ) {
      return json(response, 400, { error: 'invalid_grant' })
    }
    this.#codes.delete(field('code'))
    const access_token = this.issueToken(code.user, code.scopes, code.session)
    return json(response, 200, { access_token, expires_in: 1_209_600, token_type: 'Bearer' })
  }

  async #activity(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
    const body: unknown = JSON.parse(await bodyOf(request))
    const user = url.pathname.split('/').at(-2) ?? ''
    this.activity.push({ user, authorization: request.headers.authorization ?? '', body })
    json(response, 200, {})
  }

  #targetOf(path: string): number | undefined {
    for (const [prefix, port] of this.routes) if (path.startsWith(prefix)) return port
    return undefined
  }

  #splice(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const port = this.#targetOf(request.url ?? '')
    if (port === undefined) return void socket.destroy()
    const target = connect(port, '127.0.0.1', () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`]
      for (let at = 0; at < request.rawHeaders.length; at += 2) {
        lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`)
      }
      target.write(`${lines.join('\r\n')}\r\n\r\n`)
      target.write(head)
      target.pipe(socket).pipe(target)
    })
    target.on('error', () => socket.destroy()).on('close', () => socket.destroy())
    socket.on('error', () => target.destroy()).on('close', () => target.destroy())
  }
}

function forward(request: IncomingMessage, response: ServerResponse, port: number): void {
  const { method, url: path, headers } = request
  const onward = httpRequest({ port, host: '127.0.0.1', method, path, headers }, (reply) => {
    response.writeHead(reply.statusCode ?? 502, reply.rawHeaders)
    reply.pipe(response)
  })
  onward.on('error', () => response.destroy())
  response.on('close', () => onward.destroy())
  request.pipe(onward)
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks).toString('utf8')
}

function json(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

function redirect(response: ServerResponse, location: string): void {
  response.writeHead(302, { location }).end()
}

function cookie(request: IncomingMessage, name: string): string {
  const pairs = (request.headers.cookie ?? '').split('; ').map((pair) => pair.split('='))
  return pairs.find(([key]) => key === name)?.[1] ?? ''
}

/** Keeps cookies by name and path as a browser does; follows redirects only when told. */
export class Browser {
  readonly origin: string
  readonly jar = new Map<string, { name: string; value: string; path: string }>()

  constructor(origin: string) {
    this.origin = origin
  }

  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const url = new URL(path, this.origin)
    const headers = new Headers(init.headers)
    headers.set('cookie', this.cookiesFor(url.pathname))
    const reply = await fetch(url, { redirect: 'manual', ...init, headers })
    for (const line of reply.headers.getSetCookie()) this.#keep(line)
    return reply
  }

  /** As a navigation: follows up to ten redirects. Resolves with the last answer. */
  async open(path: string): Promise<Response> {
    let reply = await this.fetch(path)
    for (let hops = 0; reply.status === 302 && hops < 10; hops++) {
      reply = await this.fetch(reply.headers.get('location') ?? '')
    }
    return reply
  }

  cookiesFor(path: string): string {
    return [...this.jar.values()]
      .filter((kept) => path.startsWith(kept.path))
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')
  }

  #keep(line: string): void {
    const [pair = '', ...attributes] = line.split('; ')
    const name = pair.slice(0, pair.indexOf('='))
    const path = attributes.find((text) => text.startsWith('Path='))?.slice(5) ?? '/'
    const key = `${name} ${path}`
    if (attributes.includes('Max-Age=0')) this.jar.delete(key)
    else this.jar.set(key, { name, value: pair.slice(name.length + 1), path })
  }
}

/** The environment that a hub hands to the default server of `user`. */
export function serverEnvironment(hub: HubStandIn, user: string): Record<string, string> {
  const prefix = `/user/${user}/`
  const token = hub.issueToken(user, ['users:activity!user'])
  hub.clients.set(`jupyterhub-user-${user}`, token)
  return {
    PATH: process.env['PATH'] ?? '',
    SHELL: '/bin/bash',
    JUPYTERHUB_API_TOKEN: token,
    JUPYTERHUB_CLIENT_ID: `jupyterhub-user-${user}`,
    JUPYTERHUB_HOST: '',
    JUPYTERHUB_OAUTH_CALLBACK_URL: `${prefix}oauth_callback`,
    JUPYTERHUB_OAUTH_ACCESS_SCOPES: JSON.stringify([
      `access:servers!server=${user}/`,
      `access:servers!user=${user}`,
    ]),
    JUPYTERHUB_USER: user,
    JUPYTERHUB_SERVER_NAME: '',
    JUPYTERHUB_API_URL: `${hub.url}/hub/api`,
    JUPYTERHUB_ACTIVITY_URL: `${hub.url}/hub/api/users/${user}/activity`,
    JUPYTERHUB_BASE_URL: '/',
    JUPYTERHUB_SERVICE_PREFIX: prefix,
    JUPYTERHUB_SERVICE_URL: `http://127.0.0.1:0${prefix}`,
  }
}

export interface Program {
  readonly child: ChildProcess
  /** Everything it wrote to stderr so far. */
  output(): string
  [Symbol.asyncDispose](): Promise<void>
}

/** Runs the built single-user server in `folder`, which is its home and root. */
export function runSingleUser(
  env: Readonly<Record<string, string>>,
  folder: string,
  args: readonly string[] = ['--allow-root'],
): Program {
  const [file, script] = programPath('packages/singleuser/main')
  const child = spawn(file, [script, ...args], {
    cwd: folder,
    env: { HOME: folder, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
  const closed = once(child, 'close')
  return {
    child,
    output: () => output,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) child.kill('SIGKILL')
      await closed
    },
  }
}

/** The same, waiting until it listens and routing its prefix to it. */
export async function startSingleUserProgram(
  hub: HubStandIn,
  user: string,
  folder: string,
  extra: Readonly<Record<string, string>> = {},
): Promise<Program & { readonly port: number }> {
  const program = runSingleUser({ ...serverEnvironment(hub, user), ...extra }, folder)
  try {
    const found = await until('the single-user server listens', () => {
      if (program.child.exitCode !== null) throw new Error(program.output())
      return /listening on port (\d+)/.exec(program.output())
    })
    const port = Number(found[1])
    hub.routes.set(`/user/${user}/`, port)
    return { ...program, port }
  } catch (error) {
    await program[Symbol.asyncDispose]()
    throw error
  }
}
