import type { Request, Response, Router } from 'express'
import { HubError, statusOf } from '../../packages/core/errors.ts'
import { after } from '../../packages/core/promises.ts'
import { requireScope } from '../domain/access.ts'
import { safeNext } from '../domain/next-url.ts'
import type { LastExit } from '../domain/server-state.ts'
import { noSuchServer, type Servers, type StartRequest } from '../domain/servers.ts'
import type { User, Users } from '../domain/users.ts'
import { contextOf } from '../request.ts'
import { strictRouter } from '../router.ts'
import { exitView, isFailedStart, type Pages, viewOf } from './page.ts'

export interface ServerPagesDeps {
  readonly pages: Pages
  readonly users: Users
  readonly servers: Servers
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

/** Starting a server and following it (wire section 9). */
export function serverPages(deps: ServerPagesDeps): Router {
  const { pages, servers } = deps
  const router = strictRouter()

  router.get('/spawn{/:user}{/:server}', async (req, res) => {
    const target = await targetOf(deps, req, res)
    if (!target) return
    const running = servers.run(target.user, target.name)
    await running?.check()
    if (servers.run(target.user, target.name)) return goOn(deps, req, res, target)
    const request = requested(req)
    if (contextOf(req).provenance.site === 'cross-site')
      return showStart(deps, req, res, target, { confirm: true, error: null, status: 200 })
    await start(deps, req, res, target, request)
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
    await start(deps, req, res, target, requested(req)).catch(async (error: unknown) => {
      if (!(error instanceof HubError) || res.headersSent) throw error
      if (error.retryAfter !== undefined) res.set('Retry-After', String(error.retryAfter))
      const status = statusOf[error.code]
      await showStart(deps, req, res, target, { confirm: false, error: error.message, status })
    })
  })

  router.get('/spawn-pending/:user{/:server}', async (req, res) => {
    const target = await targetOf(deps, req, res)
    if (!target) return
    const { user, name } = target
    if (!(await servers.find(user, name))) throw noSuchServer(user, name)
    await showPending(deps, req, res, target)
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
  const forUser = user.id === caller.user.id ? null : user.name
  return { user, name, forUser, callerName: caller.user.name }
}

async function start(
  deps: ServerPagesDeps,
  req: Request,
  res: Response,
  target: Target,
  request: StartRequest,
): Promise<void> {
  const { servers } = deps
  const run = await servers.start(target.user, target.name, request)
  await Promise.race([run.settled, after(quickFailure)])
  const next = nextOf(deps, req)
  if (run.state.kind === 'stopped')
    return showStopped(deps, req, res, { target, exit: run.state.exit, next })
  if (run.state.kind === 'ready') return res.redirect(next ?? serverUrl(deps, target))
  res.redirect(pendingUrl(deps, req, target))
}

/** The server is up or on its way: there, or to its progress. */
function goOn(deps: ServerPagesDeps, req: Request, res: Response, target: Target): void {
  const { state } = deps.servers.run(target.user, target.name) ?? { state: null }
  res.redirect(
    state?.kind === 'ready'
      ? (nextOf(deps, req) ?? serverUrl(deps, target))
      : pendingUrl(deps, req, target),
  )
}

/** The page of progress, with the query of this one as far as it is not used up here. */
function pendingUrl(deps: ServerPagesDeps, req: Request, { user, name }: Target): string {
  const query = new URLSearchParams(new URL(req.originalUrl, 'http://site.invalid').search)
  for (const used of ['next', 'display_name', '_xsrf']) query.delete(used)
  const next = nextOf(deps, req)
  if (next !== null) query.set('next', next)
  const search = query.size === 0 ? '' : `?${query.toString()}`
  return `${deps.pages.urls.serverPage('spawn-pending', user.name, name)}${search}`
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

/** The page of a server that does not run: a start button, and why the last start failed or what ended it. */
export async function showStopped(
  { pages, servers }: { readonly pages: Pages; readonly servers: Servers },
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
    about.status ?? (exit && isFailedStart(exit) ? statusOf[exit.refusal ?? 'spawn_failed'] : 200),
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
 * What the form or, without it, the query asks for: `opt-x=1` are options; without any, other names
 * count as before JupyterHub 6. Values are lists.
 * @throws {HubError} `invalid_request`.
 */
function requested(req: Request): StartRequest {
  const form = entriesOf(req.body)
  const query = entriesOf(req.query)
  const prefixed = query.filter(([name]) => name.startsWith('opt-'))
  if (prefixed.some(([name]) => name === 'opt-'))
    throw new HubError('invalid_request', "'opt-' without a name is no option")
  const bare = prefixed.map(([name, value]) => [name.slice(4), value] as const)
  const asked = bare.length > 0 ? bare : query
  const chosen = form.length > 0 ? form : asked
  const names = [(req.body ?? {}) as Record<string, unknown>, req.query].map(
    (fields) => fields['display_name'],
  )
  return {
    userOptions:
      chosen.length === 0
        ? null
        : Object.fromEntries(chosen.map(([name, value]) => [name, listOf(value)])),
    displayName: names.find((name) => typeof name === 'string') ?? null,
  }
}

/** Names with other meanings are no options. */
function entriesOf(fields: unknown): readonly (readonly [string, unknown])[] {
  const reserved = ['next', 'display_name', '_xsrf']
  return Object.entries(fields ?? {}).filter(([name]) => !reserved.includes(name))
}

function listOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [value]).map(String)
}

function nextOf({ pages }: { readonly pages: Pages }, req: Request): string | null {
  return safeNext(req.query['next'], { baseUrl: pages.urls.baseUrl, host: contextOf(req).host })
}

function serverUrl({ pages }: ServerPagesDeps, { user, name }: Target): string {
  return pages.urls.serverPrefix(user.name, name)
}
