import { join } from 'node:path'
import express, { type Express, type Request, type RequestHandler, type Router } from 'express'
import { HubError } from '../packages/core/errors.ts'
import type { Authenticator } from '../packages/core/authenticator.ts'
import { packageRoot } from '../packages/process/index.ts'
import { apiErrors } from './api/errors.ts'
import { createGuard } from './api/handlers.ts'
import { health, hubApi, type HubControl, type HubInfo } from './api/hub.ts'
import { oauthApi } from './api/oauth.ts'
import { serversApi } from './api/servers.ts'
import { tokensApi } from './api/tokens.ts'
import { usersApi } from './api/users.ts'
import type { HubOptions } from './config.ts'
import type { Access } from './domain/access.ts'
import type { Activity } from './domain/activity.ts'
import type { Login } from './domain/login.ts'
import type { LoginAttempts } from './domain/login-attempts.ts'
import type { OauthProvider } from './domain/oauth-provider.ts'
import type { Routes } from './domain/routes.ts'
import type { Servers } from './domain/servers.ts'
import type { Tokens } from './domain/tokens.ts'
import type { HubUrls } from './domain/urls.ts'
import type { Users } from './domain/users.ts'
import type { Log } from './log.ts'
import { errorTarget, notFound, pageErrors } from './pages/errors.ts'
import { loginPages } from './pages/login.ts'
import { oauthConsentPages } from './pages/oauth-consent.ts'
import { createPages } from './pages/page.ts'
import type { Render } from './pages/render.ts'
import { serverPages, userServerPages } from './pages/servers.ts'
import { contextOf, type Requests } from './request.ts'
import { apiHeaders, pageHeaders } from './response-headers.ts'
import { strictRouter, strictRouters } from './router.ts'

/** Everything the routers speak to. */
export interface AppParts {
  readonly access: Access
  readonly attempts: LoginAttempts
  readonly activity: Activity
  readonly authenticator: Authenticator
  /** The authenticator's provider posts back across sites. */
  readonly crossSitePost: boolean
  readonly control: HubControl
  readonly info: HubInfo
  readonly log: Log
  readonly login: Login
  readonly options: HubOptions & { readonly admitsNobody: boolean }
  readonly provider: OauthProvider
  /** Hosts that browsers may use, or null when any will do. */
  readonly hosts: ReadonlySet<string> | null
  readonly render: Render
  readonly requests: Requests
  readonly routes: Routes
  readonly servers: Servers
  readonly tokens: Tokens
  readonly urls: HubUrls
  readonly users: Users
}

/** The hub's web application: middleware and routers in order. */
export function createApp(parts: AppParts): Express {
  const { requests, urls, log } = parts
  const pages = createPages(parts)
  const app = strictApp()
  app.use(pageHeaders(urls), withinBase(urls.baseUrl))
  app.use(requests.middleware, accessLog(log), checkHost(parts))
  app.use('/hub/static', staticFiles())
  app.get('/hub/logo', (_req, res) => res.sendFile(join(assets(), 'logo.svg')))
  app.get('/hub/favicon.ico', (_req, res) => res.sendFile(join(assets(), 'favicon.svg')))
  app.get('/hub/health', health(parts.control))

  const formBody = express.urlencoded({ extended: false, limit: '64kb', parameterLimit: 200 })
  app.use('/hub/api', consent(parts, pages, formBody))
  app.use('/hub/api', apiApp(parts))
  app.use(
    '/hub',
    errorTarget(pages, parts.servers),
    userServerPages({ ...parts, pages, stoppedStatus: stoppedStatus(parts) }),
  )
  app.use(
    '/hub',
    formBody,
    strictRouters(
      loginPages({ ...parts, pages, cookies: requests.cookies }),
      serverPages({ ...parts, pages }),
    ),
  )
  app.get('/hub', (_req, res) => res.redirect(301, urls.hubPrefix))
  app.get('/hub/', async (req, res) => {
    const caller = await pages.loggedIn(req, res)
    if (caller) res.redirect(`${urls.hubPrefix}login`)
  })
  app.post('/hub/security/csp-report', (_req, res) => void res.status(204).end())
  app.use('/hub', notFound(pages))
  app.get('/{*path}', (req, res) => {
    res.redirect(`${urls.hubPrefix}${req.originalUrl.slice(urls.baseUrl.length)}`)
  })
  app.use(notFound(pages), pageErrors(pages, log))
  return app
}

/** The REST API alone, for the hub's own unix socket; always at `/hub/api`. */
export function createSocketApp(parts: AppParts): Express {
  const app = strictApp()
  app.use(parts.requests.middleware)
  app.use('/hub/api', apiApp(parts))
  app.use(apiErrors(parts.log))
  return app
}

/** Routers rather than apps: each app on the way would change the prototypes of every request and response. */
function apiApp(parts: AppParts): Router {
  const { access, requests, urls, options, log } = parts
  const guard = createGuard(access, requests.xsrf)
  const pages = { default: options.apiPageDefaultLimit, max: options.apiPageMaxLimit }
  const api = strictRouter()
  api.use(apiHeaders(urls))
  api.options('/{*path}', (_req, res) => void res.status(200).end())
  api.use(express.text({ type: () => true, limit: '1mb' }))
  api.use(
    strictRouters(
      usersApi({ ...parts, guard, pages }),
      serversApi({
        ...parts,
        guard,
        slow: { spawn: options.slowSpawnTimeout, stop: options.slowStopTimeout },
      }),
      tokensApi({ ...parts, guard }),
      oauthApi(parts),
      hubApi({ ...parts, guard, pages }),
    ),
  )
  api.use((req) => {
    throw new HubError('not_found', `there is no ${req.method} ${loggedPath(req).slice(0, 200)}`)
  })
  api.use(apiErrors(log))
  return api
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

function stoppedStatus({ options }: AppParts): 424 | 503 {
  return options.useLegacyStoppedServerStatusCode ? 503 : 424
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

/**
 * Refuses a host this hub does not answer to, so that no other name can be pointed at it (DNS
 * rebinding). Servers and the proxy, which come without `X-Forwarded-Host`, may use any name when
 * only the public url is known.
 */
function checkHost({ hosts, urls }: AppParts): RequestHandler {
  const { publicUrl } = urls
  return (req, _res, next) => {
    if (/^\/hub\/(?:api\/)?health$/.test(req.path)) return next()
    const [forwarded = ''] = String(req.headers['x-forwarded-host'] ?? '').split(',')
    const names = forwarded === '' ? [] : [forwarded.trim()]
    if (publicUrl === null) names.push(req.headers.host ?? '')
    const isOurs = (name: string): boolean =>
      publicUrl === null
        ? (hosts?.has(name.replace(/:\d+$/, '').toLowerCase()) ?? true)
        : hostOf(name, publicUrl) === publicUrl.host
    const foreign = names.find((name) => !isOurs(name))
    if (foreign === undefined) return next()
    const shown = JSON.stringify(foreign.slice(0, 100))
    next(new HubError('invalid_request', `this hub does not answer to the name ${shown}`))
  }
}

/** The host in its normal form, without the port that its scheme implies. */
function hostOf(host: string, { protocol }: URL): string {
  const text = `${protocol}//${host}`
  return URL.canParse(text) ? new URL(text).host : ''
}

/** The path as logs and messages may show it: no query, and no token that old clients put into paths. */
function loggedPath(req: Request): string {
  const [path = ''] = req.originalUrl.split('?')
  return path.replace(/(\/authorizations\/(?:token|cookie\/[^/]*)\/).+/, '$1[secret]')
}

function accessLog(log: Log): RequestHandler {
  return (req, res, next) => {
    const started = performance.now()
    res.once('finish', () => {
      const ms = Math.round(performance.now() - started)
      const { statusCode } = res
      const quiet =
        statusCode === 304 ||
        (statusCode < 300 && /^\/hub\/(?:static|(?:api\/)?health)/.test(req.path))
      const level =
        statusCode >= 500 ? 'error' : statusCode >= 400 ? 'warn' : quiet ? 'debug' : 'info'
      const { peer } = contextOf(req)
      log[level](`${statusCode} ${req.method} ${loggedPath(req)}`, { peer, ms })
    })
    next()
  }
}

const assets = (): string => join(packageRoot(), 'hub', 'pages', 'assets')

function staticFiles(): RequestHandler {
  return express.static(assets(), {
    index: false,
    redirect: false,
    setHeaders(res) {
      const isVersioned = /[?&]v=/.test((res.req as { originalUrl?: string }).originalUrl ?? '')
      res.setHeader(
        'Cache-Control',
        isVersioned ? 'public, max-age=31536000, immutable' : 'no-cache',
      )
      res.setHeader('X-Content-Type-Options', 'nosniff')
    },
  })
}
