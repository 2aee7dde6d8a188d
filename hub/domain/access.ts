import {
  type Resource,
  allows,
  expandScopes,
  holdsAny,
  intersectScopes,
} from '../../packages/core/scopes.ts'
import { HubError } from '../../packages/core/errors.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Session, SessionStore } from '../store/sessions.ts'
import { type Token, type TokenStore, hashSecret } from '../store/tokens.ts'
import type { User, UserStore } from '../store/users.ts'

/** How a caller proved who they are. `socket` is the hub's own unix socket: the operator of this machine. */
export type Proof =
  | { readonly kind: 'session'; readonly session: Session }
  | { readonly kind: 'token'; readonly token: Token }
  | { readonly kind: 'socket' }

/** Who is calling, and what they may do: `scopes` is expanded. */
export interface Caller {
  /** Null for the operator on the hub's socket. */
  readonly user: User | null
  readonly name: string
  readonly groups: readonly string[]
  readonly roles: readonly string[]
  readonly scopes: ReadonlySet<string>
  readonly proof: Proof
}

/** Turns cookies and tokens into callers. Answers come from memory until something about the user changes. */
export interface Access {
  ofToken(secret: string): Promise<Caller | null>
  ofSession(secret: string): Promise<Caller | null>
  /** Somebody with full rights who is no user: whoever can open the hub's own socket. */
  operator(): Caller
  /** Expanded scopes of a user by their roles. */
  scopesOf(user: User): Promise<ReadonlySet<string>>
  groupsOf(userName: string): Promise<readonly string[]>
  /** Must follow every change of the user's rights, tokens or sessions; the next request sees it. */
  forget(userId: number): void
  forgetAll(): void
}

interface Kept {
  readonly caller: Caller
  readonly expiresAt: number
}

/** Most callers kept in memory; the oldest go first. */
const capacity = 20_000

/** Scopes that only say who the owner is; every token of a user carries them. */
const identifyScopes = ['read:users:name!user', 'read:users:groups!user']

/** All a user may ever do, for the operator: the role `admin` and everything beneath it. */
const operatorScopes = [
  ...['admin:users', 'admin:servers', 'admin:groups', 'admin:services', 'tokens', 'read:hub'],
  ...['proxy', 'shutdown', 'read:roles', 'read:metrics', 'list:services', 'admin-ui'],
]

export function createAccess(deps: {
  readonly users: UserStore
  readonly tokens: TokenStore
  readonly sessions: SessionStore
  readonly clock: () => Date
  /** Keys of the names that the config blocks: their tokens and sessions are worth nothing. */
  readonly blocked?: ReadonlySet<string>
}): Access {
  const { users, tokens, sessions, clock } = deps
  const kept = new Map<string, Kept>()
  const keysOf = new Map<number, Set<string>>()
  let epoch = 0

  const remember = (key: string, caller: Caller, expiresAt: Date | null, at: number): void => {
    if (at !== epoch || !caller.user) return
    if (kept.size >= capacity) {
      const [oldest] = kept.keys()
      if (oldest !== undefined) kept.delete(oldest)
    }
    kept.set(key, { caller, expiresAt: expiresAt?.getTime() ?? Infinity })
    const keys = keysOf.get(caller.user.id) ?? new Set()
    keysOf.set(caller.user.id, keys.add(key))
  }

  const recall = (key: string): Caller | null => {
    const known = kept.get(key)
    return known && known.expiresAt > clock().getTime() ? known.caller : null
  }

  const rightsOf = async (user: User) => {
    const [{ names, scopes }, groups] = await Promise.all([
      users.rolesOf(user.id),
      users.groupsOf(user.id),
    ])
    return { roles: names, groups, owned: expandScopes(scopes, { userName: user.name }) }
  }

  const ownerOf = async (userId: number | null): Promise<User | null> => {
    const user = userId === null ? null : await users.findById(userId)
    if (!user || user.blocked) return null
    return deps.blocked?.has(nameKey(user.name)) ? null : user
  }

  return {
    async ofToken(secret) {
      const key = `token ${hashSecret(secret)}`
      const known = recall(key)
      if (known) return known
      const at = epoch
      const token = await tokens.find(secret, clock())
      const user = token && (await ownerOf(token.userId))
      if (!token || !user) return null
      const { roles, groups, owned } = await rightsOf(user)
      const scopes = tokenScopes(token, user, owned, groups)
      const proof: Proof = { kind: 'token', token }
      const caller: Caller = { user, name: user.name, groups, roles, scopes, proof }
      remember(key, caller, token.expiresAt, at)
      return caller
    },

    async ofSession(secret) {
      const key = `session ${hashSecret(secret)}`
      const known = recall(key)
      if (known) return known
      const at = epoch
      const session = await sessions.find(secret, clock())
      const user = session && (await ownerOf(session.userId))
      if (!session || !user) return null
      const { roles, groups, owned } = await rightsOf(user)
      const proof: Proof = { kind: 'session', session }
      const caller: Caller = { user, name: user.name, groups, roles, scopes: owned, proof }
      remember(key, caller, session.expiresAt, at)
      return caller
    },

    operator: () => ({
      user: null,
      name: 'operator',
      groups: [],
      roles: ['admin'],
      scopes: expandScopes(operatorScopes, {}),
      proof: { kind: 'socket' },
    }),

    async scopesOf(user) {
      return (await rightsOf(user)).owned
    },

    async groupsOf(userName) {
      const user = await users.findByName(userName)
      return user ? users.groupsOf(user.id) : []
    },

    forget(userId) {
      epoch += 1
      for (const key of keysOf.get(userId) ?? []) kept.delete(key)
      keysOf.delete(userId)
    },

    forgetAll() {
      epoch += 1
      kept.clear()
      keysOf.clear()
    },
  }
}

/** Token scopes never exceed what the owner holds now (JupyterHub: effective scopes of a token). */
function tokenScopes(
  token: Token,
  user: User,
  owned: ReadonlySet<string>,
  groups: readonly string[],
): ReadonlySet<string> {
  const owner = { userName: user.name }
  const identify = expandScopes(identifyScopes, owner)
  if (token.scopes.includes('inherit')) return new Set([...owned, ...identify])
  const groupsOf = (name: string): readonly string[] => (name === user.name ? groups : [])
  const own = intersectScopes(expandScopes(token.scopes, owner), owned, groupsOf)
  return new Set([...own, ...identify])
}

/**
 * Passes when the caller holds any of `scopes` on `resource`.
 * @throws {HubError} `not_found` when the caller holds one of them for something else, so that what
 * exists cannot be probed; `missing_scope`, naming the scopes, otherwise.
 */
export async function requireScope(
  access: Access,
  caller: Caller | null,
  scopes: readonly string[],
  resource: Resource,
): Promise<Caller> {
  if (!caller) throw new HubError('not_authenticated', 'Missing or invalid credentials.')
  if (scopes.some((scope) => allows(caller.scopes, scope, resource))) return caller
  const named = 'user' in resource ? await access.groupsOf(resource.user) : []
  if (scopes.some((scope) => allows(caller.scopes, scope, resource, () => named))) return caller
  if (resource.kind !== 'none' && scopes.some((scope) => holdsAny(caller.scopes, scope)))
    throw new HubError('not_found', 'No access to resources or resources not found')
  throw new HubError(
    'missing_scope',
    `Action is not authorized with current scopes; requires any of [${scopes.join(', ')}]`,
  )
}
