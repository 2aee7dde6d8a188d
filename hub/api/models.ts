import { z } from 'zod'
import { allows, type Resource } from '../../packages/core/scopes.ts'
import type { Caller } from '../domain/access.ts'
import { wireState } from '../domain/server-state.ts'
import type { ServerView } from '../domain/servers.ts'
import type { ListedToken } from '../domain/tokens.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { User } from '../domain/users.ts'

type Model = Record<string, unknown>

const time = (date: Date | null): string | null => date?.toISOString() ?? null

/** Everything that a user's model may show; how much of it depends on the caller's scopes (wire section 3.1). */
export interface UserFacts {
  readonly user: User
  readonly groups: readonly string[]
  readonly roles: readonly string[]
  readonly servers: readonly ServerView[]
  readonly lastActivityAt: Date | null
}

export interface ModelOptions {
  readonly urls: HubUrls
  readonly includeStopped: boolean
}

/** The user as a caller with these scopes may see them; null when nothing is visible. */
export function userModel(
  facts: UserFacts,
  scopes: ReadonlySet<string>,
  options: ModelOptions,
): Model | null {
  const { user, groups } = facts
  const resource: Resource = { kind: 'user', user: user.name }
  const holds = (scope: string): boolean => allows(scopes, scope, resource, () => groups)
  const seesAll = holds('read:users')
  const seesName = seesAll || holds('read:users:name')
  const seesRoles = seesAll || holds('read:roles:users')
  const model: Model = { kind: 'user', name: user.name }
  if (seesName || seesRoles) model['admin'] = user.admin
  if ((seesName || seesRoles) && user.blocked) model['blocked'] = true
  if (seesName) model['user_info'] = user.userInfo
  if (seesAll || holds('read:users:groups')) model['groups'] = groups
  if (seesRoles) model['roles'] = facts.roles
  if (seesAll || holds('read:users:activity')) model['last_activity'] = time(facts.lastActivityAt)
  if (seesAll) {
    const fallback = facts.servers.find(({ name }) => name === '')
    model['server'] = fallback?.state.kind === 'ready' ? fallback.prefix : null
    model['pending'] = fallback ? wireState(fallback.state).pending : null
    model['created'] = time(user.createdAt)
  }
  if (holds('admin:auth_state')) model['auth_state'] = null
  const servers = visibleServers(facts, scopes, options)
  if (servers) model['servers'] = servers
  return Object.keys(model).length === 2 ? null : model
}

/** Null when the caller sees neither all servers of this user nor one of them. */
function visibleServers(
  { user, groups, servers }: UserFacts,
  scopes: ReadonlySet<string>,
  { urls, includeStopped }: ModelOptions,
): Model | null {
  const sees = (resource: Resource): boolean =>
    allows(scopes, 'read:servers', resource, () => groups)
  const seesAll = sees({ kind: 'user', user: user.name })
  const shown = servers.filter(
    ({ name, state }) =>
      (includeStopped || state.kind !== 'stopped') &&
      (seesAll || sees({ kind: 'server', user: user.name, server: name })),
  )
  if (!seesAll && shown.length === 0) return null
  return Object.fromEntries(
    shown.map((server) => [server.name, serverModel(server, { scopes }, urls)]),
  )
}

/** A server (wire section 3.2). */
export function serverModel(
  server: ServerView,
  { scopes }: Pick<Caller, 'scopes'>,
  urls: HubUrls,
): Model {
  const { userName, name, state, prefix } = server
  const { publicUrl } = urls
  const progressUrl = `${urls.serverApi(userName, name)}/progress`
  const resource = { kind: 'server', user: userName, server: name } as const
  return {
    name,
    display_name: server.displayName ?? name,
    full_name: `${userName}/${name}`,
    last_activity: time(server.lastActivityAt),
    started: state.kind === 'stopped' ? null : time(server.startedAt),
    ...wireState(state),
    url: prefix,
    progress_url: progressUrl,
    full_url: publicUrl ? `${publicUrl.origin}${prefix}` : null,
    full_progress_url: publicUrl ? `${publicUrl.origin}${progressUrl}` : null,
    user_options: server.userOptions ?? {},
    ...(allows(scopes, 'admin:server_state', resource) ? { state: server.spawnerState } : {}),
  }
}

/** An API token (wire section 3.5); the secret is never part of it. */
export function tokenModel(token: ListedToken, user: User, lastActivityAt: Date | null): Model {
  return {
    user: user.name,
    id: `a${token.id}`,
    kind: 'api_token',
    roles: [],
    scopes: token.scopes,
    created: time(token.createdAt),
    last_activity: time(lastActivityAt),
    expires_at: time(token.expiresAt),
    note: token.note,
    session_id: token.browserSessionId,
    oauth_client: token.client?.description ?? 'JupyterHub',
  }
}

const timestamp = z.string().meta({ description: 'ISO 8601, UTC' })

/** The shape of a server's model, for the API's documentation. */
export const serverSchema = z.object({
  name: z.string(),
  display_name: z.string(),
  full_name: z.string(),
  last_activity: timestamp.nullable(),
  started: timestamp.nullable(),
  pending: z.enum(['spawn', 'stop', 'check', 'rename']).nullable(),
  ready: z.boolean(),
  stopped: z.boolean(),
  url: z.string(),
  progress_url: z.string(),
  full_url: z.string().nullable(),
  full_progress_url: z.string().nullable(),
  user_options: z.record(z.string(), z.unknown()),
  state: z.unknown().optional(),
})

/** The shape of a user's model; what the caller may not see is absent. */
export const userSchema = z.object({
  kind: z.literal('user'),
  name: z.string(),
  admin: z.boolean().optional(),
  blocked: z.literal(true).optional().meta({ description: 'There only for those who are' }),
  user_info: z.unknown().optional(),
  groups: z.array(z.string()).optional(),
  roles: z.array(z.string()).optional(),
  server: z.string().nullable().optional(),
  pending: z.string().nullable().optional(),
  created: timestamp.optional(),
  last_activity: timestamp.nullable().optional(),
  servers: z.record(z.string(), serverSchema).optional(),
  auth_state: z.unknown().optional(),
})

/** The shape of a token's model. */
export const tokenSchema = z.object({
  user: z.string().optional(),
  service: z.string().optional(),
  id: z.string(),
  kind: z.literal('api_token'),
  roles: z.array(z.string()),
  scopes: z.array(z.string()),
  created: timestamp,
  last_activity: timestamp.nullable(),
  expires_at: timestamp.nullable(),
  note: z.string().nullable(),
  session_id: z.string().nullable(),
  oauth_client: z.string(),
})
