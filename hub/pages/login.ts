import type { Request, Response, Router } from 'express'
import { describeError, HubError } from '../../packages/core/errors.ts'
import type { Authenticator } from '../../packages/core/authenticator.ts'
import { userOf } from '../domain/access.ts'
import type { Login } from '../domain/login.ts'
import { safeNext } from '../domain/next-url.ts'
import type { OauthProvider } from '../domain/oauth-provider.ts'
import type { Servers } from '../domain/servers.ts'
import type { User } from '../domain/users.ts'
import type { Log } from '../log.ts'
import { contextOf, type LoginCookies } from '../request.ts'
import { allowFormsTo } from '../response-headers.ts'
import { strictRouter } from '../router.ts'
import type { Pages } from './page.ts'

export interface LoginPagesDeps {
  readonly pages: Pages
  readonly login: Login
  readonly cookies: LoginCookies
  readonly log: Log
  readonly servers: Servers
  readonly provider: Pick<OauthProvider, 'returnOrigin'>
  readonly authenticator: Authenticator
  readonly options: {
    readonly defaultUrl: string
    readonly redirectToServer: boolean
    readonly shutdownOnLogout: boolean
    /** True when no allow rule lets anybody in. */
    readonly admitsNobody: boolean
  }
}

/** Login and logout (wire section 8.3). */
export function loginPages(deps: LoginPagesDeps): Router {
  const { pages, login, cookies } = deps
  const { hubPrefix } = pages.urls
  const router = strictRouter()

  router.get('/login', async (req, res) => {
    const caller = await contextOf(req).cookieCaller()
    const user = userOf(caller)
    if (user) return res.redirect(destination(deps, req, user))
    await showForm(deps, req, res, null)
  })

  router.post('/login', async (req, res) => {
    try {
      await pages.checkXsrf(req)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      return showForm(
        deps,
        req,
        res,
        `Login form invalid or expired. Try again. (${error.message})`,
      )
    }
    const loggedIn = await login.attempt({
      form: fields(req.body),
      headers: singleHeaders(req),
      peerAddress: contextOf(req).peer,
      signal: gone(res),
    })
    if (!loggedIn) return showForm(deps, req, res, failureText(deps))
    const { user, session, secret } = loggedIn
    await endLogin(deps, req)
    cookies.set(req, res, { secret, session })
    res.redirect(destination(deps, req, user))
  })

  router.get('/logout', async (req, res) => {
    const { provenance } = contextOf(req)
    const caller = await contextOf(req).cookieCaller()
    if (provenance.site === 'cross-site' && caller)
      return pages.show(req, res, 'logout-confirm', { formAction: `${hubPrefix}logout` })
    await logOut(deps, req, res)
  })

  router.post('/logout', async (req, res) => {
    await pages.checkXsrf(req)
    await logOut(deps, req, res)
  })

  serveAuthenticator(router, deps.authenticator)
  return router
}

/** Pages and endpoints of the authenticator's own. */
function serveAuthenticator(router: Router, { routes = [] }: Authenticator): void {
  for (const route of routes)
    router[route.method === 'GET' ? 'get' : 'post'](route.path, async (req, res) => {
      const { protocol, host } = contextOf(req)
      const url = new URL(req.originalUrl, `${protocol}://${host}`)
      const request = new Request(url, { method: route.method, headers: webHeaders(req) })
      await sendResponse(await route.handle(request), res)
    })
}

/**
 * Where a login leads: `next` when it is ours, else the configured page, the server, or home, with
 * what else was asked for (wire section 8.7).
 */
function destination(deps: LoginPagesDeps, req: Request, user: User): string {
  const { baseUrl } = deps.pages.urls
  const { host, query } = contextOf(req)
  const wanted = safeNext(req.query['next'], { baseUrl, host })
  if (wanted !== null) return wanted
  const rest = new URLSearchParams(query)
  for (const used of ['next', '_xsrf', 'username']) rest.delete(used)
  const target = landing(deps, user)
  if (rest.size === 0) return target
  const [path = '', fragment] = target.split('#', 2)
  const tail = fragment === undefined ? '' : `#${fragment}`
  return `${path}${path.includes('?') ? '&' : '?'}${rest.toString()}${tail}`
}

function landing({ pages, servers, options }: LoginPagesDeps, user: User): string {
  const { urls } = pages
  if (options.defaultUrl !== '') return options.defaultUrl
  if (!options.redirectToServer) return `${urls.hubPrefix}home`
  return servers.run(user, '') ? urls.serverPrefix(user.name, '') : `${urls.hubPrefix}spawn`
}

async function showForm(
  deps: LoginPagesDeps,
  req: Request,
  res: Response,
  error: string | null,
): Promise<void> {
  const { pages, authenticator, options } = deps
  const { hubPrefix, baseUrl } = pages.urls
  const next = safeNext(req.query['next'], { baseUrl, host: contextOf(req).host })
  const query = next === null ? '' : `?next=${encodeURIComponent(next)}`
  const origin = next === null ? null : await originBehind(deps, next)
  if (origin !== null) allowFormsTo(res, origin)
  const typed = error === null ? req.query['username'] : fields(req.body)['username']
  await pages.show(
    req,
    res,
    'login',
    {
      next,
      username: typeof typed === 'string' ? shortened(typed.trim()) : '',
      error,
      formAction: `${hubPrefix}login${query}`,
      loginForm: authenticator.loginForm ?? null,
      loginService: authenticator.loginService ?? null,
      noAllowRule: options.admitsNobody,
    },
    error === null ? 200 : 403,
  )
}

/** The other site on which a login ends that an OAuth client has asked for. */
async function originBehind(
  { pages, provider }: LoginPagesDeps,
  next: string,
): Promise<string | null> {
  const { pathname, searchParams } = new URL(next, 'http://site.invalid')
  if (pathname !== `${pages.urls.hubPrefix}api/oauth2/authorize`) return null
  return provider.returnOrigin(searchParams.get('client_id') ?? '')
}

function failureText({ authenticator }: LoginPagesDeps): string {
  return authenticator.loginForm
    ? 'This link is used up or has expired. Get a new one in the terminal.'
    : 'Invalid username or password'
}

/** Ends the login that the request's cookie is of; null when there is none. */
async function endLogin({ login }: LoginPagesDeps, req: Request): Promise<User | null> {
  const caller = await contextOf(req).cookieCaller()
  const user = userOf(caller)
  if (!user || caller?.proof.kind !== 'session') return null
  await login.end(user, caller.proof.session, contextOf(req).peer)
  return user
}

async function logOut(deps: LoginPagesDeps, req: Request, res: Response): Promise<void> {
  const { pages, cookies, servers, options, authenticator } = deps
  const user = await endLogin(deps, req)
  cookies.clear(req, res)
  if (user && options.shutdownOnLogout)
    servers.stopAllOf(user).catch((error: unknown) => {
      deps.log.error('servers could not be stopped at logout', { error: describeError(error) })
    })
  res.redirect(authenticator.logoutUrl ?? `${pages.urls.hubPrefix}login`)
}

/** Posted fields as single strings; the user name is trimmed, nothing else is. `_xsrf` stays here. */
function fields(body: unknown): Record<string, string> {
  const form: Record<string, string> = {}
  for (const [name, value] of Object.entries((body ?? {}) as Record<string, unknown>))
    if (typeof value === 'string' && name !== '_xsrf')
      form[name] = name === 'username' ? value.trim() : value
  return form
}

function shortened(name: string): string {
  return name.length > 32 ? `${name.slice(0, 16)}... (${name.length} characters)` : name
}

function singleHeaders(req: Request): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(req.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : value,
    ]),
  )
}

function webHeaders(req: Request): Headers {
  const headers = new Headers()
  for (const [name, value] of Object.entries(singleHeaders(req)))
    if (value !== undefined) headers.set(name, value)
  return headers
}

async function sendResponse(response: globalThis.Response, res: Response): Promise<void> {
  res.status(response.status)
  response.headers.forEach((value, name) => {
    res.append(name, value)
  })
  res.end(Buffer.from(await response.arrayBuffer()))
}

/** Aborts when the browser goes away before the answer. */
function gone(res: Response): AbortSignal {
  const controller = new AbortController()
  res.once('close', () => controller.abort())
  return controller.signal
}
