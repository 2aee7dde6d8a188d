import type { IncomingMessage, RequestListener } from 'node:http'
import { join } from 'node:path'
import express, { type Express, type Request, type RequestHandler, type Router } from 'express'
import type { Authenticator } from '../packages/core/authenticator.ts'
import { packageRoot } from '../packages/process/index.ts'
import { type AnswerLog, urlOf } from './access-log.ts'
import { type Api, createApi } from './api/dispatch.ts'
import type { Endpoint } from './api/endpoint.ts'
import { explainEndpoints } from './api/explain.ts'
import { eventEndpoints } from './api/events.ts'
import { groupEndpoints } from './api/groups.ts'
import { authorizationEndpoints } from './api/authorizations.ts'
import { checkHealth, hubEndpoints, type HubControl, type HubInfo } from './api/hub.ts'
import { metricsEndpoints } from './api/metrics.ts'
import { oauthEndpoints } from './api/oauth.ts'
import { withDocument } from './api/openapi.ts'
import { serverEndpoints } from './api/servers.ts'
import { shareEndpoints } from './api/shares.ts'
import { serviceEndpoints } from './api/services.ts'
import { tokenEndpoints } from './api/tokens.ts'
import { userEndpoints } from './api/users.ts'
import type { HubOptions } from './config.ts'
import type { Access } from './domain/access.ts'
import type { Activity } from './domain/activity.ts'
import type { AuthStates } from './domain/auth-states.ts'
import type { Changes } from './domain/changes.ts'
import type { Explanations } from './domain/explanations.ts'
import type { EventFeed } from './domain/event-feed.ts'
import type { Groups } from './domain/groups.ts'
import type { Login } from './domain/login.ts'
import type { LoginAttempts } from './domain/login-attempts.ts'
import type { OauthProvider } from './domain/oauth-provider.ts'
import type { Refresher } from './domain/refresh.ts'
import type { Routes } from './domain/routes.ts'
import type { Servers } from './domain/servers.ts'
import type { Services } from './domain/services.ts'
import type { ShareCodes, Shares } from './domain/shares.ts'
import type { Tokens } from './domain/tokens.ts'
import type { HubUrls } from './domain/urls.ts'
import type { Users } from './domain/users.ts'
import { type HostCheck, hostCheck } from './host-check.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { acceptSharePage } from './pages/accept-share.ts'
import { apiDocsPage } from './pages/api-docs.ts'
import { errorTarget, notFound, pageErrors } from './pages/errors.ts'
import { homePage } from './pages/home.ts'
import { loginPages, type LoginPageOptions, rootPage } from './pages/login.ts'
import { metricsPage } from './pages/metrics.ts'
import { oauthConsentPages } from './pages/oauth-consent.ts'
import { createPages } from './pages/page.ts'
import type { Render } from './pages/render.ts'
import { serverPages } from './pages/servers.ts'
import { tokenPage } from './pages/tokens.ts'
import { userServerPages } from './pages/user-servers.ts'
import { contextOf, type Requests } from './request.ts'
import { pageHeaders } from './response-headers.ts'
import { strictRouter, strictRouters } from './router.ts'

/** Everything the routers speak to. */
export interface AppParts {
  readonly access: Access
  readonly attempts: LoginAttempts
  readonly activity: Activity
  /** Told of every answer of the hub. */
  readonly answered: AnswerLog
  readonly authenticator: Authenticator
  readonly authStates: AuthStates
  readonly changes: Changes
  /** The authenticator's provider posts back across sites. */
  readonly crossSitePost: boolean
  readonly control: HubControl
  readonly explanations: Explanations
  readonly feed: EventFeed
  readonly groups: Groups
  readonly info: HubInfo
  readonly log: Log
  readonly login: Login
  readonly metrics: Metrics
  readonly options: HubOptions & LoginPageOptions
  readonly provider: OauthProvider
  readonly refresher: Refresher
  /** Hosts that browsers may use, or null when any will do. */
  readonly hosts: ReadonlySet<string> | null
  readonly render: Render
  readonly requests: Requests
  readonly routes: Routes
  readonly servers: Servers
  readonly services: Services
  readonly shares: Shares
  readonly shareCodes: ShareCodes
  readonly tokens: Tokens
  readonly urls: HubUrls
  readonly users: Users
}

/** The hub's web application: the REST API by itself, and Express for everything that people see. */
export interface HubApp {
  readonly handle: RequestListener
  readonly pages: Express
}

/** Requests that are plainly for the API go straight to it; all others walk through the middleware. */
export function createApp(parts: AppParts): HubApp {
  const checkHost = hostCheck(parts)
  const endpoints = endpointsOf(parts)
  const api = createApi({ ...parts, checkHost, endpoints })
  const pages = createPageApp(parts, { api, endpoints, checkHost })
  const prefix = `${parts.urls.hubPrefix}api`
  return {
    pages,
    handle(req, res) {
      const path = pathBelow(prefix, req.url ?? '')
      if (path === null || isPage(path)) pages(req, res)
      else void api.handle(req, res, path)
    },
  }
}

/** The REST API alone, for the hub's own unix socket; always at `/hub/api`. */
export function createSocketApp(parts: AppParts): RequestListener {
  const api = createApi({ ...parts, checkHost: () => {}, endpoints: endpointsOf(parts) })
  return (req, res) =>
    void api.handle(req, res, pathBelow('/hub/api', req.url ?? '') ?? '/outside-the-api')
}

function createPageApp(parts: AppParts, deps: PageAppDeps): Express {
  const { requests, urls, log } = parts
  const { api, endpoints, checkHost } = deps
  const pages = createPages(parts)
  const app = strictApp()
  app.use(pageHeaders(urls), withinBase(urls.baseUrl))
  app.use(requests.middleware)
  const formBody = express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 200 })
  app.use('/hub/api', consent(parts, pages, formBody))
  app.use('/hub/api', (req, res) => api.handle(req, res, pathOf(req.url)))
  app.use(answers(parts.answered), (req, _res, next) => {
    checkHost(req, req.path)
    next()
  })
  app.use('/hub/static', staticFiles())
  app.get('/hub/logo', (_req, res) => res.sendFile(join(assets(), 'logo.svg')))
  app.get('/hub/favicon.ico', (_req, res) => res.sendFile(join(assets(), 'favicon.svg')))
  app.get('/hub/health', async (req, res) => {
    await checkHealth(parts.control, 'ready' in req.query)
    res.type('text/html').end()
  })
  const { authenticatePrometheus } = parts.options
  app.get('/hub/metrics', metricsPage({ ...parts, authenticatePrometheus }))
  app.get('/hub', (_req, res) => res.redirect(301, urls.hubPrefix))
  app.use(
    '/hub',
    errorTarget(pages, parts.servers),
    userServerPages({ ...parts, ...redirection(parts), pages }),
  )
  app.use(
    '/hub',
    formBody,
    strictRouters(
      rootPage({ ...parts, pages }),
      loginPages({ ...parts, pages, cookies: requests.cookies }),
      homePage({ ...parts, pages }),
      tokenPage({ ...parts, pages }),
      serverPages({ ...parts, pages }),
      acceptSharePage({ ...parts, pages }),
      apiDocsPage(pages, endpoints),
    ),
  )
  app.post('/hub/security/csp-report', (_req, res) => {
    parts.metrics.cspReported()
    res.status(204).end()
  })
  app.use('/hub', notFound(pages))
  app.use(missingSlashes(urls))
  app.get('/{*path}', (req, res) => {
    res.redirect(`${urls.hubPrefix}${req.originalUrl.slice(urls.baseUrl.length)}`)
  })
  app.use(notFound(pages), pageErrors(pages, log))
  return app
}

/** Servers and services live below their prefix; who leaves out its slash is told the right address. */
function missingSlashes(urls: HubUrls): Router {
  const queryOf = (req: Request) => req.originalUrl.slice(pathOf(req.originalUrl).length)
  const router = strictRouter()
  router.get('/user/:name', (req, res) => {
    res.redirect(301, `${urls.serverPrefix(req.params.name, '')}${queryOf(req)}`)
  })
  router.get('/services/:name', (req, res) => {
    res.redirect(301, `${urls.servicePrefix(req.params.name)}${queryOf(req)}`)
  })
  return router
}

interface PageAppDeps {
  readonly api: Api
  readonly endpoints: readonly Endpoint[]
  readonly checkHost: HostCheck
}

function endpointsOf(parts: AppParts): readonly Endpoint[] {
  const { options } = parts
  const pages = { default: options.apiPageDefaultLimit, max: options.apiPageMaxLimit }
  const slow = { spawn: options.slowSpawnTimeout, stop: options.slowStopTimeout }
  return withDocument([
    ...userEndpoints({ ...parts, pages }),
    ...serverEndpoints({ ...parts, slow }),
    ...shareEndpoints({ ...parts, pages }),
    ...authorizationEndpoints(parts),
    ...serviceEndpoints(parts),
    ...tokenEndpoints(parts),
    ...groupEndpoints({ ...parts, pages }),
    ...explainEndpoints(parts),
    ...eventEndpoints(parts),
    ...metricsEndpoints({ ...parts, ...options }),
    ...oauthEndpoints(parts),
    ...hubEndpoints({ ...parts, pages }),
  ])
}

/** What lies under the API's path but is a page. */
const isPage = (path: string): boolean => path === '/oauth2/authorize'

/** The path below `prefix`, without the query; null when the url lies elsewhere. */
function pathBelow(prefix: string, url: string): string | null {
  if (!url.startsWith(prefix)) return null
  const path = pathOf(url).slice(prefix.length)
  return path === '' || path.startsWith('/') ? path : null
}

function pathOf(url: string): string {
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

/** The authorize endpoint lies under the API's path but is a page. */
function consent(
  parts: AppParts,
  pages: ReturnType<typeof createPages>,
  formBody: RequestHandler,
): Router {
  const app = strictRouter()
  app.use('/oauth2/authorize', formBody)
  app.use(strictRouters(oauthConsentPages({ pages, provider: parts.provider })))
  app.use('/oauth2/authorize', pageErrors(pages, parts.log))
  return app
}

/** Trailing slashes and the case of letters matter; nobody is told what this runs on. */
function strictApp(): Express {
  const app = express()
  app.disable('x-powered-by')
  app.enable('strict routing')
  app.enable('case sensitive routing')
  return app
}

/** How requests for servers that do not run are answered, and where `/user-redirect/` leads. */
function redirection({ options }: AppParts) {
  return {
    stoppedStatus: options.useLegacyStoppedServerStatusCode ? (503 as const) : (424 as const),
    defaultServerName: options.allowNamedServers ? options.defaultServerName : '',
  }
}

/** Takes the base url off the path, however it is percent-encoded; what lies outside does not exist. */
function withinBase(baseUrl: string): RequestHandler {
  const wanted = segmentsOf(baseUrl)
  return (req, res, next) => {
    if (wanted.length === 0) return next()
    const [path = ''] = req.url.split('?')
    const depth = wanted.length
    const segments = path.split('/').slice(1)
    if (wanted.some((segment, index) => decoded(segments[index]) !== segment))
      return void res
        .status(404)
        .type('text/plain')
        .send(`Nothing here: this hub lives at ${baseUrl}`)
    const cut = segments.slice(0, depth).reduce((sum, segment) => sum + segment.length + 1, 0)
    const rest = req.url.slice(cut)
    req.url = rest.startsWith('/') ? rest : `/${rest}`
    next()
  }
}

function segmentsOf(path: string): readonly string[] {
  return path
    .split('/')
    .filter((segment) => segment !== '')
    .map((segment) => decoded(segment) ?? segment)
}

function decoded(segment: string | undefined): string | null {
  try {
    return segment === undefined ? null : decodeURIComponent(segment)
  } catch {
    return null
  }
}

function answers(answered: AnswerLog): RequestHandler {
  return (req, res, next) => {
    const started = performance.now()
    const { peer } = contextOf(req)
    res.once('finish', () =>
      answered({ req, status: res.statusCode, peer, pattern: patternOf(req), started }),
    )
    next()
  }
}

/** The route that has answered a page; those of files and of what is not there have none. */
function patternOf(req: Request): string | null {
  const path = (req.route as { readonly path?: unknown } | undefined)?.path
  return typeof path === 'string' ? `${req.baseUrl}${path}` : null
}

const assets = (): string => join(packageRoot(), 'hub', 'pages', 'assets')

function staticFiles(): RequestHandler {
  return express.static(assets(), {
    index: false,
    redirect: false,
    setHeaders(res) {
      const isVersioned = /[?&]v=/.test(urlOf(res.req as IncomingMessage))
      res.setHeader(
        'Cache-Control',
        isVersioned ? 'public, max-age=31536000, immutable' : 'no-cache',
      )
      res.setHeader('X-Content-Type-Options', 'nosniff')
    },
  })
}
