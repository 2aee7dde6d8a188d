import type { Request, Response, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { after } from '../../packages/core/promises.ts'
import type { Json } from '../../packages/core/spawner.ts'
import { requireScope, userOf } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import { safeNext } from '../domain/next-url.ts'
import type { LastExit } from '../domain/server-state.ts'
import type { Servers, ServerView } from '../domain/servers.ts'
import type { User, Users } from '../domain/users.ts'
import { contextOf } from '../request.ts'
import { strictRouter } from '../router.ts'
import { exitView, isFailure, type Pages, viewOf } from './page.ts'

export interface ServerPagesDeps {
  readonly pages: Pages
  readonly users: Users
  readonly servers: Servers
  readonly activity: Activity
}

/** Milliseconds that the spawn page waits for a start to fail before it shows progress. */
const quickFailure = 1000

/** Whose page it is: the server and, when that is not the caller, whose server. */
interface Target {
  readonly user: User
  readonly name: string
  readonly forUser: string | null
  readonly callerName: string
}

/** Home, spawn and its progress (wire section 9). */
export function serverPages(deps: ServerPagesDeps): Router {
  const { pages, servers, activity } = deps
  const { urls } = pages
  const router = strictRouter()

  router.get('/home', async (req, res) => {
    const caller = await pages.loggedIn(req, res)
    if (!caller) return
    await servers.check(caller.user)
    const all = (await servers.ofUser(caller.user)).map((server) => {
      const at =
        server.id === null ? null : activity.latest('server', server.id, server.lastActivityAt)
      return viewOf(server, urls, at)
    })
    await pages.show(req, res, 'home', {
      server: all[0],
      servers: all.slice(1),
      allowNamedServers: false,
    })
  })

  router.get('/spawn{/:user}{/:server}', async (req, res) => {
    const target = await targetOf(deps, req, res)
    if (!target) return
    const running = servers.run(target.user, target.name)
    await running?.check()
    if (servers.run(target.user, target.name)) return goOn(deps, req, res, target)
    const options = queryOptions(req)
    if (contextOf(req).provenance.site === 'cross-site')
      return showStart(deps, req, res, target, { confirm: true, error: null, status: 200 })
    await start(deps, req, res, target, options)
  })

  router.post('/spawn{/:user}{/:server}', async (req, res) => {
    await pages.checkXsrf(req)
    const target = await targetOf(deps, req, res)
    if (!target) return
    if (servers.run(target.user, target.name))
      throw new HubError(
        'server_running',
        `${target.user.name}'s server is already running or pending`,
      )
    await start(deps, req, res, target, formOptions(req.body))
  })

  router.get('/spawn-pending/:user{/:server}', async (req, res) => {
    const target = await targetOf(deps, req, res)
    if (target) await showPending(deps, req, res, target)
  })

  return router
}

async function targetOf(
  deps: ServerPagesDeps,
  req: Request,
  res: Response,
): Promise<Target | null> {
  const { pages, users } = deps
  const caller = await pages.loggedIn(req, res)
  if (!caller) return null
  const { user: named, server: name = '' } = req.params as { user?: string; server?: string }
  const userName = named ?? caller.user.name
  await requireScope(pages.access, caller, ['servers'], {
    kind: 'server',
    user: userName,
    server: name,
  })
  const user = await users.byName(userName)
  if (name !== '' && !(await deps.servers.find(user, name)))
    throw new HubError(
      'server_not_found',
      `${user.name} has no server named ${JSON.stringify(name.slice(0, 64))}`,
    )
  const forUser = user.id === caller.user.id ? null : user.name
  return { user, name, forUser, callerName: caller.user.name }
}

async function start(
  deps: ServerPagesDeps,
  req: Request,
  res: Response,
  target: Target,
  options: Json,
): Promise<void> {
  const { servers, pages } = deps
  const run = await servers.start(target.user, target.name, {
    userOptions: options,
    displayName: null,
  })
  await Promise.race([run.settled, after(quickFailure)])
  const next = nextOf(deps, req)
  if (run.state.kind === 'stopped')
    return showStopped(deps, req, res, { target, exit: run.state.exit, next })
  if (run.state.kind === 'ready') return res.redirect(next ?? serverUrl(deps, target))
  const query = next === null ? '' : `?next=${encodeURIComponent(next)}`
  res.redirect(`${pages.urls.serverPage('spawn-pending', target.user.name, target.name)}${query}`)
}

/** The server is up or on its way: there, or to its progress. */
function goOn(deps: ServerPagesDeps, req: Request, res: Response, target: Target): void {
  const next = nextOf(deps, req)
  const { state } = deps.servers.run(target.user, target.name) ?? { state: null }
  if (state?.kind === 'ready') return res.redirect(next ?? serverUrl(deps, target))
  const query = next === null ? '' : `?next=${encodeURIComponent(next)}`
  res.redirect(
    `${deps.pages.urls.serverPage('spawn-pending', target.user.name, target.name)}${query}`,
  )
}

async function showPending(
  deps: ServerPagesDeps,
  req: Request,
  res: Response,
  target: Target,
): Promise<void> {
  const { pages, servers } = deps
  const { urls } = pages
  const view = await servers.find(target.user, target.name)
  if (!view) throw new HubError('server_not_found', 'there is no such server')
  const next = nextOf(deps, req)
  const { state } = view
  const shared = { server: viewOf(view, urls), forUser: target.forUser }
  switch (state.kind) {
    case 'ready':
      return res.redirect(next ?? view.prefix)
    case 'stopping':
      return pages.show(req, res, 'stop-pending', shared)
    case 'starting':
    case 'checking': {
      const apiUrl = urls.serverApi(target.user.name, target.name)
      return pages.show(req, res, 'spawn-pending', {
        ...shared,
        apiUrl,
        progressUrl: `${apiUrl}/progress`,
        nextUrl: next,
        events: state.kind === 'starting' ? state.progress.events : [],
        startedAt: state.since.toISOString(),
      })
    }
    case 'stopped':
      return showStopped(deps, req, res, { target, exit: state.exit, next })
  }
}

/** The page of a server that does not run: a start button, and why the last start failed. */
async function showStopped(
  { pages, servers }: Pick<ServerPagesDeps, 'pages' | 'servers'>,
  req: Request,
  res: Response,
  about: {
    readonly target: Pick<Target, 'user' | 'name' | 'forUser'>
    readonly exit: LastExit | null
    readonly next: string | null
    readonly status?: number
  },
): Promise<void> {
  const { target, exit, next } = about
  const { urls } = pages
  const view = await servers.find(target.user, target.name)
  const failed = exit ? exitView(exit) : null
  const query = next === null ? '' : `?next=${encodeURIComponent(next)}`
  await pages.show(
    req,
    res,
    'not-running',
    {
      server: view && viewOf(view, urls),
      forUser: target.forUser,
      spawnUrl: `${urls.serverPage('spawn', target.user.name, target.name)}${query}`,
      exit: failed,
      logTail: failed ? (exit?.logTail ?? []) : [],
      next,
    },
    about.status ?? (exit && isFailure(exit) ? 500 : 200),
  )
}

async function showStart(
  { pages, servers }: ServerPagesDeps,
  req: Request,
  res: Response,
  target: Target,
  how: { readonly confirm: boolean; readonly error: string | null; readonly status: number },
): Promise<void> {
  const view = await servers.find(target.user, target.name)
  const { status, ...data } = how
  await pages.show(
    req,
    res,
    'spawn',
    {
      server: view && viewOf(view, pages.urls),
      forUser: target.forUser,
      formAction: req.originalUrl,
      ...data,
    },
    status,
  )
}

/**
 * `/hub/user/U/...`: where the proxy sends whoever asks for a server that has no route. Never
 * starts anything.
 */
export function userServerPages(
  deps: ServerPagesDeps & { readonly stoppedStatus: 424 | 503 },
): Router {
  const { pages, users, servers } = deps
  const { urls } = pages
  const router = strictRouter()

  router.all('/user/:user{/{*rest}}', async (req, res) => {
    const wantsPage = (req.method === 'GET' || req.method === 'HEAD') && !isApiRequest(req)
    const caller = await contextOf(req).caller()
    if (!caller && wantsPage) return void (await pages.loggedIn(req, res))
    const rest = (req.params as { rest?: readonly string[] }).rest ?? []
    const user = await users.byName(req.params.user).catch(() => null)
    const server = user && (await serverOf(servers, user, rest[0]))
    const resource = { kind: 'server', user: req.params.user, server: server?.name ?? '' } as const
    const noAccess = new HubError('not_found', 'No access to resources or resources not found')
    await requireScope(pages.access, caller, ['access:servers'], resource).catch(() => {
      throw noAccess
    })
    if (!user || !server) throw noAccess
    if (!wantsPage) return answerStopped(deps, req, res, server)
    const own = `${urls.baseUrl}${req.originalUrl.slice(urls.hubPrefix.length)}`
    const { state } = server
    if (state.kind === 'ready') return returnToServer(deps, req, res, { user, server, own })
    if (state.kind !== 'stopped')
      return res.redirect(
        303,
        `${urls.serverPage('spawn-pending', user.name, server.name)}?next=${encodeURIComponent(own)}`,
      )
    const forUser = userOf(caller)?.id === user.id ? null : user.name
    await showStopped(deps, req, res, {
      target: { user, name: server.name, forUser },
      exit: state.exit,
      next: own,
      status: deps.stoppedStatus,
    })
  })

  router.get('/user-redirect{/{*rest}}', async (req, res) => {
    const caller = await pages.loggedIn(req, res)
    if (!caller) return
    const [, path = ''] = /\/user-redirect\/?(.*)$/s.exec(req.originalUrl) ?? []
    const next = `${urls.serverPrefix(caller.user.name, '')}${path}`
    res.redirect(
      `${urls.serverPage('spawn', caller.user.name, '')}?next=${encodeURIComponent(next)}`,
    )
  })

  return router
}

/** The named server of the second segment, if there is one, else the default server. */
async function serverOf(
  servers: Servers,
  user: User,
  segment: string | undefined,
): Promise<ServerView | null> {
  const named = segment ? await servers.find(user, segment) : null
  return named ?? servers.find(user, '')
}

/**
 * The server runs, yet its request came here: the route was missing for a moment, or somebody
 * loops. Mends what can be mended, waits longer each time, and ends with a diagnosis.
 */
async function returnToServer(
  { servers }: ServerPagesDeps,
  req: Request,
  res: Response,
  at: { readonly user: User; readonly server: ServerView; readonly own: string },
): Promise<void> {
  const count = Number(/[?&]redirects=(\d{1,2})(?:&|$)/.exec(req.originalUrl)?.[1] ?? 0)
  const name = `${at.user.name}/${at.server.name}`
  if (count >= 4)
    throw new HubError(
      'spawn_failed',
      `Redirect loop detected: the hub believes that ${name} runs at ${at.server.prefix}, but the proxy sends its requests here. Check that the proxy is the hub's own and that a front end keeps paths unchanged`,
    )
  if (count > 0) {
    await servers.run(at.user, at.server.name)?.check()
    await after(Math.min(2 ** count, 10) * 100)
  }
  const url = new URL(at.own, 'http://site.invalid')
  url.searchParams.set('redirects', String(count + 1))
  res.redirect(`${url.pathname}${url.search}`)
}

/** For scripts: 424 with the address of the start page (wire section 9). */
async function answerStopped(
  { pages, stoppedStatus }: { readonly pages: Pages; readonly stoppedStatus: number },
  req: Request,
  res: Response,
  server: ServerView,
): Promise<void> {
  const { urls } = pages
  const { protocol, host } = contextOf(req)
  const path = req.originalUrl.slice(urls.hubPrefix.length - 1).split('?')[0] ?? ''
  const spawn = `${protocol}://${host}${urls.serverPage('spawn', server.userName, server.name)}`
  res.status(stoppedStatus).json({
    status: stoppedStatus,
    message: `${path}: the server is not running. Start it at ${spawn}`,
  })
}

function isApiRequest(req: Request): boolean {
  if (req.path.split('/').includes('api')) return true
  const accept = String(req.headers.accept ?? '')
  return accept.includes('application/json') && !accept.includes('text/html')
}

/** `opt-x=1` are options; without any, other names count as before JupyterHub 6. Values are lists. */
function queryOptions(req: Request): Json {
  const entries = Object.entries(req.query).filter(
    ([name]) => !['next', 'display_name', '_xsrf'].includes(name),
  )
  const prefixed = entries.filter(([name]) => name.startsWith('opt-'))
  if (prefixed.some(([name]) => name === 'opt-'))
    throw new HubError('invalid_request', "'opt-' without a name is no option")
  const chosen =
    prefixed.length > 0 ? prefixed.map(([name, value]) => [name.slice(4), value] as const) : entries
  return chosen.length === 0
    ? null
    : Object.fromEntries(chosen.map(([name, value]) => [name, listOf(value)]))
}

function formOptions(body: unknown): Json {
  const entries = Object.entries((body ?? {}) as Record<string, unknown>).filter(
    ([name]) => name !== '_xsrf',
  )
  return entries.length === 0
    ? null
    : Object.fromEntries(entries.map(([name, value]) => [name, listOf(value)]))
}

function listOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).map(String)
}

function nextOf({ pages }: Pick<ServerPagesDeps, 'pages'>, req: Request): string | null {
  return safeNext(req.query['next'], { baseUrl: pages.urls.baseUrl, host: contextOf(req).host })
}

function serverUrl({ pages }: ServerPagesDeps, { user, name }: Target): string {
  return pages.urls.serverPrefix(user.name, name)
}
