import type { Request, Response, Router } from 'express'
import { describeError, HubError } from '../../packages/core/errors.ts'
import type { Authenticator } from '../../packages/core/authenticator.ts'
import type { LoggedIn, Login } from '../domain/login.ts'
import type { LoginAttempts } from '../domain/login-attempts.ts'
import { safeNext } from '../domain/next-url.ts'
import type { Servers } from '../domain/servers.ts'
import type { User } from '../domain/users.ts'
import type { Log } from '../log.ts'
import { contextOf, type LoginCookies } from '../request.ts'
import { strictRouter } from '../router.ts'
import { fields, loginRequest, serveAuthenticator } from './authenticator-routes.ts'
import type { Pages } from './page.ts'
import { serveStrategies } from './provider-login.ts'

export interface LoginPagesDeps {
  readonly pages: Pages
  readonly login: Login
  readonly attempts: LoginAttempts
  readonly cookies: LoginCookies
  readonly log: Log
  readonly servers: Servers
  readonly authenticator: Authenticator
  readonly crossSitePost: boolean
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

  /** Sets the cookies of a new login and ends the one before; answers where it leads. */
  async function open(loggedIn: LoggedIn, req: Request, res: Response, next?: string) {
    const { user, session, secret } = loggedIn
    const before = await contextOf(req).cookieCaller()
    if (before?.user && before.proof.kind === 'session')
      await login.end(before.user, before.proof.session, contextOf(req).peer)
    cookies.set(req, res, { secret, session })
    return destination(deps, req, user, next)
  }

  router.get('/login', async (req, res) => {
    const caller = await contextOf(req).cookieCaller()
    if (caller?.user) return res.redirect(destination(deps, req, caller.user))
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
    const loggedIn = await login.attempt(loginRequest(req, res))
    if (!loggedIn) return showForm(deps, req, res, failureText(deps))
    res.redirect(await open(loggedIn, req, res))
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

  serveAuthenticator(router, {
    ...deps,
    open,
    refuse: (req, res) => showForm(deps, req, res, failureText(deps)),
  })
  serveStrategies(router, { ...deps, open })
  return router
}

/** Where a login leads: `next` when it is ours, else the configured page, the server, or home. */
function destination(
  { pages, servers, options }: LoginPagesDeps,
  req: Request,
  user: User,
  next: unknown = req.query['next'],
): string {
  const { urls } = pages
  const site = { baseUrl: urls.baseUrl, host: contextOf(req).host }
  const wanted = safeNext(next, site)
  if (wanted !== null) return wanted
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
      loginServiceUrl: `${hubPrefix}oauth_login`,
      loginLinks: (authenticator.loginForm?.links ?? []).map(({ label, path }) => ({
        label,
        path: `${hubPrefix.slice(0, -1)}${path}`,
      })),
      noAllowRule: options.admitsNobody,
    },
    error === null ? 200 : 403,
  )
}

function failureText({ authenticator }: LoginPagesDeps): string {
  return authenticator.loginForm?.failure ?? 'Invalid username or password'
}

async function logOut(deps: LoginPagesDeps, req: Request, res: Response): Promise<void> {
  const { pages, login, cookies, servers, options, authenticator } = deps
  const caller = await contextOf(req).cookieCaller()
  cookies.clear(req, res)
  if (caller?.user && caller.proof.kind === 'session') {
    await login.end(caller.user, caller.proof.session, contextOf(req).peer)
    if (options.shutdownOnLogout)
      servers.stopAllOf(caller.user).catch((error: unknown) => {
        deps.log.error('servers could not be stopped at logout', { error: describeError(error) })
      })
  }
  const { logoutUrl } = authenticator
  const elsewhere = typeof logoutUrl === 'function' ? await logoutUrl(undefined) : logoutUrl
  res.redirect(elsewhere ?? `${pages.urls.hubPrefix}login`)
}

function shortened(name: string): string {
  return name.length > 32 ? `${name.slice(0, 16)}... (${name.length} characters)` : name
}
