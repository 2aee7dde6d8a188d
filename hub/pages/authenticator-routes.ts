import type { Request, Response, Router } from 'express'
import { HubError, statusOf } from '../../packages/core/errors.ts'
import type {
  Authenticator,
  AuthenticatorPage,
  AuthenticatorRoute,
  LoginRequest,
  PageForm,
  RouteLogin,
} from '../../packages/core/authenticator.ts'
import { userOf } from '../domain/access.ts'
import type { LoggedIn, Login } from '../domain/login.ts'
import { contextOf } from '../request.ts'
import type { Pages } from './page.ts'

export interface AuthenticatorRoutesDeps {
  readonly pages: Pages
  readonly login: Login
  readonly authenticator: Authenticator
  /** Opens the session in this browser; answers where to go. */
  readonly open: (loggedIn: LoggedIn, req: Request, res: Response, next?: string) => Promise<string>
  /** The same for a GET, which stops where it would go round in circles. */
  readonly openByItself: (
    loggedIn: LoggedIn,
    req: Request,
    res: Response,
    next?: string,
  ) => Promise<void>
  /** Shows the login page with the text of a refused login, or of one that must wait. */
  readonly refuse: (req: Request, res: Response, wait: HubError | null) => Promise<void>
}

/** Pages and endpoints of the authenticator's own. */
export function serveAuthenticator(router: Router, deps: AuthenticatorRoutesDeps): void {
  for (const route of deps.authenticator.routes ?? [])
    router[route.method === 'GET' ? 'get' : 'post'](route.path, async (req, res) => {
      const caller = await contextOf(req).cookieCaller()
      if (!(await mayCall(deps, route, req, res))) return
      const answer = await route.handle(webRequest(req), {
        userName: userOf(caller)?.name ?? null,
        admin: userOf(caller)?.admin ?? false,
        peerAddress: contextOf(req).peer,
        form: route.method === 'GET' ? {} : fields(req.body),
        signal: gone(res),
      })
      if (answer instanceof globalThis.Response) await sendResponse(answer, res)
      else if (answer.kind === 'page') await showPage(deps, req, res, answer)
      else await finishLogin(deps, req, res, answer)
    })
}

/** What an authenticator is told of a request. */
export function loginRequest(req: Request, res: Response): LoginRequest {
  return {
    form: fields(req.body),
    headers: singleHeaders(req),
    peerAddress: contextOf(req).peer,
    signal: gone(res),
  }
}

/** Posted fields as single strings; the user name is trimmed, nothing else is. `_xsrf` stays here. */
export function fields(body: unknown): Record<string, string> {
  const form: Record<string, string> = {}
  for (const [name, value] of Object.entries((body ?? {}) as Record<string, unknown>))
    if (typeof value === 'string' && name !== '_xsrf')
      form[name] = name === 'username' ? value.trim() : value
  return form
}

/** False when the answer has been given already. */
async function mayCall(
  { pages }: AuthenticatorRoutesDeps,
  { method, access = 'anyone', crossSite = false }: AuthenticatorRoute,
  req: Request,
  res: Response,
): Promise<boolean> {
  if (method === 'POST' && !crossSite) await pages.checkXsrf(req)
  if (access === 'anyone') return true
  const caller = await pages.loggedIn(req, res)
  if (!caller) return false
  if (access === 'admin' && !caller.user.admin)
    throw new HubError('forbidden', 'Only admins may see this page')
  return true
}

async function finishLogin(
  deps: AuthenticatorRoutesDeps,
  req: Request,
  res: Response,
  { verdict, userName, next, headers, refusal }: RouteLogin,
): Promise<void> {
  const request = loginRequest(req, res)
  const form = userName === undefined ? request.form : { ...request.form, username: userName }
  const loggedIn = await deps.login.attempt({ ...request, form }, verdict).catch(waiting)
  if (headers) res.set(headers)
  if (loggedIn instanceof HubError) {
    if (!refusal) return deps.refuse(req, res, loggedIn)
    res.set('Retry-After', String(loggedIn.retryAfter))
    const told = { error: loggedIn.message, status: statusOf[loggedIn.code] }
    return showPage(deps, req, res, { ...refusal, ...told })
  }
  if (loggedIn && req.method === 'GET') return deps.openByItself(loggedIn, req, res, next ?? '')
  if (loggedIn) return res.redirect(await deps.open(loggedIn, req, res, next ?? ''))
  if (refusal) return showPage(deps, req, res, refusal)
  await deps.refuse(req, res, null)
}

/** Too many attempts, for this address or at all: the form says so. Throws what is anything else. */
export function waiting(error: unknown): HubError {
  if (error instanceof HubError && error.retryAfter !== undefined) return error
  throw error
}

async function showPage(
  { pages }: AuthenticatorRoutesDeps,
  req: Request,
  res: Response,
  page: AuthenticatorPage,
): Promise<void> {
  if (page.headers) res.set(page.headers)
  await pages.show(
    req,
    res,
    'authenticator',
    { page: viewOf(page, pages.urls.hubPrefix) },
    page.status,
  )
}

/** The page with whole paths. */
function viewOf(page: AuthenticatorPage, hubPrefix: string) {
  const at = (path: string): string => `${hubPrefix.slice(0, -1)}${path}`
  const form = (given: PageForm) => ({ ...given, action: at(given.action) })
  return {
    ...page,
    form: page.form ? form(page.form) : null,
    entries: (page.entries ?? []).map((each) => ({ ...each, buttons: each.buttons.map(form) })),
    links: (page.links ?? []).map((link) => ({ ...link, path: at(link.path) })),
  }
}

function singleHeaders(req: Request): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(req.headers).map(([name, value]) => [
      name,
      Array.isArray(value) ? value.join(', ') : value,
    ]),
  )
}

function webRequest(req: Request): globalThis.Request {
  const { protocol, host } = contextOf(req)
  const headers = new Headers()
  for (const [name, value] of Object.entries(singleHeaders(req)))
    if (value !== undefined) headers.set(name, value)
  return new globalThis.Request(new URL(req.originalUrl, `${protocol}://${host}`), {
    method: req.method,
    headers,
  })
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
