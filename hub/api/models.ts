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

/** Everything that a user's model may show; how much of it depends on the caller (wire section 3.1). */
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

/** The user as this caller may see them; null when nothing is visible. */
export function userModel(facts: UserFacts, caller: Caller, options: ModelOptions): Model | null {
  const { user, groups } = facts
  const resource: Resource = { kind: 'user', user: user.name }
  const holds = (...scopes: readonly string[]): boolean =>
    scopes.some((scope) => allows(caller.scopes, scope, resource, () => groups))
  const isNamed = holds('read:users', 'read:users:name', 'read:roles:users')
  const fallback = facts.servers.find(({ name }) => name === '')
  const model: Model = {
    ...(isNamed ? { admin: user.admin } : {}),
    ...(isNamed && user.blocked ? { blocked: true } : {}),
    ...(holds('read:users', 'read:users:name') ? { user_info: user.userInfo } : {}),
    ...(holds('read:users', 'read:users:groups') ? { groups } : {}),
    ...(holds('read:users', 'read:roles:users') ? { roles: facts.roles } : {}),
    ...(holds('read:users', 'read:users:activity')
      ? { last_activity: time(facts.lastActivityAt) }
      : {}),
    ...(holds('read:users') && fallback ? defaultServerKeys(user, fallback) : {}),
    ...(holds('admin:auth_state') ? { auth_state: null } : {}),
    ...serverKeys(facts, caller, options),
  }
  if (Object.keys(model).length === 0) return null
  return { kind: 'user', name: user.name, ...model }
}

function defaultServerKeys(user: User, { state, prefix }: ServerView): Model {
  return {
    server: state.kind === 'ready' ? prefix : null,
    pending: wireState(state).pending,
    created: time(user.createdAt),
  }
}

function serverKeys(
  { user, groups, servers }: UserFacts,
  caller: Caller,
  options: ModelOptions,
): Model {
  const shown = servers.filter(({ name, state }) => {
    if (state.kind === 'stopped' && !options.includeStopped) return false
    const resource = { kind: 'server', user: user.name, server: name } as const
    return allows(caller.scopes, 'read:servers', resource, () => groups)
  })
  const all = allows(caller.scopes, 'read:servers', { kind: 'user', user: user.name }, () => groups)
  if (!all && shown.length === 0) return {}
  return {
    servers: Object.fromEntries(
      shown.map((server) => [server.name, serverModel(server, caller, options.urls)]),
    ),
  }
}

/** A server (wire section 3.2). */
export function serverModel(server: ServerView, caller: Caller, urls: HubUrls): Model {
  const { userName, name, state, prefix } = server
  const { publicUrl } = urls
  const progressUrl = `${urls.serverApi(userName, name)}/progress`
  const resource = { kind: 'server', user: userName, server: name } as const
  return {
    name,
    display_name: server.displayName,
    full_name: `${userName}/${name}`,
    last_activity: time(server.lastActivityAt),
    started: state.kind === 'stopped' ? null : time(server.startedAt),
    ...wireState(state),
    url: prefix,
    progress_url: progressUrl,
    full_url: publicUrl ? `${publicUrl.origin}${prefix}` : null,
    full_progress_url: publicUrl ? `${publicUrl.origin}${progressUrl}` : null,
    user_options: server.userOptions,
    ...(allows(caller.scopes, 'admin:server_state', resource)
      ? { state: server.spawnerState }
      : {}),
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
  display_name: z.string().nullable(),
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
  user_options: z.unknown(),
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
