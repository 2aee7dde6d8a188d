import type { Request, Response, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import type { Authenticator, LoginStrategy, Verdict } from '../../packages/core/authenticator.ts'
import type { LoggedIn, Login } from '../domain/login.ts'
import { attemptLifetime, type LoginAttempts } from '../domain/login-attempts.ts'
import { safeNext } from '../domain/next-url.ts'
import { contextOf, setCookie } from '../request.ts'
import { loginRequest } from './authenticator-routes.ts'
import { showLoop } from './login-loop.ts'
import type { Pages } from './page.ts'
import { runStrategy } from './run-strategy.ts'

export interface ProviderLoginDeps {
  readonly pages: Pages
  readonly login: Login
  readonly attempts: LoginAttempts
  readonly authenticator: Authenticator
  /** True when the provider posts back across sites, so that the cookie must come along. */
  readonly crossSitePost: boolean
  /** Opens the session in this browser; answers where to go. */
  readonly open: (loggedIn: LoggedIn, req: Request, res: Response, next?: string) => Promise<string>
}

/** Binds attempts to a browser; only the hub ever sees it. */
const cookieName = 'portico-login-attempt'

const defaultRefusal =
  'You have proved who you are, and this hub does not let you in. Ask its administrator for access.'

/** Logins that leave for a provider and come back (upstream: `/hub/oauth_login`, `/hub/oauth_callback`). */
export function serveStrategies(router: Router, deps: ProviderLoginDeps): void {
  const { strategy, strategies = strategy ? { '': strategy } : {} } = deps.authenticator
  for (const [prefix, each] of Object.entries(strategies)) {
    const way = { ...deps, prefix, strategy: each }
    router.get(`${prefix}/oauth_login`, (req, res) => leave(way, req, res))
    router.get(`${prefix}/oauth_callback`, (req, res) => comeBack(way, req, res))
    if (deps.crossSitePost)
      router.post(`${prefix}/oauth_callback`, (req, res) => comeBack(way, req, res))
  }
}

interface Way extends ProviderLoginDeps {
  readonly prefix: string
  readonly strategy: LoginStrategy
}

async function leave(way: Way, req: Request, res: Response): Promise<void> {
  const { pages, attempts, prefix, strategy } = way
  const browser = browsersOf(req)[0] ?? attempts.newBrowser()
  if (attempts.isLooping(browser) && !(await contextOf(req).cookieCaller()))
    return showLoop(pages, req, res)
  const site = { baseUrl: pages.urls.baseUrl, host: contextOf(req).host }
  const next = safeNext(req.query['next'], site)
  const session: Record<string, unknown> = {}
  const outcome = await runStrategy(strategy, req, session)
  if (outcome.kind !== 'redirect') return finish(way, req, res, { browser, next, verdict: outcome })
  const key = keyOf(Object.fromEntries(outcome.url.searchParams))
  await attempts.begin(browser, `${prefix} ${key}`, { provider: prefix, data: session, next })
  rememberBrowser(way, req, res, browser)
  res.set('Referrer-Policy', 'no-referrer').redirect(outcome.url.href)
}

async function comeBack(way: Way, req: Request, res: Response): Promise<void> {
  const { attempts, prefix, strategy } = way
  res.set('Referrer-Policy', 'no-referrer')
  const browsers = browsersOf(req)
  if (browsers.length === 0)
    throw new HubError(
      'invalid_request',
      'OAuth state missing from cookies. Log in within ten minutes, in one browser, with cookies on',
    )
  const key = `${prefix} ${keyOf({ ...req.query, ...(req.body as object | undefined) })}`
  for (const browser of browsers) {
    const attempt = await attempts.finish(browser, key)
    if (!attempt) continue
    const outcome = await runStrategy(strategy, req, { ...attempt.data })
    if (outcome.kind === 'redirect')
      throw new HubError('invalid_request', 'The login begins anew: start from the login page')
    return finish(way, req, res, { browser, next: attempt.next, verdict: outcome })
  }
  throw new HubError(
    'invalid_request',
    'OAuth state mismatch. This login was finished already, is too old, or began in another browser',
  )
}

async function finish(
  way: Way,
  req: Request,
  res: Response,
  end: { readonly browser: string; readonly next: string | null; readonly verdict: Verdict },
): Promise<void> {
  const { pages, login, attempts, authenticator, open } = way
  const request = { ...loginRequest(req, res), form: {} }
  const loggedIn = await login.attempt(request, end.verdict)
  if (loggedIn) {
    attempts.recordSuccess(end.browser)
    const { baseUrl, hubPrefix } = pages.urls
    const url = await open(loggedIn, req, res, end.next ?? '')
    const isPlain = end.next === null || [baseUrl, hubPrefix].includes(end.next)
    return isPlain ? leadOn(pages, req, res, url) : res.redirect(url)
  }
  const message = authenticator.refusalText ?? defaultRefusal
  await pages.show(req, res, 'error', { status: 403, statusText: 'Forbidden', message }, 403)
}

/**
 * Goes to the page that follows a login where nothing else was asked for. A redirect would still
 * count as a visit that the provider's site has made, and a page that starts a server asks about
 * such visits first.
 */
async function leadOn(pages: Pages, req: Request, res: Response, url: string): Promise<void> {
  if (contextOf(req).provenance.site !== 'cross-site') return res.redirect(url)
  await pages.show(req, res, 'lead-on', { url })
}

/** What names the attempt on its way through the provider: `state`, or OAuth 1.0a's `oauth_token`. */
function keyOf(parameters: Readonly<Record<string, unknown>>): string {
  const key = parameters['state'] ?? parameters['oauth_token']
  if (key === undefined || key === '')
    throw new HubError('invalid_request', 'OAuth state missing from URL')
  if (typeof key !== 'string' || key.length > 512)
    throw new HubError('invalid_request', 'OAuth state given more than once, or too long')
  return key
}

function browsersOf(req: Request): readonly string[] {
  const values = contextOf(req).cookies(cookieName)
  return [...new Set(values.filter((value) => /^[\w-]{43}$/.test(value)))].slice(0, 4)
}

function rememberBrowser(
  { pages, crossSitePost }: ProviderLoginDeps,
  req: Request,
  res: Response,
  browser: string,
): void {
  setCookie(res, cookieName, browser, {
    path: pages.urls.hubPrefix,
    httpOnly: true,
    secure: crossSitePost || contextOf(req).protocol === 'https',
    sameSite: crossSitePost ? 'None' : 'Lax',
    maxAge: attemptLifetime / 1000,
  })
}
