import type { IncomingHttpHeaders } from 'node:http'
import { HubError } from '../core/errors.ts'
import { covers } from '../core/scopes.ts'
import type { HubAuthConfig } from './config.ts'
import { cookieNameOf, cookieNames, cookieValues, setCookie } from './cookies.ts'
import { HubUsers, type HubUser } from './hub-users.ts'
import { attemptSeconds, OAuthClient } from './oauth-client.ts'
import { sealerFor, type Sealer } from './seal.ts'

/** As much of an HTTP request as is needed here: fits node:http, Express and tests. */
export interface AuthRequest {
  /** Path and query as sent. */
  readonly url?: string | undefined
  readonly headers: IncomingHttpHeaders
}

/** A request whose token the hub knows. Whether they may come in is `HubAuth.allows`. */
export interface Caller {
  readonly user: HubUser
  /** A cookie is sent by the browser unasked, so what changes state needs an XSRF check. */
  readonly via: 'header' | 'cookie'
  /** The browser's session at the hub; empty for scripts. */
  readonly sessionId: string
  /** Asks again, for connections that outlive a request; null once access has ended. */
  recheck(): Promise<HubUser | null>
}

/** A 302 with its `Set-Cookie` values. */
export interface Redirect {
  readonly location: string
  readonly cookies: readonly string[]
}

const maxAttempts = 8

/**
 * Logs users of a hub in to a server or service: verifies tokens, and runs the OAuth code flow
 * for browsers. Knows no web framework; the caller turns a `Redirect` or `HubError` into a reply.
 */
export class HubAuth {
  readonly config: HubAuthConfig
  readonly #users: HubUsers
  readonly #oauth: OAuthClient
  readonly #sealer: Sealer
  readonly #cookieName: string

  constructor(config: HubAuthConfig) {
    this.config = config
    this.#sealer = sealerFor(config.apiToken)
    this.#users = new HubUsers(config.apiUrl)
    this.#oauth = new OAuthClient(config, this.#sealer)
    this.#cookieName = cookieNameOf(config.clientId)
  }

  /** Whose token it is, at most 10 s old; null when the hub knows none. Throws `unavailable`. */
  userForToken(token: string, sessionId = ''): Promise<HubUser | null> {
    return this.#users.userForToken(token, sessionId)
  }

  /**
   * Whether the user holds one of our access scopes. Only the hub knows who is in a group, so a
   * `!group=` filter never counts here, as in JupyterHub's clients.
   */
  allows(user: HubUser): boolean {
    const held = new Set(user.scopes)
    return this.config.accessScopes.some((scope) => covers(held, scope))
  }

  /**
   * Who is calling: by `Authorization: token|bearer`, else by our cookie; null when nobody. A
   * header with an unknown token falls through to the cookie, as in JupyterHub. Throws
   * `unavailable` when the hub cannot tell, `invalid_request` when two valid logins compete.
   */
  async caller(request: AuthRequest): Promise<Caller | null> {
    const sessionId = sessionIdOf(request)
    const given = /^\s*(?:token|bearer)\s+(\S+)\s*$/i.exec(request.headers.authorization ?? '')?.[1]
    const byHeader = given ? await this.#callerWith(given, 'header', '') : null
    if (byHeader) return byHeader
    const token = this.#tokenOf(request, sessionId)
    return token === null ? null : this.#callerWith(token, 'cookie', sessionId)
  }

  /** Sends the browser to the hub to log in; it comes back to `next`, if that lies under our prefix. */
  startLogin(request: AuthRequest, next = request.url ?? ''): Redirect {
    const { servicePrefix } = this.config
    const attempt = this.#oauth.begin(isBelow(servicePrefix, next) ? next : servicePrefix)
    const old = cookieNames(request.headers.cookie, this.#attemptCookie('')).slice(maxAttempts - 1)
    return {
      location: attempt.authorizeUrl,
      cookies: [
        ...old.map((name) => this.#cookie(request, name, '', 0)),
        this.#cookie(request, this.#attemptCookie(attempt.id), attempt.cookie, attemptSeconds),
      ],
    }
  }

  /**
   * Handles the hub's redirect back to the callback URL. Throws `invalid_request` for a login that
   * is not this browser's or is over, `forbidden` when the hub said no, `unavailable`.
   */
  async finishLogin(request: AuthRequest): Promise<Redirect> {
    const { searchParams } = new URL(request.url ?? '', 'http://service')
    const name = this.#attemptCookie(this.#oauth.attemptOf(searchParams))
    const cookies = cookieValues(request.headers.cookie, name)
    const { token, expiresIn, next } = await this.#oauth.finish(searchParams, cookies)
    const session = sessionIdOf(request)
    const user = await this.#users.userForToken(token, session)
    if (!user) throw new HubError('forbidden', 'the hub does not know the token it just issued')
    const expires = Date.now() + expiresIn * 1000
    const login = this.#sealer.seal(this.#loginPurpose, { token, session, expires })
    return {
      location: next,
      cookies: [
        this.#cookie(request, name, '', 0),
        this.#cookie(request, this.#cookieName, login, expiresIn),
      ],
    }
  }

  /**
   * Forgets this browser's login here and sends it to the hub's logout. A cross-site request only
   * gets the redirect: the hub asks before it logs anyone out.
   */
  logout(request: AuthRequest): Redirect {
    const { host, baseUrl } = this.config
    const location = `${host}${baseUrl}hub/logout`
    if (request.headers['sec-fetch-site'] === 'cross-site') return { location, cookies: [] }
    const sessionId = sessionIdOf(request)
    for (const token of this.#tokensOf(request, sessionId)) this.#users.forget(token, sessionId)
    return { location, cookies: [this.#cookie(request, this.#cookieName, '', 0)] }
  }

  /** Whether the browser sees us over https, so that cookies may be `Secure`. */
  isSecure(request: AuthRequest): boolean {
    const { publicUrl, host, cookieOptions } = this.config
    if (cookieOptions.secure !== undefined) return cookieOptions.secure
    if (publicUrl !== '') return publicUrl.startsWith('https:')
    const forwarded = String(request.headers['x-forwarded-proto'] ?? '')
      .split(',', 1)[0]
      ?.trim()
    return forwarded === 'https' || (forwarded === '' && host.startsWith('https:'))
  }

  get #loginPurpose(): string {
    return `login ${this.config.clientId} ${this.config.servicePrefix}`
  }

  #attemptCookie(id: string): string {
    return `${this.#cookieName}-oauth-state-${id}`
  }

  #cookie(request: AuthRequest, name: string, value: string, maxAge: number): string {
    const { cookieOptions, servicePrefix } = this.config
    const secure = this.isSecure(request)
    return setCookie(name, value, { ...cookieOptions, secure, path: servicePrefix, maxAge })
  }

  #tokenOf(request: AuthRequest, sessionId: string): string | null {
    const [token = null, other] = this.#tokensOf(request, sessionId)
    if (other === undefined) return token
    const advice = 'log out, or remove the cookies of this site'
    throw new HubError('invalid_request', `this browser sends two logins for one server; ${advice}`)
  }

  /** The distinct tokens in our cookies, of this browser session only. */
  #tokensOf(request: AuthRequest, sessionId: string): Set<string> {
    const values = cookieValues(request.headers.cookie, this.#cookieName)
    const logins = values.map((value) => this.#sealer.open(this.#loginPurpose, value))
    const ours = logins.filter((login) => login?.['session'] === sessionId)
    return new Set(ours.map((login) => String(login?.['token'])))
  }

  async #callerWith(token: string, via: Caller['via'], sessionId: string): Promise<Caller | null> {
    const user = await this.#users.userForToken(token, sessionId)
    if (!user) return null
    const recheck = async (): Promise<HubUser | null> => {
      const current = await this.#users.userForToken(token, sessionId)
      return current && this.allows(current) ? current : null
    }
    return { user, via, sessionId, recheck }
  }
}

function sessionIdOf(request: AuthRequest): string {
  return cookieValues(request.headers.cookie, 'jupyterhub-session-id')[0] ?? ''
}

/** Whether a `next` is a path below our prefix that every browser reads as such. */
function isBelow(prefix: string, next: string): boolean {
  return next.startsWith(prefix) && next.length <= 2048 && !/[\0-\x20\x7f\\]/.test(next)
}
