import type { Request, Response, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { after } from '../../packages/core/promises.ts'
import { requireScope, userOf } from '../domain/access.ts'
import type { Servers, ServerView } from '../domain/servers.ts'
import type { User, Users } from '../domain/users.ts'
import { contextOf } from '../request.ts'
import { strictRouter } from '../router.ts'
import type { Pages } from './page.ts'
import { showStopped } from './servers.ts'

export interface UserServerPagesDeps {
  readonly pages: Pages
  readonly users: Users
  readonly servers: Servers
  readonly stoppedStatus: 424 | 503
  /** Server that `/user-redirect/` leads to; empty for the default one. */
  readonly defaultServerName: string
}

/**
 * `/hub/user/U/...`: where the proxy sends whoever asks for a server that has no route. Never
 * starts anything.
 */
export function userServerPages(deps: UserServerPagesDeps): Router {
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
    const { name } = caller.user
    const next = `${urls.serverPrefix(name, deps.defaultServerName)}${path}`
    const spawn = urls.serverPage('spawn', name, deps.defaultServerName)
    res.redirect(`${spawn}?next=${encodeURIComponent(next)}`)
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
  { servers }: UserServerPagesDeps,
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
  const message = `The server at ${path} is not running. Start it at ${spawn}`
  res.status(stoppedStatus).setHeader('Content-Type', 'application/json')
  res.end(JSON.stringify({ status: stoppedStatus, message }))
}

function isApiRequest(req: Request): boolean {
  if (req.path.split('/').includes('api')) return true
  const accept = String(req.headers.accept ?? '')
  return accept.includes('application/json') && !accept.includes('text/html')
}
