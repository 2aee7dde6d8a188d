import type { ServerResponse } from 'node:http'
import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import { endsWithin } from '../../packages/core/promises.ts'
import type { Json } from '../../packages/core/spawner.ts'
import type { Activity } from '../domain/activity.ts'
import { stoppedExit } from '../domain/exits.ts'
import { failedEvent, type ProgressEvent, readyEvent } from '../domain/progress.ts'
import type { ServerRun } from '../domain/server-run.ts'
import type { LastExit } from '../domain/server-state.ts'
import {
  noSuchServer,
  type Servers,
  type ServerView,
  type StartRequest,
} from '../domain/servers.ts'
import type { Refresher } from '../domain/refresh.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { User, Users } from '../domain/users.ts'
import { jsonObject } from './body.ts'
import { type Endpoint, empty, endpoint, json, type Reply } from './endpoint.ts'
import { serverModel, serverSchema } from './models.ts'

export interface ServersApiDeps {
  readonly activity: Pick<Activity, 'latest'>
  readonly refresher: Pick<Refresher, 'beforeStop'>
  readonly users: Users
  readonly servers: Servers
  readonly urls: HubUrls
  /** Seconds after which a start or stop is answered with 202. */
  readonly slow: { readonly spawn: number; readonly stop: number }
}

/** Seconds between two keep-alives of a progress stream. */
const keepAlive = 8

/** Start, stop, read and watch servers (wire sections 2.4, 2.5 and 4). */
export function serverEndpoints(deps: ServersApiDeps): readonly Endpoint[] {
  const paths = [
    '/users/:user/server',
    '/users/:user/servers/:server',
    '/users/:user/servers/',
  ] as const
  return paths.flatMap((path) => [
    ...reading(path, deps),
    ...running(path, deps),
    ...keeping(path, deps),
    watching(path, deps),
  ])
}

/** Finds whose server the path means; one without `:server` means the default one. */
function targetOf({ users }: ServersApiDeps) {
  return async (params: unknown) => {
    const { user, server = '' } = params as { readonly user: string; readonly server?: string }
    return { user: await users.byName(user), server }
  }
}

function reading(path: string, deps: ServersApiDeps): readonly Endpoint[] {
  const target = targetOf(deps)
  return [
    endpoint({
      method: 'GET',
      path,
      summary: 'Read a server',
      access: { scopes: ['read:servers'], on: 'server' },
      answers: { 200: serverSchema },
      async handle({ params, caller }) {
        const { user, server } = await target(params)
        const found = await deps.servers.find(user, server)
        if (!found) throw noSuchServer(user, server)
        const { id, lastActivityAt: stored } = found
        const latest = id === null ? stored : deps.activity.latest('server', id, stored)
        return json(serverModel({ ...found, lastActivityAt: latest }, caller, deps.urls))
      },
    }),
  ]
}

/** Starting and stopping. */
function running(path: string, deps: ServersApiDeps): readonly Endpoint[] {
  const { servers, refresher } = deps
  const target = targetOf(deps)
  return [
    endpoint({
      method: 'POST',
      path,
      summary: 'Start a server; a named one is made if need be',
      access: { scopes: ['start:servers'], on: 'server' },
      body: startBody,
      bodyRequired: true,
      answers: { 201: 'It is ready', 202: 'It is still starting: follow its progress' },
      async handle({ params, body }) {
        const { user, server } = await target(params)
        await servers.run(user, server)?.check()
        const run = await servers.start(user, server, startRequest(body))
        const isSettled = await endsWithin(deps.slow.spawn * 1000, run.settled)
        if (run.state.kind === 'stopped') throw startFailure(run.state.exit)
        return empty(isSettled ? 201 : 202, 'text/plain')
      },
    }),
    endpoint({
      method: 'DELETE',
      path,
      summary: 'Stop a server; `remove` also deletes a named one',
      access: { scopes: ['delete:servers'], on: 'server' },
      body: z.object({ remove: z.boolean().default(false) }),
      answers: { 204: 'It is stopped, and deleted if asked for', 202: 'It is still stopping' },
      async handle({ params, body, caller }) {
        const { user, server } = await target(params)
        await refresher.beforeStop(user)
        const over = body.remove
          ? (await servers.edits.remove(user, server, caller.name)).gone
          : stopped(servers, user, server)
        return empty((await endsWithin(deps.slow.stop * 1000, over)) ? 204 : 202)
      },
    }),
  ]
}

/** Servers that do not run. */
function keeping(path: string, deps: ServersApiDeps): readonly Endpoint[] {
  const { servers, urls } = deps
  const target = targetOf(deps)
  return [
    endpoint({
      method: 'PUT',
      path,
      summary: 'Make a named server without starting it',
      access: { scopes: ['start:servers'], on: 'server' },
      body: startBody,
      bodyRequired: true,
      answers: { 201: serverSchema },
      async handle({ params, body, caller }) {
        const { user, server } = await target(params)
        const made = await servers.edits.create(user, server, startRequest(body), caller.name)
        return json(serverModel(made, caller, urls), 201)
      },
    }),
    endpoint({
      method: 'PATCH',
      path,
      summary: 'Change name, display name or options of a stopped server',
      access: { scopes: ['start:servers'], on: 'server' },
      body: editBody,
      bodyRequired: true,
      answers: { 200: serverSchema },
      async handle({ params, body, caller }) {
        const { user, server } = await target(params)
        const edited = await servers.edits.edit(user, server, editOf(body), caller.name)
        return json(serverModel(edited, caller, urls))
      },
    }),
  ]
}

function watching(path: string, deps: ServersApiDeps): Endpoint {
  const { servers } = deps
  const target = targetOf(deps)
  return endpoint({
    method: 'GET',
    path: `${path}/progress`,
    summary: 'What happens while a server starts, as server-sent events',
    access: { scopes: ['read:servers'], on: 'server' },
    answers: { 200: 'A stream of events; the last one has `ready` or `failed`' },
    async handle({ params }) {
      const { user, server } = await target(params)
      const view = await servers.find(user, server)
      if (!view) throw noSuchServer(user, server)
      return progressOf(servers.run(user, server), view)
    },
  })
}

/** Stops the server if it runs; resolves when it is stopped. */
async function stopped(servers: Servers, user: User, server: string): Promise<void> {
  const run = servers.run(user, server)
  if (!run && !(await servers.find(user, server))) throw servers.edits.missing(user, server)
  await run?.stop()
  await run?.ended
}

const editBody = z
  .strictObject({
    name: z.string().max(255).optional(),
    display_name: z.string().max(1000).nullable().optional(),
    user_options: jsonObject.optional(),
  })
  .refine((body) => Object.keys(body).length > 0, {
    error: 'needs at least one of: name, display_name, user_options',
  })

/** An empty display name is none. */
function editOf({ name, display_name: shown, user_options: options }: z.output<typeof editBody>) {
  return {
    ...(name === undefined ? {} : { name }),
    ...(shown === undefined ? {} : { displayName: shown === '' ? null : shown }),
    ...(options === undefined ? {} : { userOptions: options }),
  }
}

const startBody = z
  .looseObject({
    display_name: z.string().nullish(),
    user_options: jsonObject.nullish(),
  })
  .nullable()

/**
 * What a start is asked with: `display_name` and `user_options`, or, without either, options as the
 * whole body, as before JupyterHub 6.
 */
function startRequest(body: z.output<typeof startBody>): StartRequest {
  if (body === null) return { userOptions: null, displayName: null }
  const isLegacy = !('user_options' in body) && !('display_name' in body)
  if (isLegacy) return { userOptions: body as Json, displayName: null }
  return { userOptions: body.user_options ?? null, displayName: body.display_name || null }
}

function startFailure(exit: LastExit | null): HubError {
  const text = exit?.message ?? 'the server stopped while it was starting'
  return exit?.cause === 'cancelled'
    ? new HubError('server_pending', 'Spawn cancelled')
    : new HubError(exit?.refusal ?? 'spawn_failed', text)
}

/** @throws {HubError} when there is nothing to tell: `not_found` when nobody starts the server, `invalid_request` when it is being stopped. */
async function progressOf(run: ServerRun | null, view: ServerView): Promise<Reply> {
  const last = run ? null : lastEvent(view.state.kind === 'stopped' ? view.state.exit : null)
  const name = `${view.userName}/${view.name}`
  if (!run && !last) throw new HubError('not_found', `${name} is not starting`)
  if (run?.state.kind === 'stopping' && (await endsWithin(0, run.settled)))
    throw new HubError('invalid_request', `${name} is not starting: it is being stopped`)
  return {
    kind: 'stream',
    type: 'text/event-stream',
    async write(res, signal) {
      res.write('\n\n')
      const alive = setInterval(() => res.write('\n\n'), keepAlive * 1000)
      try {
        if (last) send(res, last)
        else if (run) await follow(run, view.prefix, res, signal)
      } finally {
        clearInterval(alive)
      }
    },
  }
}

async function follow(
  run: ServerRun,
  url: string,
  res: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  if (run.state.kind === 'starting') {
    for await (const event of run.state.progress.follow(signal)) send(res, event)
    return
  }
  await Promise.race([run.settled, closed(signal)])
  const { state } = run
  if (state.kind === 'stopped') send(res, failedEvent(state.exit ?? stoppedExit))
  else if (state.kind === 'ready') send(res, readyEvent(url))
}

/** The one event about a start that is over; null when there is nothing to tell. */
function lastEvent(exit: LastExit | null): ProgressEvent | null {
  return exit && exit.cause !== 'stopped' ? failedEvent(exit) : null
}

function send(res: ServerResponse, event: ProgressEvent): void {
  res.write(`data: ${JSON.stringify(event)}\n\n`)
}

function closed(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
