import type { Request, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { filtersOf } from '../../packages/core/scopes.ts'
import { z } from 'zod'
import { type Caller, isAdmin, userOf } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import type { Servers } from '../domain/servers.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { User, Users } from '../domain/users.ts'
import { strictRouter } from '../router.ts'
import { bodyOf, type Guard, jsonBody, pageOf, paginated } from './handlers.ts'
import { type UserFacts, userModel } from './models.ts'

export interface UsersApiDeps {
  readonly guard: Guard
  readonly users: Users
  readonly servers: Servers
  readonly activity: Activity
  readonly urls: HubUrls
  readonly pages: { readonly default: number; readonly max: number }
}

const newUsers = z.strictObject({
  usernames: z.array(z.string()).min(1),
  admin: z.boolean().default(false),
  ...ignored('name', 'groups', 'roles'),
})
const newUser = z.strictObject({
  admin: z.boolean().default(false),
  ...ignored('name', 'groups', 'roles'),
})
const changes = z.strictObject({ name: z.string().optional(), admin: z.boolean().optional() })
const activityReport = z
  .strictObject({
    last_activity: z.string().optional(),
    servers: z.record(z.string(), z.object({ last_activity: z.string() })).optional(),
  })
  .refine((body) => body.last_activity !== undefined || body.servers !== undefined, {
    error: 'needs at least one of: last_activity, servers',
  })

/** `/users` and what belongs to one user, but for servers and tokens (wire section 2.3). */
export function usersApi(deps: UsersApiDeps): Router {
  const router = strictRouter()
  serveUsers(router, deps)
  serveUser(router, deps)
  serveChanges(router, deps)
  return router
}

/** Oneself, and everybody. */
function serveUsers(router: Router, deps: UsersApiDeps): void {
  const { guard, users, urls } = deps

  router.get('/user', async (req, res) => {
    const caller = await guard.anyone(req)
    res.json(await selfModel(deps, caller))
  })

  router.get('/users', async (req, res) => {
    const caller = await guard.anyone(req, 'Missing or invalid credentials.')
    const only = caller.scopes.has('list:users') ? null : listFilter(caller)
    if (!only) await guard.require(req, ['list:users'], { kind: 'none' })
    const page = pageOf(req, deps.pages)
    const found = await users.page({ ...userQuery(req), ...page, ...(only ? { only } : {}) })
    const options = { urls, includeStopped: includesStopped(req) }
    const models = await Promise.all(
      found.users.map(async (user) => userModel(await factsOf(deps, user), caller, options)),
    )
    res.json(paginated(req, models.filter(Boolean), page, found.total))
  })

  router.post('/users', async (req, res) => {
    const caller = await guard.require(req, ['admin:users'], { kind: 'none' })
    const { usernames, admin } = bodyOf(req, newUsers)
    checkAdminGrant(caller, admin)
    const made = await users.create(usernames, { admin, by: caller.name })
    res.status(201).json(await Promise.all(made.map((user) => model(deps, user, caller))))
  })
}

/** Any of these shows something of a user. */
const readingScopes = [
  'read:users',
  'read:users:name',
  'read:servers',
  'read:users:groups',
  'read:users:activity',
  'read:roles:users',
]

/** One user: reading, and what their server reports. */
function serveUser(router: Router, deps: UsersApiDeps): void {
  const { guard, users, servers, urls } = deps

  router.get('/users/:user', async (req, res) => {
    const resource = { kind: 'user', user: req.params.user } as const
    const caller = await guard.require(req, readingScopes, resource)
    const user = await users.byName(req.params.user)
    const options = { urls, includeStopped: includesStopped(req) }
    res.json(userModel(await factsOf(deps, user), caller, options))
  })

  router.post('/users/:user/activity', async (req, res) => {
    await guard.require(req, ['users:activity'], { kind: 'user', user: req.params.user })
    const user = await users.byName(req.params.user)
    await recordActivity(deps, user, activityReport.parse(jsonBody(req)), servers)
    res.status(200).end()
  })
}

/** Making, changing and deleting one user. */
function serveChanges(router: Router, deps: UsersApiDeps): void {
  const { guard, users } = deps

  router.post('/users/:user', async (req, res) => {
    const caller = await guard.require(req, ['admin:users'], {
      kind: 'user',
      user: req.params.user,
    })
    const { admin } = bodyOf(req, newUser)
    checkAdminGrant(caller, admin)
    const [user] = await users.create([req.params.user], { admin, by: caller.name })
    res.status(201).json(user ? await model(deps, user, caller) : null)
  })

  router.patch('/users/:user', async (req, res) => {
    const caller = await guard.require(req, ['admin:users'], {
      kind: 'user',
      user: req.params.user,
    })
    const { name, admin } = changes.parse(jsonBody(req))
    let user = await users.byName(req.params.user)
    checkAdminGrant(caller, admin === true || user.admin)
    if (name !== undefined && name !== user.name) user = await users.rename(user, name)
    if (admin !== undefined) user = await users.setAdmin(user, admin, caller.name)
    res.json({ ...(await model(deps, user, caller)), auth_state: null })
  })

  router.delete('/users/:user', async (req, res) => {
    const caller = await guard.require(req, ['delete:users'], {
      kind: 'user',
      user: req.params.user,
    })
    const user = await users.byName(req.params.user)
    if (userOf(caller)?.id === user.id)
      throw new HubError('invalid_request', 'Cannot delete yourself!')
    if (user.admin) checkAdminGrant(caller, true)
    await users.delete(user, caller.name)
    res.status(204).end()
  })
}

/** Keys that clients send and the hub does not need here. */
function ignored(...names: readonly string[]) {
  return Object.fromEntries(names.map((name) => [name, z.unknown().optional()]))
}

function checkAdminGrant(caller: Caller, admin: boolean): void {
  if (admin && !isAdmin(caller))
    throw new HubError('forbidden', 'only an admin can make, change or delete an admin')
}

/** The names and groups to which a filtered `list:users` narrows the list; null when it is not held so. */
function listFilter(
  caller: Caller,
): { users: readonly string[]; groups: readonly string[] } | null {
  const { user, group, server } = filtersOf(caller.scopes, 'list:users')
  if (server.length > 0 || user.length + group.length === 0) return null
  return { users: user, groups: group }
}

function userQuery(req: Request) {
  const one = (name: string): string | undefined => {
    const value = req.query[name]
    if (value === undefined || typeof value === 'string') return value
    throw new HubError('invalid_request', `${name} is given more than once`)
  }
  const state = z.enum(['active', 'ready', 'inactive']).optional().parse(one('state'))
  const sort = z
    .enum(['id', '-id', 'name', '-name', 'last_activity', '-last_activity'])
    .default('id')
    .parse(one('sort'))
  const nameContains = one('name_filter')
  return {
    sort: {
      by: sort.replace('-', '') as 'id' | 'name' | 'last_activity',
      descending: sort.startsWith('-'),
    },
    ...(state ? { state } : {}),
    ...(nameContains ? { nameContains } : {}),
  }
}

function includesStopped(req: Request): boolean {
  const value = req.query['include_stopped_servers']
  return value !== undefined && value !== '0' && value !== 'false'
}

async function factsOf({ users, servers, activity }: UsersApiDeps, user: User): Promise<UserFacts> {
  const [groups, roles, all] = await Promise.all([
    users.groupsOf(user),
    users.rolesOf(user),
    servers.ofUser(user),
  ])
  return {
    user,
    groups,
    roles,
    servers: all.map((server) => ({
      ...server,
      lastActivityAt:
        server.id === null ? null : activity.latest('server', server.id, server.lastActivityAt),
    })),
    lastActivityAt: activity.latest('user', user.id, user.lastActivityAt),
  }
}

async function model(deps: UsersApiDeps, user: User, caller: Caller) {
  return userModel(await factsOf(deps, user), caller, { urls: deps.urls, includeStopped: false })
}

/** The caller as `GET /user` shows them: always with name and groups, and what they may do (wire section 2.2). */
async function selfModel(deps: UsersApiDeps, caller: Caller) {
  const { owner, proof, scopes } = caller
  const shown = [...scopes].toSorted()
  const token = proof.kind === 'token' ? proof.token : null
  const credential = {
    token_id: token && `a${token.id}`,
    session_id: token && token.browserSessionId,
    scopes: shown,
  }
  if (owner.kind === 'operator') return { kind: 'operator', name: caller.name, scopes: shown }
  if (owner.kind === 'service')
    return { kind: 'service', name: caller.name, admin: owner.service.admin, ...credential }
  const { user } = owner
  const identify = [`read:users:name!user=${user.name}`, `read:users:groups!user=${user.name}`]
  const seen = { ...caller, scopes: new Set([...scopes, ...identify]) }
  const facts = await factsOf(deps, user)
  return {
    ...userModel(facts, seen, { urls: deps.urls, includeStopped: false }),
    ...credential,
  }
}

async function recordActivity(
  { activity }: UsersApiDeps,
  user: User,
  report: z.output<typeof activityReport>,
  servers: Servers,
): Promise<void> {
  const at = report.last_activity === undefined ? null : pastTime(report.last_activity)
  const entries = await Promise.all(
    Object.entries(report.servers ?? {}).map(async ([name, { last_activity: text }]) => {
      const server = await servers.find(user, name)
      if (!server || server.id === null)
        throw new HubError(
          'invalid_request',
          `No such server '${name.slice(0, 64)}' for user ${user.name}`,
        )
      return [server.id, pastTime(text)] as const
    }),
  )
  if (at) activity.user(user.id, at)
  for (const [id, time] of entries) activity.server(id, time)
}

/** A timestamp without a zone is UTC; one more than 59 minutes in the future is a mistake. */
function pastTime(text: string): Date {
  const hasZone = /(?:Z|[+-]\d\d:?\d\d)$/i.test(text)
  const date = new Date(hasZone ? text : `${text}Z`)
  if (Number.isNaN(date.getTime()))
    throw new HubError('invalid_request', `not a valid timestamp: ${text.slice(0, 40)}`)
  if (date.getTime() > Date.now() + 59 * 60_000)
    throw new HubError('invalid_request', `a timestamp lies in the future: ${text.slice(0, 40)}`)
  return date
}
