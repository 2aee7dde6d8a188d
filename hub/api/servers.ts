import type { Request, Response, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { endsWithin } from '../../packages/core/promises.ts'
import type { Json } from '../../packages/core/spawner.ts'
import { failedEvent, type ProgressEvent, readyEvent } from '../domain/progress.ts'
import type { ServerRun } from '../domain/server-run.ts'
import type { LastExit } from '../domain/server-state.ts'
import type { Servers } from '../domain/servers.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { User, Users } from '../domain/users.ts'
import { strictRouter } from '../router.ts'
import { type Guard, jsonBody } from './handlers.ts'
import { serverModel } from './models.ts'

export interface ServersApiDeps {
  readonly guard: Guard
  readonly users: Users
  readonly servers: Servers
  readonly urls: HubUrls
  /** Seconds after which a start or stop is answered with 202. */
  readonly slow: { readonly spawn: number; readonly stop: number }
}

/** Seconds between two keep-alives of a progress stream. */
const keepAlive = 8

/** Start, stop, read and watch servers (wire sections 2.4, 2.5 and 4). Named servers come with their own options later. */
export function serversApi(deps: ServersApiDeps): Router {
  const { guard, users, servers, urls } = deps
  const router = strictRouter()

  /** The four verbs of one server; `path` has `:server` or means the default one. */
  const mount = (path: string): void => {
    const target = async (req: Request, scope: string) => {
      const { user: userName = '', server = '' } = req.params as { user?: string; server?: string }
      const resource = { kind: 'server', user: userName, server } as const
      const caller = await guard.require(req, [scope], resource)
      return { caller, user: await users.byName(userName), server }
    }

    router.get(path, async (req, res) => {
      const { caller, user, server } = await target(req, 'read:servers')
      const found = await servers.find(user, server)
      if (!found) throw noSuchServer(user, server)
      res.json(serverModel(found, caller, urls))
    })

    router.post(path, async (req, res) => {
      const { user, server } = await target(req, 'start:servers')
      requireDefault(server)
      await servers.run(user, server)?.check()
      const run = await servers.start(user, server, optionsOf(jsonBody(req)))
      const isSettled = await endsWithin(deps.slow.spawn * 1000, run.settled)
      if (run.state.kind === 'stopped') throw startFailure(run.state.exit)
      res
        .status(isSettled ? 201 : 202)
        .type('text/plain')
        .end()
    })

    router.delete(path, async (req, res) => {
      const { user, server } = await target(req, 'delete:servers')
      readStopBody(req)
      const run = servers.run(user, server)
      if (!run && !(await servers.find(user, server))) throw noSuchServer(user, server)
      await run?.stop()
      const isStopped = run === null || (await endsWithin(deps.slow.stop * 1000, run.ended))
      res.status(isStopped ? 204 : 202).end()
    })

    router.get(`${path}/progress`, async (req, res) => {
      const { user, server } = await target(req, 'read:servers')
      await streamProgress({ res, user, server }, deps)
    })
  }
  mount('/users/:user/server')
  mount('/users/:user/servers/:server')
  mount('/users/:user/servers/')
  return router
}

function requireDefault(server: string): void {
  if (server !== '') throw new HubError('invalid_request', 'Named servers are not enabled.')
}

function noSuchServer(user: User, server: string): HubError {
  return new HubError('server_not_found', `No such server: ${user.name}/${server.slice(0, 64)}`)
}

/** The options of a start: under `user_options`, or the whole body as before JupyterHub 6. */
function optionsOf(body: unknown): Json {
  if (body === null) return null
  if (typeof body !== 'object' || Array.isArray(body))
    throw new HubError('invalid_request', 'the body must be a JSON object')
  if (!('user_options' in body) && !('display_name' in body)) return body as Json
  const options = ('user_options' in body ? body.user_options : null) ?? null
  if (typeof options !== 'object' || Array.isArray(options))
    throw new HubError('invalid_request', 'user_options must be an object or null')
  return options as Json
}

function readStopBody(req: Request): void {
  const body = jsonBody(req)
  if (body === null) return
  if (typeof body !== 'object' || Array.isArray(body))
    throw new HubError('invalid_request', 'the body must be a JSON object')
  if ('remove' in body && body.remove)
    throw new HubError('invalid_request', 'the default server cannot be deleted')
}

function startFailure(exit: LastExit | null): HubError {
  const text = exit?.message ?? 'the server stopped while it was starting'
  return exit?.cause === 'cancelled'
    ? new HubError('server_pending', 'Spawn cancelled')
    : new HubError('spawn_failed', text)
}

async function streamProgress(
  at: {
    readonly res: Response
    readonly user: User
    readonly server: string
  },
  { servers }: ServersApiDeps,
): Promise<void> {
  const { res, user, server } = at
  const run = servers.run(user, server)
  const view = await servers.find(user, server)
  if (!view) throw noSuchServer(user, server)
  const first = run ? null : lastEvent(view.state.kind === 'stopped' ? view.state.exit : null)
  if (!run && !first)
    throw new HubError('invalid_request', `${user.name}/${server} is not starting`)
  res.writeHead(200, {
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-cache, no-transform',
    'X-Accel-Buffering': 'no',
  })
  res.write('\n\n')
  const gone = new AbortController()
  res.once('close', () => gone.abort())
  const alive = setInterval(() => res.write('\n\n'), keepAlive * 1000)
  try {
    if (first) send(res, first)
    else if (run) await follow(run, view.prefix, res, gone.signal)
  } finally {
    clearInterval(alive)
    res.end()
  }
}

async function follow(
  run: ServerRun,
  url: string,
  res: Response,
  signal: AbortSignal,
): Promise<void> {
  if (run.state.kind === 'starting') {
    for await (const event of run.state.progress.follow(signal)) send(res, event)
    return
  }
  await Promise.race([run.settled, closed(signal)])
  send(
    res,
    run.state.kind === 'ready'
      ? readyEvent(url)
      : { progress: 100, failed: true, message: 'Server is stopping' },
  )
}

/** The one event about a start that is over; null when there is nothing to tell. */
function lastEvent(exit: LastExit | null): ProgressEvent | null {
  return exit && exit.cause !== 'stopped' ? failedEvent(exit) : null
}

function send(res: Response, event: ProgressEvent): void {
  res.write(`data: ${JSON.stringify(event)}\n\n`)
}

function closed(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
