import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import type { Json } from '../../packages/core/spawner.ts'
import { allows, filtersOf, holdsAny } from '../../packages/core/scopes.ts'
import { type Access, type Caller, isAdmin, userOf } from '../domain/access.ts'
import type { AuthStates } from '../domain/auth-states.ts'
import type { Explanations } from '../domain/explanations.ts'
import type { Servers } from '../domain/servers.ts'
import type { Services } from '../domain/services.ts'
import type { User, UserQuery } from '../domain/users.ts'
import { explained, explanationSchema } from './explain.ts'
import { type Endpoint, empty, endpoint, json } from './endpoint.ts'
import { userSchema } from './models.ts'
import { identifiedService } from './services.ts'
import {
  type Page,
  type PageLimits,
  pagedSchema,
  pageOf,
  pageQuery,
  paginatedText,
} from './paging.ts'
import { type UserModelDeps, UserModels } from './user-models.ts'

export interface UsersApiDeps extends UserModelDeps {
  readonly pages: PageLimits
  readonly access: Access
  readonly explanations: Explanations
  readonly authStates: AuthStates
  readonly services: Pick<Services, 'byName'>
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
const changes = z.strictObject({
  name: z.string().optional(),
  admin: z.boolean().optional(),
  blocked: z
    .boolean()
    .optional()
    .meta({ description: 'Ends all by which they are let in, and stops their servers' }),
  auth_state: z.record(z.string(), z.unknown()).nullable().optional(),
})
const activityReport = z
  .object({
    last_activity: z.string().nullish(),
    servers: z.record(z.string(), z.object({ last_activity: z.string() })).nullish(),
  })
  .refine((body) => Boolean(body.last_activity) || Boolean(body.servers), {
    error: 'needs at least one of: last_activity, servers',
  })

/** Present and neither `0` nor `false`, in any case of letters: also stopped servers. */
const stoppedServers = {
  include_stopped_servers: z
    .string()
    .optional()
    .transform((value) => value !== undefined && !/^(?:0|false)$/i.test(value)),
}

const listQuery = z.object({
  ...pageQuery,
  ...stoppedServers,
  /** Empty is none: JupyterHub's own admin page sends it so. */
  state: z
    .enum(['', 'active', 'ready', 'inactive'])
    .transform((state) => state || undefined)
    .optional(),
  sort: z.enum(['id', '-id', 'name', '-name', 'last_activity', '-last_activity']).default('id'),
  name_filter: z.string().max(255).optional(),
})

/** `/users` and what belongs to one user, but for servers and tokens (wire section 2.3). */
export function userEndpoints(deps: UsersApiDeps): readonly Endpoint[] {
  const models = new UserModels(deps)
  return [
    callerEndpoint(deps, models),
    ...manyUsers(deps, models),
    ...oneUser(deps, models),
    ...userChanges(deps, models),
  ]
}

function callerEndpoint({ services }: UsersApiDeps, models: UserModels): Endpoint {
  return endpoint({
    method: 'GET',
    path: '/user',
    summary: 'Whose credentials these are, and what they allow',
    access: { by: 'anyone' },
    answers: { 200: z.looseObject({ kind: z.string(), name: z.string() }) },
    handle: async ({ caller }) => json(await selfModel({ models, services }, caller)),
  })
}

/** Everybody. */
function manyUsers(deps: UsersApiDeps, models: UserModels): readonly Endpoint[] {
  const { users } = deps
  return [
    endpoint({
      method: 'GET',
      path: '/users',
      summary: 'List users',
      access: { scopes: ['list:users'], on: 'list', filters: ['user', 'group'] },
      query: listQuery,
      answers: { 200: pagedSchema(z.array(userSchema)) },
      async handle({ caller, query, context }) {
        const page = pageOf(context, query, deps.pages)
        const { protocol, host, url } = context
        const asked = `${page.isWanted} ${protocol}://${host} ${url}`
        const list = await models.list(caller, asked, async () => {
          const found = await users.page(userQuery(query, page, caller))
          const shown = await models.rendered(found.users, caller, query.include_stopped_servers)
          const items = `[${shown.map(({ body }) => body).join(',')}]`
          return paginatedText(context, items, page, found.total)
        })
        return { kind: 'prepared', json: list }
      },
    }),
    endpoint({
      method: 'POST',
      path: '/users',
      summary: 'Create several users',
      access: { scopes: ['admin:users'], on: 'none' },
      body: newUsers,
      answers: { 201: z.array(userSchema) },
      async handle({ caller, body: { usernames, admin } }) {
        checkAdminGrant(caller, admin)
        const made = await users.create(usernames, { admin, by: caller.name })
        return json(models.ofNew(made, caller), 201)
      },
    }),
  ]
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
function oneUser(deps: UsersApiDeps, models: UserModels): readonly Endpoint[] {
  const { users, servers } = deps
  return [
    endpoint({
      method: 'GET',
      path: '/users/:user',
      summary: 'Read a user',
      access: { scopes: readingScopes, on: 'user' },
      query: z.object({
        ...stoppedServers,
        explain: z.string().optional().meta({ description: 'What they may do, and what from' }),
      }),
      answers: { 200: z.union([userSchema, explanationSchema]) },
      async handle({ caller, params, query }) {
        if (query.explain !== undefined) return explained(deps, caller, params.user)
        const includeStopped = query.include_stopped_servers
        const mayBeSecret = deps.authStates.isKept && holdsAny(caller.scopes, 'admin:auth_state')
        const known = mayBeSecret ? null : models.known(caller, params.user, includeStopped)
        if (known) return { kind: 'prepared', json: known }
        const user = await users.byName(params.user)
        if (mayBeSecret && (await seesAuthState(deps, caller, user))) {
          const model = await models.model(user, caller, includeStopped)
          return json({ ...model, auth_state: await deps.authStates.of(user) })
        }
        const [shown] = await models.rendered([user], caller, includeStopped)
        return shown ? { kind: 'prepared', json: shown } : json(null)
      },
    }),
    endpoint({
      method: 'POST',
      path: '/users/:user/activity',
      summary: 'Report when a user and their servers were last active',
      access: { scopes: ['users:activity'], on: 'user' },
      body: activityReport,
      bodyRequired: true,
      answers: { 200: 'Noted' },
      async handle({ params, body }) {
        const user = await users.byName(params.user)
        await recordActivity(deps, user, body, servers)
        return empty(200)
      },
    }),
    endpoint({
      method: 'POST',
      path: '/users/:user/admin-access',
      summary: 'Nothing any more: who may enter whose server is decided by access:servers',
      access: { scopes: ['servers'], on: 'user' },
      answers: { 403: 'Always' },
      handle() {
        throw new HubError(
          'forbidden',
          'this hub has no admin access; access:servers lets somebody enter the servers of others',
        )
      },
    }),
  ]
}

/** Making, changing and deleting one user. */
function userChanges(deps: UsersApiDeps, models: UserModels): readonly Endpoint[] {
  const { users } = deps
  return [
    endpoint({
      method: 'POST',
      path: '/users/:user',
      summary: 'Create a user',
      access: { scopes: ['admin:users'], on: 'user' },
      body: newUser,
      answers: { 201: userSchema },
      async handle({ caller, params, body: { admin } }) {
        checkAdminGrant(caller, admin)
        const made = await users.create([params.user], { admin, by: caller.name })
        return json(models.ofNew(made, caller)[0], 201)
      },
    }),
    endpoint({
      method: 'PATCH',
      path: '/users/:user',
      summary: 'Rename a user, make them an admin, or block them',
      access: { scopes: ['admin:users'], on: 'user' },
      body: changes,
      bodyRequired: true,
      answers: { 200: userSchema },
      handle: async ({ caller, params, body }) =>
        json(await edited(deps, models, { caller, name: params.user, body })),
    }),
    endpoint({
      method: 'DELETE',
      path: '/users/:user',
      summary: 'Delete a user; their servers are stopped first',
      access: { scopes: ['delete:users'], on: 'user' },
      answers: { 204: 'There is no such user any more' },
      async handle({ caller, params }) {
        const user = await users.byName(params.user)
        if (userOf(caller)?.id === user.id)
          throw new HubError('invalid_request', 'Cannot delete yourself!')
        if (user.admin) checkAdminGrant(caller, true)
        await users.delete(user, caller.name)
        return empty(204)
      },
    }),
  ]
}

/** Changes a user as a PATCH says; the model of who they are then. */
async function edited(
  deps: UsersApiDeps,
  models: UserModels,
  asked: {
    readonly caller: Caller
    readonly name: string
    readonly body: z.output<typeof changes>
  },
) {
  const { users } = deps
  const { caller, body } = asked
  const { name, admin, blocked, auth_state: state } = body
  const user = await users.byName(asked.name)
  if (blocked && userOf(caller)?.id === user.id)
    throw new HubError('invalid_request', 'Cannot block yourself!')
  checkAdminGrant(caller, admin === true || user.admin)
  const sees = await seesAuthState(deps, caller, user)
  if (state !== undefined) {
    if (!sees)
      throw new HubError('missing_scope', 'auth_state can only be set with admin:auth_state')
    await deps.authStates.set(user, state as Json)
  }
  const edit = {
    ...(name === undefined ? {} : { name }),
    ...(admin === undefined ? {} : { admin }),
    ...(blocked === undefined ? {} : { blocked }),
  }
  const model = await models.model(await users.edit(user, edit, caller.name), caller)
  return { ...model, auth_state: sees ? await deps.authStates.of(user) : null }
}

/** Whether the caller may read and write what the authenticator knows of this user. */
async function seesAuthState(
  { access }: UsersApiDeps,
  { scopes }: Caller,
  { name }: User,
): Promise<boolean> {
  if (!holdsAny(scopes, 'admin:auth_state')) return false
  const groups = await access.groupsOf(name)
  return allows(scopes, 'admin:auth_state', { kind: 'user', user: name }, () => groups)
}

/** Keys that clients send and the hub does not need here. */
function ignored(...names: readonly string[]) {
  return Object.fromEntries(names.map((name) => [name, z.unknown().optional()]))
}

function checkAdminGrant(caller: Caller, admin: boolean): void {
  if (admin && !isAdmin(caller))
    throw new HubError('forbidden', 'only an admin can make, change or delete an admin')
}

function userQuery(query: z.output<typeof listQuery>, page: Page, caller: Caller): UserQuery {
  const only = caller.scopes.has('list:users') ? null : listFilter(caller)
  return {
    sort: {
      by: query.sort.replace('-', '') as UserQuery['sort']['by'],
      descending: query.sort.startsWith('-'),
    },
    ...(query.state ? { state: query.state } : {}),
    ...(query.name_filter ? { nameContains: query.name_filter } : {}),
    ...(only ? { only } : {}),
    offset: page.offset,
    limit: page.limit,
  }
}

/** The names and groups to which a filtered `list:users` narrows the list; null when it is not held so. */
function listFilter(
  caller: Caller,
): { users: readonly string[]; groups: readonly string[] } | null {
  const { user, group, server } = filtersOf(caller.scopes, 'list:users')
  if (server.length > 0 || user.length + group.length === 0) return null
  return { users: user, groups: group }
}

/** The caller as `GET /user` shows them: always with name and groups, and what they may do (wire section 2.2). */
async function selfModel(
  { models, services }: Pick<UsersApiDeps, 'services'> & { readonly models: UserModels },
  caller: Caller,
) {
  const { owner, proof, scopes } = caller
  const shown = [...scopes].toSorted()
  const token = proof.kind === 'token' ? proof.token : null
  const credential = {
    token_id: token && `a${token.id}`,
    session_id: token && token.browserSessionId,
    scopes: shown,
  }
  if (owner.kind === 'operator') return { kind: 'operator', name: caller.name, scopes: shown }
  const model =
    owner.kind === 'service'
      ? identifiedService(await services.byName(owner.service.name), caller)
      : await models.identified(owner.user, caller)
  return { ...model, ...credential }
}

async function recordActivity(
  { activity }: UsersApiDeps,
  user: User,
  report: z.output<typeof activityReport>,
  servers: Servers,
): Promise<void> {
  const at = report.last_activity ? pastTime(report.last_activity) : null
  const entries = await Promise.all(
    Object.entries(report.servers ?? {}).map(async ([name, { last_activity: text }]) => {
      const time = pastTime(text)
      const id = servers.run(user, name)?.row.id ?? (await servers.edits.ensure(user, name))?.id
      if (id === undefined)
        throw new HubError(
          'invalid_request',
          `No such server '${name.slice(0, 64)}' for user ${user.name}`,
        )
      return [id, time] as const
    }),
  )
  if (at) activity.user(user.id, at)
  for (const [id, time] of entries) activity.server({ id, userId: user.id }, time)
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
