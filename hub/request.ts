import { randomBytes } from 'node:crypto'
import type { Request, RequestHandler, Response } from 'express'
import { HubError } from '../packages/core/errors.ts'
import type { Access, Caller } from './domain/access.ts'
import type { Activity } from './domain/activity.ts'
import type { LoggedIn } from './domain/login.ts'
import { signValue, verifyValue } from './domain/signed-values.ts'
import type { HubUrls } from './domain/urls.ts'
import { crossSiteReason, type Provenance, type Xsrf } from './domain/xsrf.ts'

/** What the hub knows about one request besides its path: where it came from and who sent it. */
export interface RequestContext {
  /** Shown on error pages and in the log. */
  readonly id: string
  /** The browser's address, as far as a trusted front end says. */
  readonly peer: string
  readonly protocol: 'http' | 'https'
  /** Host and port that the browser used. */
  readonly host: string
  readonly provenance: Provenance
  /** Every value of a cookie, in the order of the header. */
  readonly cookies: (name: string) => readonly string[]
  /** Whoever the login cookie names. */
  readonly cookieCaller: () => Promise<Caller | null>
  /** The `Authorization` header's owner, else the login cookie's. */
  readonly caller: () => Promise<Caller | null>
}

/** Gives every request its context; the routers read it with `contextOf`. */
export interface Requests {
  readonly middleware: RequestHandler
  readonly cookies: LoginCookies
  readonly xsrf: XsrfGuard
}

/** Sets and clears the cookies of a login. */
export interface LoginCookies {
  set(req: Request, res: Response, login: Pick<LoggedIn, 'secret' | 'session'>): void
  clear(req: Request, res: Response): void
}

export interface XsrfGuard {
  /** The token for a page's forms and scripts; sets its cookie when needed. */
  issue(req: Request, res: Response, caller: Caller | null): string
  /** @throws {HubError} `xsrf_failed`, saying which check failed. */
  check(req: Request, caller: Caller | null): void
}

export interface RequestDeps {
  readonly access: Access
  readonly activity: Activity
  readonly xsrf: Xsrf
  readonly urls: HubUrls
  readonly cookieKey: Buffer
  readonly cookieMaxAgeDays: number
  readonly hostPrefix: boolean
  readonly clock: () => Date
  /** True for requests on the hub's own unix socket. */
  readonly isOperator: boolean
}

const contexts = new WeakMap<Request, RequestContext>()

/** The context of a request that has passed the middleware. */
export function contextOf(req: Request): RequestContext {
  const context = contexts.get(req)
  if (!context) throw new Error('the request has no context: the middleware comes first')
  return context
}

export function createRequests(deps: RequestDeps): Requests {
  const { urls, clock } = deps
  const loginCookie = deps.hostPrefix ? '__Host-jupyterhub-hub-login' : 'jupyterhub-hub-login'

  const noteUse = (caller: Caller | null): Caller | null => {
    if (!caller?.user) return caller
    const now = clock()
    const { proof } = caller
    if (proof.kind === 'token') deps.activity.token(proof.token.id, now)
    if (proof.kind !== 'token' || proof.token.serverId === null)
      deps.activity.user(caller.user.id, now)
    return caller
  }

  const create = (req: Request): RequestContext => {
    const jar = parseCookies(req.headers.cookie ?? '')
    const { publicUrl } = urls
    const asked = first(req.headers['x-forwarded-host']) ?? req.headers.host ?? ''
    const host = publicUrl?.host ?? (isHost(asked) ? asked : new URL(urls.connectOrigin).host)
    const hosts = [host, req.headers.host, first(req.headers['x-forwarded-host'])]
    let byCookie: Promise<Caller | null> | null = null
    const fromCookie = () =>
      (byCookie ??= callerOf(deps, loginCookie, jar.get(loginCookie) ?? []).then(noteUse))
    let id: string | null = null
    return {
      get id() {
        return (id ??= randomBytes(6).toString('hex'))
      },
      peer: peerOf(req),
      protocol: protocolOf(req, publicUrl),
      host,
      provenance: {
        method: req.method,
        site: header(req, 'sec-fetch-site'),
        mode: header(req, 'sec-fetch-mode'),
        origin: header(req, 'origin'),
        hosts: hosts.filter((name) => name !== undefined),
      },
      cookies: (name) => jar.get(name) ?? [],
      cookieCaller: fromCookie,
      async caller() {
        if (deps.isOperator) return deps.access.operator()
        const secret = authorizationToken(req.headers.authorization)
        const byToken = secret === null ? null : await deps.access.ofToken(secret)
        return byToken ? noteUse(byToken) : fromCookie()
      },
    }
  }

  return {
    middleware: (req, _res, next) => {
      contexts.set(req, create(req))
      next()
    },
    cookies: loginCookies(deps, loginCookie),
    xsrf: xsrfGuard(deps),
  }
}

/**
 * Whoever the values of the login cookie name. Another path's cookie of the same name may be
 * worthless; two that are not are an attack, and name nobody (checklist C-5).
 */
async function callerOf(
  { access, clock, cookieKey, cookieMaxAgeDays }: RequestDeps,
  name: string,
  values: readonly string[],
): Promise<Caller | null> {
  const limits = { maxAgeDays: cookieMaxAgeDays, now: clock() }
  const callers: Caller[] = []
  for (const secret of new Set(
    values.map((value) => verifyValue(cookieKey, name, value, limits)),
  )) {
    const caller = secret === null ? null : await access.ofSession(secret)
    if (caller) callers.push(caller)
  }
  return callers.length === 1 ? (callers[0] ?? null) : null
}

function loginCookies(
  { urls, clock, cookieKey, hostPrefix, xsrf }: RequestDeps,
  name: string,
): LoginCookies {
  const isSecure = (req: Request): boolean => hostPrefix || contextOf(req).protocol === 'https'
  const path = hostPrefix ? '/' : urls.hubPrefix
  return {
    set(req, res, { secret, session }) {
      const value = signValue(cookieKey, name, secret, clock())
      const secure = isSecure(req)
      const month = 30 * 86_400
      setCookie(res, name, value, { path, httpOnly: true, secure, maxAge: month })
      setCookie(res, 'jupyterhub-session-id', session.browserSessionId, {
        path: urls.baseUrl,
        httpOnly: true,
        secure,
      })
      const { token } = xsrf.tokenFor([], String(session.id))
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
    caller?.proof.kind === 'session' ? String(caller.proof.session.id) : null
  return {
    issue(req, res, caller) {
      const { cookies, provenance, protocol } = contextOf(req)
      const session = sessionOf(caller)
      const { token, isNew } = xsrf.tokenFor(cookies('_xsrf'), session)
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
    check(req, caller) {
      const { cookies, provenance } = contextOf(req)
      const crossSite = provenance.method === 'GET' ? null : crossSiteReason(provenance)
      if (crossSite) throw new HubError('xsrf_failed', `The request was refused: ${crossSite}`)
      const presented = presentedToken(req)
      if (presented === null)
        throw new HubError('xsrf_failed', `'_xsrf' argument missing from ${req.method}`)
      if (!xsrf.matches(cookies('_xsrf'), sessionOf(caller), presented))
        throw new HubError(
          'xsrf_failed',
          "The '_xsrf' token does not belong to this login; reload the page and try again",
        )
    },
  }
}

/** The token as an argument of form or query, else as a header. */
function presentedToken(req: Request): string | null {
  const body: unknown = req.body
  const inForm =
    typeof body === 'object' && body !== null && '_xsrf' in body ? body._xsrf : undefined
  const candidates = [
    inForm,
    req.query['_xsrf'],
    req.headers['x-xsrftoken'],
    req.headers['x-csrftoken'],
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

type CookieJar = ReadonlyMap<string, readonly string[]>

function parseCookies(text: string): CookieJar {
  const jar = new Map<string, string[]>()
  for (const pair of text.split(';')) {
    const at = pair.indexOf('=')
    if (at < 1) continue
    const name = pair.slice(0, at).trim()
    const value = pair
      .slice(at + 1)
      .trim()
      .replace(/^"(.*)"$/, '$1')
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

function header(req: Request, name: string): string | null {
  const value = req.headers[name]
  return typeof value === 'string' ? value : null
}

function first(value: string | readonly string[] | undefined): string | undefined {
  const text = typeof value === 'string' ? value : value?.[0]
  return text?.split(',')[0]?.trim()
}

/** Whether this can stand in an url: `Host` may hold anything. */
function isHost(text: string): boolean {
  return /^[\w.:[\]-]+$/.test(text) && URL.canParse(`http://${text}`)
}

/** The last address in `X-Forwarded-For` that is not this machine: what our own proxy, or the front end before it, has seen. */
function peerOf(req: Request): string {
  const direct = req.socket.remoteAddress ?? 'socket'
  if (!isLoopback(direct)) return direct
  const chain = String(req.headers['x-forwarded-for'] ?? '')
    .split(',')
    .map((address) => address.trim())
    .filter((address) => address !== '')
  return (chain.findLast((address) => !isLoopback(address)) ?? chain[0] ?? direct).slice(0, 64)
}

function isLoopback(address: string): boolean {
  return /^(?:127\.|::1$|::ffff:127\.|socket$)/.test(address)
}

function protocolOf(req: Request, publicUrl: URL | null): 'http' | 'https' {
  if (publicUrl) return publicUrl.protocol === 'https:' ? 'https' : 'http'
  return first(req.headers['x-forwarded-proto']) === 'https' ? 'https' : 'http'
}
