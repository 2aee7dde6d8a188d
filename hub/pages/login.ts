import type { Request, Response, Router } from 'express'
import { describeError, HubError, statusOf } from '../../packages/core/errors.ts'
import { type Authenticator, otpField } from '../../packages/core/authenticator.ts'
import { within } from '../../packages/core/promises.ts'
import type { Json } from '../../packages/core/spawner.ts'
import { userOf } from '../domain/access.ts'
import type { AuthStates } from '../domain/auth-states.ts'
import type { LoggedIn, Login } from '../domain/login.ts'
import type { LoginAttempts } from '../domain/login-attempts.ts'
import { safeNext } from '../domain/next-url.ts'
import type { OauthProvider } from '../domain/oauth-provider.ts'
import type { Servers } from '../domain/servers.ts'
import type { User } from '../domain/users.ts'
import type { Log } from '../log.ts'
import { contextOf, type LoginCookies } from '../request.ts'
import { allowFormsTo } from '../response-headers.ts'
import { strictRouter } from '../router.ts'
import { fields, loginRequest, serveAuthenticator, waiting } from './authenticator-routes.ts'
import { showLoop } from './login-loop.ts'
import type { Pages } from './page.ts'
import { serveStrategies } from './provider-login.ts'

export interface LoginPagesDeps {
  readonly pages: Pages
  readonly login: Login
  readonly attempts: LoginAttempts
  readonly cookies: LoginCookies
  readonly log: Log
  readonly servers: Servers
  readonly provider: Pick<OauthProvider, 'returnOrigin'>
  readonly authenticator: Authenticator
  readonly authStates: Pick<AuthStates, 'of'>
  readonly crossSitePost: boolean
  readonly options: LoginPageOptions & {
    readonly defaultUrl: string
    readonly redirectToServer: boolean
    readonly shutdownOnLogout: boolean
  }
}

/** How the login page looks, and whether there is one. */
export interface LoginPageOptions {
  /** True when no allow rule lets anybody in. */
  readonly admitsNobody: boolean
  readonly autoLogin: boolean
  readonly autoLoginOauth2Authorize: boolean
  /** What stands beside the field for a one-time password; null: there is none. */
  readonly otpPrompt: string | null
  /** True when the view `customLoginView` replaces the form. */
  readonly customLogin: boolean
}

/** Name of the view that `authenticator.customHtml` is. */
export const customLoginView = 'authenticator.customHtml'

/** The hub's root, which leads on as a login does. */
export function rootPage(deps: DestinationDeps): Router {
  const router = strictRouter()
  router.get('/', async (req, res) => {
    const caller = await deps.pages.loggedIn(req, res)
    if (caller) res.redirect(destination(deps, req, caller.user))
  })
  return router
}

/** Login and logout (wire section 8.3). */
export function loginPages(deps: LoginPagesDeps): Router {
  const { pages, login, cookies } = deps
  const router = strictRouter()

  /** Sets the cookies of a new login and ends the one before; answers where it leads. */
  async function open(loggedIn: LoggedIn, req: Request, res: Response, next?: string) {
    const { user, session, secret } = loggedIn
    await endLogin(deps, req)
    cookies.set(req, res, { secret, session })
    return destination(deps, req, user, next)
  }

  const openByItself = openingByItself(deps, open)

  router.get('/login', async (req, res) => {
    const caller = await contextOf(req).cookieCaller()
    const user = userOf(caller)
    if (user) return res.redirect(destination(deps, req, user))
    if (!isAutomatic(deps, req)) return showForm(deps, req, res, null)
    const elsewhere = automaticUrl(deps, req)
    if (elsewhere !== null) return res.redirect(elsewhere)
    const loggedIn = await login.attempt(loginRequest(req, res))
    if (loggedIn) return openByItself(loggedIn, req, res)
    throw new HubError(
      'login_failed',
      'You could not be logged in. Ask the administrator for access',
    )
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
    const loggedIn = await login.attempt(loginRequest(req, res)).catch(waiting)
    if (!loggedIn || loggedIn instanceof HubError) return refuse(deps, req, res, loggedIn)
    res.redirect(await open(loggedIn, req, res))
  })

  serveLogout(router, deps)
  serveAuthenticator(router, {
    ...deps,
    open,
    openByItself,
    refuse: (req, res, wait) => refuse(deps, req, res, wait),
  })
  serveStrategies(router, { ...deps, open })
  return router
}

type Open = (loggedIn: LoggedIn, req: Request, res: Response, next?: string) => Promise<string>

/** Opens a login that no form was sent for, unless it comes again and again without a cookie. */
function openingByItself({ pages, login, attempts }: LoginPagesDeps, open: Open) {
  return async (loggedIn: LoggedIn, req: Request, res: Response, next?: string): Promise<void> => {
    const { user, session } = loggedIn
    const { peer } = contextOf(req)
    const browser = `${peer} ${user.name}`
    if (attempts.isLooping(browser) && !(await contextOf(req).cookieCaller())) {
      await login.end(user, session, peer)
      return showLoop(pages, req, res)
    }
    attempts.recordSuccess(browser)
    res.redirect(await open(loggedIn, req, res, next))
  }
}

function serveLogout(router: Router, deps: LoginPagesDeps): void {
  const { pages } = deps

  router.get('/logout', async (req, res) => {
    const { provenance } = contextOf(req)
    const caller = await contextOf(req).cookieCaller()
    const formAction = `${pages.urls.hubPrefix}logout`
    if (provenance.site === 'cross-site' && caller)
      return pages.show(req, res, 'logout-confirm', { formAction })
    await logOut(deps, req, res)
  })

  router.post('/logout', async (req, res) => {
    await pages.checkXsrf(req)
    await logOut(deps, req, res)
  })
}

type DestinationDeps = Pick<LoginPagesDeps, 'pages' | 'servers' | 'options'>

/**
 * Where a login leads: `next` when it is ours, else the configured page, the server, or home, with
 * what else the login page was asked for (wire section 8.7). A login that comes back from a provider
 * gives its own `next`: what stands in that url is for nobody else.
 */
function destination(deps: DestinationDeps, req: Request, user: User, kept?: unknown): string {
  const { baseUrl } = deps.pages.urls
  const { host, query } = contextOf(req)
  const isBack = kept !== undefined
  const wanted = safeNext(isBack ? kept : req.query['next'], { baseUrl, host })
  if (wanted !== null) return wanted
  const rest = new URLSearchParams(isBack ? '' : query)
  for (const used of ['next', '_xsrf', 'username']) rest.delete(used)
  const target = landing(deps, user)
  if (rest.size === 0) return target
  const [path = '', fragment] = target.split('#', 2)
  const tail = fragment === undefined ? '' : `#${fragment}`
  return `${path}${path.includes('?') ? '&' : '?'}${rest.toString()}${tail}`
}

function landing({ pages, servers, options }: DestinationDeps, user: User): string {
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
  status = error === null ? 200 : 403,
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
      otpField: options.otpPrompt === null ? null : otpField(options.otpPrompt),
      loginService: authenticator.loginService ?? null,
      loginServiceUrl: `${hubPrefix}oauth_login`,
      loginLinks: (authenticator.loginForm?.links ?? []).map(({ label, path }) => ({
        label,
        path: `${hubPrefix.slice(0, -1)}${path}`,
      })),
      noAllowRule: options.admitsNobody,
      ...(options.customLogin ? customData(deps, { error, query }) : {}),
    },
    status,
  )
}

/** What JupyterHub's `custom_html` is rendered with, besides `next` and `username`. */
function customData(
  { authenticator, pages }: LoginPagesDeps,
  { error, query }: { readonly error: string | null; readonly query: string },
) {
  const { hubPrefix } = pages.urls
  const loginUrl = `${hubPrefix}login${query}`
  return {
    customLogin: customLoginView,
    login_error: error ?? '',
    login_url: loginUrl,
    authenticator_login_url: authenticator.strategy ? `${hubPrefix}oauth_login${query}` : loginUrl,
    authenticator: { login_service: authenticator.loginService ?? '' },
  }
}

/** Shows the form again with what it says to everybody, or how long this address must wait. */
async function refuse(
  deps: LoginPagesDeps,
  req: Request,
  res: Response,
  wait: HubError | null,
): Promise<void> {
  if (!wait) return showForm(deps, req, res, failureText(deps))
  res.set('Retry-After', String(wait.retryAfter ?? 1))
  return showForm(deps, req, res, wait.message, statusOf[wait.code])
}

/** Whether this login goes on without a page. */
function isAutomatic({ pages, options }: LoginPagesDeps, req: Request): boolean {
  if (options.autoLogin) return true
  const site = { baseUrl: pages.urls.baseUrl, host: contextOf(req).host }
  const next = safeNext(req.query['next'], site) ?? ''
  const { pathname } = new URL(next, 'http://site.invalid')
  return options.autoLoginOauth2Authorize && pathname === authorizePath(pages)
}

/** Where the authenticator's own login begins; null when the request itself says who it is. */
function automaticUrl({ pages, authenticator }: LoginPagesDeps, req: Request): string | null {
  const [link, ...others] = authenticator.loginForm?.links ?? []
  const isOnly = link && others.length === 0 && authenticator.loginForm?.isClosed
  const path = authenticator.strategy ? '/oauth_login' : isOnly ? link.path : null
  const at = req.originalUrl.indexOf('?')
  const query = at < 0 ? '' : req.originalUrl.slice(at)
  return path === null ? null : `${pages.urls.hubPrefix.slice(0, -1)}${path}${query}`
}

const authorizePath = ({ urls }: Pages): string => `${urls.hubPrefix}api/oauth2/authorize`

/** The other site on which a login ends that an OAuth client has asked for. */
async function originBehind(
  { pages, provider }: LoginPagesDeps,
  next: string,
): Promise<string | null> {
  const { pathname, searchParams } = new URL(next, 'http://site.invalid')
  if (pathname !== authorizePath(pages)) return null
  return provider.returnOrigin(searchParams.get('client_id') ?? '')
}

function failureText({ authenticator }: LoginPagesDeps): string {
  return authenticator.loginForm?.failure ?? 'Invalid username or password'
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
  const authState = (user && (await deps.authStates.of(user))) ?? undefined
  cookies.clear(req, res)
  if (user && options.shutdownOnLogout)
    servers.stopAllOf(user).catch((error: unknown) => {
      deps.log.error('servers could not be stopped at logout', { error: describeError(error) })
    })
  if (user) await tellAuthenticator(deps, authState)
  const elsewhere =
    typeof authenticator.logoutUrl === 'function'
      ? await authenticator.logoutUrl(authState)
      : authenticator.logoutUrl
  if (elsewhere !== undefined) return res.redirect(elsewhere)
  if (options.autoLogin) return pages.show(req, res, 'logout', { autoLogin: true })
  res.redirect(`${pages.urls.hubPrefix}login`)
}

/** Milliseconds that a logout waits for the provider. */
const patience = 5000

async function tellAuthenticator(
  { authenticator, log }: LoginPagesDeps,
  authState: Json | undefined,
): Promise<void> {
  try {
    await within(patience, authenticator.logOut?.(authState), 'the logout at the provider')
  } catch (error) {
    log.warn('the authenticator could not be told of a logout', { error: describeError(error) })
  }
}

function shortened(name: string): string {
  return name.length > 32 ? `${name.slice(0, 16)}... (${name.length} characters)` : name
}
