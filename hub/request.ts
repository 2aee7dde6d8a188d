import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Request, RequestHandler, Response } from 'express'
import { HubError } from '../packages/core/errors.ts'
import { urlOf } from './access-log.ts'
import { type Access, type Caller, userOf } from './domain/access.ts'
import type { Activity } from './domain/activity.ts'
import type { LoggedIn } from './domain/login.ts'
import type { Refresher } from './domain/refresh.ts'
import type { SessionUse } from './domain/session-use.ts'
import { signValue, verifyValue } from './domain/signed-values.ts'
import type { HubUrls } from './domain/urls.ts'
import { crossSiteReason, type Provenance, type Xsrf } from './domain/xsrf.ts'

/** What the hub knows about one request besides its path: where it came from and who sent it. */
export interface RequestContext {
  readonly request: IncomingMessage
  /** Shown on error pages and in the log. */
  readonly id: string
  /** Path and query as they arrived. */
  readonly url: string
  readonly query: URLSearchParams
  /** The browser's address, as far as a trusted front end says. */
  readonly peer: string
  readonly protocol: 'http' | 'https'
  /** Host and port that the browser used. */
  readonly host: string
  readonly provenance: Provenance
  /** A header that came once; null when absent. */
  header(name: string): string | null
  /** Every value of a cookie, in the order of the header. */
  cookies(name: string): readonly string[]
  /** Whoever the login cookie names. */
  cookieCaller(): Promise<Caller | null>
  /** The `Authorization` header's owner, else the login cookie's. */
  caller(): Promise<Caller | null>
  /** `caller` as of now, for answers that go on; no sign of activity. */
  stillCaller(): Promise<Caller | null>
}

/** Gives every request its context; the routers read it with `contextOf`. */
export interface Requests {
  readonly middleware: RequestHandler
  /** The one context of this request. */
  contextFor(req: IncomingMessage): RequestContext
  /** Whoever a login cookie of this name and value names, whatever request it came in. */
  callerOfCookie(name: string, value: string): Promise<Caller | null>
  readonly cookies: LoginCookies
  readonly xsrf: XsrfGuard
}

/** Sets and clears the cookies of a login. */
export interface LoginCookies {
  set(req: Request, res: Response, login: Pick<LoggedIn, 'secret' | 'session'>): void
  /** Gives a browser that has lost its session id the one of its login again (wire section 8.1). */
  restore(req: Request, res: Response, caller: Caller): void
  clear(req: Request, res: Response): void
}

export interface XsrfGuard {
  /** The token for a page's forms and scripts; sets its cookie when needed. */
  issue(req: Request, res: Response, caller: Caller | null): string
  /** `form` is the body of a posted form. @throws {HubError} `xsrf_failed`, saying which check failed. */
  check(context: RequestContext, caller: Caller | null, form?: unknown): void
}

export interface RequestDeps {
  readonly access: Access
  readonly activity: Activity
  readonly refresher: Pick<Refresher, 'mayGoOn'>
  readonly sessionUse: SessionUse
  readonly xsrf: Xsrf
  readonly urls: HubUrls
  readonly cookieKey: Buffer
  readonly cookieMaxAgeDays: number
  readonly hostPrefix: boolean
  readonly clock: () => Date
  /** The browser's address as the proxy and its front ends have seen it; null on a socket file. */
  readonly clientAddress: (request: IncomingMessage) => string | null
  /** True for requests on the hub's own unix socket. */
  readonly isOperator: boolean
}

const contexts = new WeakMap<IncomingMessage, RequestContext>()

/** The context of a request that has passed the middleware. */
export function contextOf(req: IncomingMessage): RequestContext {
  const context = contexts.get(req)
  if (!context) throw new Error('the request has no context: the middleware comes first')
  return context
}

export function createRequests(deps: RequestDeps): Requests {
  const contextFor = (req: IncomingMessage): RequestContext => {
    const known = contexts.get(req)
    if (known) return known
    const context = new LazyContext(req, deps)
    contexts.set(req, context)
    return context
  }
  return {
    middleware: (req, _res, next) => {
      contextFor(req)
      next()
    },
    contextFor,
    callerOfCookie: async (name, value) =>
      name === loginCookieOf(deps) ? callerOf(deps, name, [unquoted(value.trim())]) : null,
    cookies: loginCookies(deps, loginCookieOf(deps)),
    xsrf: xsrfGuard(deps),
  }
}

const loginCookieOf = ({ hostPrefix }: RequestDeps): string =>
  hostPrefix ? '__Host-jupyterhub-hub-login' : 'jupyterhub-hub-login'

/** Works out each fact when it is first asked for: most requests need few of them. */
class LazyContext implements RequestContext {
  readonly request: IncomingMessage
  readonly #deps: RequestDeps
  #id: string | null = null
  #query: URLSearchParams | null = null
  #jar: CookieJar | null = null
  #byCookie: Promise<Caller | null> | null = null

  constructor(request: IncomingMessage, deps: RequestDeps) {
    this.request = request
    this.#deps = deps
  }

  get id(): string {
    return (this.#id ??= randomUUID().slice(24))
  }

  get url(): string {
    return urlOf(this.request)
  }

  get query(): URLSearchParams {
    const at = this.url.indexOf('?')
    return (this.#query ??= new URLSearchParams(at < 0 ? '' : this.url.slice(at + 1)))
  }

  get peer(): string {
    return this.#deps.clientAddress(this.request) ?? 'socket'
  }

  get protocol(): 'http' | 'https' {
    return protocolOf(this.request, this.#deps.urls.publicUrl)
  }

  get host(): string {
    const { headers } = this.request
    const { publicUrl, connectOrigin } = this.#deps.urls
    const asked = first(headers['x-forwarded-host']) ?? headers.host ?? ''
    return publicUrl?.host ?? (isHost(asked) ? asked : new URL(connectOrigin).host)
  }

  get provenance(): Provenance {
    const { headers, method = '' } = this.request
    const hosts = [this.host, headers.host, first(headers['x-forwarded-host'])]
    return {
      method,
      site: this.header('sec-fetch-site'),
      mode: this.header('sec-fetch-mode'),
      origin: this.header('origin'),
      hosts: hosts.filter((name) => name !== undefined),
    }
  }

  header(name: string): string | null {
    const value = this.request.headers[name]
    return typeof value === 'string' ? value : null
  }

  cookies(name: string): readonly string[] {
    this.#jar ??= parseCookies(this.request.headers.cookie ?? '')
    return this.#jar.get(name) ?? []
  }

  cookieCaller(): Promise<Caller | null> {
    return (this.#byCookie ??= this.#fromCookie())
  }

  async caller(): Promise<Caller | null> {
    const { access, isOperator } = this.#deps
    if (isOperator) return access.operator()
    const caller = await this.#byToken()
    if (!caller) return this.cookieCaller()
    noteUse(caller, this.#deps)
    return caller
  }

  async stillCaller(): Promise<Caller | null> {
    const { access, isOperator } = this.#deps
    if (isOperator) return access.operator()
    return (await this.#byToken()) ?? this.#nowByCookie()
  }

  async #byToken(): Promise<Caller | null> {
    const secret = authorizationToken(this.request.headers.authorization)
    return secret === null ? null : current(await this.#deps.access.ofToken(secret), this.#deps)
  }

  async #nowByCookie(): Promise<Caller | null> {
    if (this.request.headers.cookie === undefined) return null
    const name = loginCookieOf(this.#deps)
    return callerOf(this.#deps, name, this.cookies(name))
  }

  async #fromCookie(): Promise<Caller | null> {
    const caller = await this.#nowByCookie()
    if (caller) noteUse(caller, this.#deps)
    return caller
  }
}

/** The caller, unless the authenticator does not answer for them any more. */
async function current(caller: Caller | null, { refresher }: RequestDeps): Promise<Caller | null> {
  const user = userOf(caller)
  const mayGoOn = user === null || refresher.mayGoOn(user)
  return mayGoOn === true || (await mayGoOn) ? caller : null
}

/** A server's own token says nothing about its user (wire section 1.5). */
function noteUse(caller: Caller, { activity, sessionUse, clock }: RequestDeps): void {
  const { proof } = caller
  const now = clock()
  sessionUse.note(proof, now)
  const user = userOf(caller)
  if (proof.kind === 'token') activity.token(proof.token.id, now)
  if (user && (proof.kind !== 'token' || proof.token.serverId === null)) activity.user(user.id, now)
}

/**
 * Whoever the values of the login cookie name. Another path's cookie of the same name may be
 * worthless; two that are not are an attack, and name nobody (checklist C-5).
 */
async function callerOf(
  deps: RequestDeps,
  name: string,
  values: readonly string[],
): Promise<Caller | null> {
  const { access, clock, cookieKey, cookieMaxAgeDays, sessionUse } = deps
  const now = clock()
  const limits = { maxAgeDays: cookieMaxAgeDays, now }
  const callers: Caller[] = []
  for (const secret of new Set(
    values.map((value) => verifyValue(cookieKey, name, value, limits)),
  )) {
    const caller = secret === null ? null : await access.ofSession(secret)
    const isOver = caller?.proof.kind === 'session' && sessionUse.isOver(caller.proof.session, now)
    if (caller && !isOver) callers.push(caller)
  }
  return callers.length === 1 ? current(callers[0] ?? null, deps) : null
}

function loginCookies(
  { urls, clock, cookieKey, hostPrefix, xsrf }: RequestDeps,
  name: string,
): LoginCookies {
  const isSecure = (req: Request): boolean => hostPrefix || contextOf(req).protocol === 'https'
  const path = hostPrefix ? '/' : urls.hubPrefix
  const setSessionId = (req: Request, res: Response, id: string): void =>
    setCookie(res, 'jupyterhub-session-id', id, {
      path: urls.baseUrl,
      httpOnly: true,
      secure: isSecure(req),
    })
  return {
    restore(req, res, { proof }) {
      if (proof.kind !== 'session' || contextOf(req).cookies('jupyterhub-session-id').length > 0)
        return
      setSessionId(req, res, proof.session.browserSessionId)
    },
    set(req, res, { secret, session }) {
      const value = signValue(cookieKey, name, secret, clock())
      const secure = isSecure(req)
      const month = 30 * 86_400
      setCookie(res, name, value, { path, httpOnly: true, secure, maxAge: month })
      setSessionId(req, res, session.browserSessionId)
      const { token } = xsrf.tokenFor([], session.key)
      setCookie(res, '_xsrf', token, { path: urls.hubPrefix, httpOnly: false, secure })
    },
    clear(req, res) {
      const secure = isSecure(req)
      setCookie(res, name, '', { path, httpOnly: true, secure, maxAge: 0 })
      for (const [cookie, where] of [
        ['jupyterhub-session-id', urls.baseUrl],
        ['jupyterhub-services', `${urls.baseUrl}services`],
        ['_xsrf', urls.hubPrefix],
      ] as const)
        setCookie(res, cookie, '', { path: where, httpOnly: true, secure, maxAge: 0 })
    },
  }
}

function xsrfGuard({ xsrf, urls }: RequestDeps): XsrfGuard {
  const sessionOf = (caller: Caller | null): string | null =>
    caller?.proof.kind === 'session' ? caller.proof.session.key : null
  return {
    issue(req, res, caller) {
      const context = contextOf(req)
      const { provenance, protocol } = context
      const session = sessionOf(caller)
      const { token, isNew } = xsrf.tokenFor(context.cookies('_xsrf'), session)
      const navigates = provenance.mode === null || provenance.mode === 'navigate'
      if (isNew && navigates)
        setCookie(res, '_xsrf', token, {
          path: urls.hubPrefix,
          secure: protocol === 'https',
          httpOnly: false,
          ...(session === null ? { maxAge: 3600 } : {}),
        })
      return token
    },
    check(context, caller, form) {
      const { provenance } = context
      const crossSite = provenance.method === 'GET' ? null : crossSiteReason(provenance)
      if (crossSite) throw new HubError('xsrf_failed', `The request was refused: ${crossSite}`)
      const presented = presentedToken(context, form)
      if (presented === null)
        throw new HubError('xsrf_failed', `'_xsrf' argument missing from ${provenance.method}`)
      if (!xsrf.matches(context.cookies('_xsrf'), sessionOf(caller), presented))
        throw new HubError(
          'xsrf_failed',
          `XSRF cookie does not match ${provenance.method} argument: the '_xsrf' token does not belong to this login; reload the page and try again`,
        )
    },
  }
}

/** The token as an argument of form or query, else as a header. */
function presentedToken(context: RequestContext, form: unknown): string | null {
  const inForm =
    typeof form === 'object' && form !== null && '_xsrf' in form ? form._xsrf : undefined
  const candidates = [
    inForm,
    context.query.get('_xsrf'),
    context.header('x-xsrftoken'),
    context.header('x-csrftoken'),
  ]
  return (
    (candidates.find((value) => typeof value === 'string' && value !== '') as string | undefined) ??
    null
  )
}

/** JupyterHub's pattern: scheme `token` or `bearer`, one token, nothing else. */
function authorizationToken(value: string | undefined): string | null {
  return /^(?:token|bearer)\s+(\S+)\s*$/i.exec(value ?? '')?.[1] ?? null
}

/** Values with an equals sign come in quotes. */
const unquoted = (value: string): string => value.replace(/^"(.*)"$/, '$1')

type CookieJar = ReadonlyMap<string, readonly string[]>

function parseCookies(text: string): CookieJar {
  const jar = new Map<string, string[]>()
  for (const pair of text.split(';')) {
    const at = pair.indexOf('=')
    if (at < 1) continue
    const name = pair.slice(0, at).trim()
    const value = unquoted(pair.slice(at + 1).trim())
    const known = jar.get(name)
    if (known) known.push(value)
    else jar.set(name, [value])
  }
  return jar
}

export interface CookieAttributes {
  readonly path: string
  /** Default: Lax. */
  readonly sameSite?: 'Lax' | 'None'
  readonly httpOnly: boolean
  readonly secure: boolean
  /** Seconds; absent: until the browser ends. */
  readonly maxAge?: number
}

/** Adds a cookie to the answer. */
export function setCookie(
  res: Response,
  name: string,
  value: string,
  attributes: CookieAttributes,
): void {
  const quoted = /[=|]/.test(value) ? `"${value}"` : value
  const parts = [
    `${name}=${quoted}`,
    `Path=${attributes.path}`,
    `SameSite=${attributes.sameSite ?? 'Lax'}`,
  ]
  if (attributes.httpOnly) parts.push('HttpOnly')
  if (attributes.secure) parts.push('Secure')
  if (attributes.maxAge !== undefined) {
    const expires = new Date(attributes.maxAge === 0 ? 0 : Date.now() + attributes.maxAge * 1000)
    parts.push(`Max-Age=${attributes.maxAge}`, `Expires=${expires.toUTCString()}`)
  }
  res.append('Set-Cookie', parts.join('; '))
}

function first(value: string | readonly string[] | undefined): string | undefined {
  const text = typeof value === 'string' ? value : value?.[0]
  return text?.split(',')[0]?.trim()
}

/** Whether this can stand in an url: `Host` may hold anything. */
function isHost(text: string): boolean {
  return /^[\w.:[\]-]+$/.test(text) && URL.canParse(`http://${text}`)
}

function protocolOf(req: IncomingMessage, publicUrl: URL | null): 'http' | 'https' {
  if (publicUrl) return publicUrl.protocol === 'https:' ? 'https' : 'http'
  return first(req.headers['x-forwarded-proto']) === 'https' ? 'https' : 'http'
}
