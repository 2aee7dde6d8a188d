import type { IncomingMessage, ServerResponse } from 'node:http'
import { describeError, HubError, statusOf } from '../core/errors.ts'
import { covers } from '../core/scopes.ts'
import type { AuthRequest, Caller, HubAuth, Redirect } from './hub-auth.ts'
import type { HubUser } from './hub-users.ts'

/** A request of `node:http`; Express keeps the url as it was sent in `originalUrl`. */
type Incoming = IncomingMessage & { readonly originalUrl?: string }

/** Fits `app.use` and `app.get` of Express 4 and 5, and of Connect. */
export type Middleware = (
  req: Incoming,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void

export interface RequireOptions {
  /** Any one of these is needed besides access to the service, such as `custom:grades:read`. Default: none. */
  readonly scopes?: readonly string[]
}

export interface HubMiddleware {
  /**
   * Answers the two urls below the service's prefix that belong to logins: `oauth_callback`, to
   * which the hub sends browsers back, and `logout`. All other requests pass.
   */
  readonly hubRoutes: Middleware
  /**
   * Lets in users and services that may use this service; `userOf` tells the handlers who it is.
   * Browsers that are not logged in are sent to the hub; scripts get a 403, as with JupyterHub's
   * own classes, and 503 while the hub does not answer. What changes something (POST, PUT, ...) and
   * comes with a cookie must come from this very site. Other servers of people may share its
   * origin: a service that others must not be tricked into changing needs a form token of its own.
   */
  requireUser(options?: RequireOptions): Middleware
}

const callers = new WeakMap<IncomingMessage, Caller>()

/** Who is calling. @throws {Error} where no `requireUser` has let the request in. */
export function userOf(req: IncomingMessage): HubUser {
  const caller = callers.get(req)
  if (!caller) throw new Error('the request has passed no requireUser')
  return caller.user
}

/** Middleware that logs people in through the hub. One for all routes of a service. */
export function hubMiddleware(auth: HubAuth): HubMiddleware {
  const { servicePrefix } = auth.config
  return {
    hubRoutes(req, res, next) {
      const request = asSent(req)
      const path = request.url.split('?', 1)[0]
      if (req.method !== 'GET' && req.method !== 'HEAD') next()
      else if (path === `${servicePrefix}oauth_callback`)
        void settle(res, next, async () => {
          redirect(res, await auth.finishLogin(request))
          return 'answered'
        })
      else if (path === `${servicePrefix}logout`) redirect(res, auth.logout(request))
      else next()
    },

    requireUser({ scopes = [] } = {}) {
      return (req, res, next) =>
        void settle(res, next, async () => {
          const request = asSent(req)
          const caller = await auth.caller(request)
          if (!caller && isNavigation(req)) {
            redirect(res, auth.startLogin(request))
            return 'answered'
          }
          callers.set(req, admitted(auth, { req, caller, scopes }))
          return 'passed'
        })
    },
  }
}

function admitted(
  auth: HubAuth,
  from: {
    readonly req: IncomingMessage
    readonly caller: Caller | null
    readonly scopes: readonly string[]
  },
): Caller {
  const { req, caller, scopes } = from
  if (!caller) throw new HubError('not_authenticated', 'log in, or send a token of the hub')
  const held = new Set(caller.user.scopes)
  if (!auth.allows(caller.user))
    throw new HubError('forbidden', `${caller.user.name} has no access to this service`)
  if (scopes.length > 0 && !scopes.some((scope) => covers(held, scope)))
    throw new HubError('missing_scope', `this needs any of the scopes ${scopes.join(', ')}`)
  if (caller.via === 'cookie' && !isReading(req) && !isFromHere(req))
    throw new HubError('xsrf_failed', 'this request comes from another site')
  return caller
}

/** Goes on when `work` says so. What it throws as a `HubError` becomes the answer; anything else is the application's. */
async function settle(
  res: ServerResponse,
  next: (error?: unknown) => void,
  work: () => Promise<'answered' | 'passed'>,
): Promise<void> {
  const outcome = await work().catch((error: unknown) => ({ error }))
  if (outcome === 'answered') return
  if (outcome === 'passed') return next()
  const { error } = outcome
  if (!(error instanceof HubError) || res.headersSent) return next(error)
  const status = statusOf[error.code]
  const body = JSON.stringify({ status, message: describeError(error) })
  res
    .writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
    .end(body)
}

function redirect(res: ServerResponse, { location, cookies }: Redirect): void {
  res
    .writeHead(302, { Location: location, 'Set-Cookie': [...cookies], 'Cache-Control': 'no-store' })
    .end()
}

function asSent(req: Incoming): AuthRequest & { readonly url: string } {
  return { url: req.originalUrl ?? req.url ?? '/', headers: req.headers }
}

const isReading = ({ method }: IncomingMessage): boolean =>
  method === 'GET' || method === 'HEAD' || method === 'OPTIONS'

/** Whether a person waits for a page, who can be sent somewhere else. */
function isNavigation(req: IncomingMessage): boolean {
  if (req.method !== 'GET' && req.method !== 'HEAD') return false
  const mode = req.headers['sec-fetch-mode']
  if (mode !== undefined) return mode === 'navigate'
  return /\btext\/html\b/.test(req.headers.accept ?? '')
}

function isFromHere({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin' || site === 'none'
  const { origin } = headers
  if (origin === undefined) return true
  const hosts = [headers.host, String(headers['x-forwarded-host'] ?? headers.host).split(',')[0]]
  return URL.canParse(origin) && hosts.includes(new URL(origin).host)
}
