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
  /** What each token of this user allows now: expanded, and no more than the user holds. */
  effectiveScopes(user: User): Promise<(token: Token) => ReadonlySet<string>>
  /** Must follow every change of the user's rights, tokens or sessions; the next request sees it. */
  forget(userId: number): void
  forgetAll(): void
}

/** Scopes that only say who the owner is; every token of a user carries them. */
const identifyScopes = ['read:users:name!user', 'read:users:groups!user']

/** All a user may ever do, for the operator: the role `admin` and everything beneath it. */
const operatorScopes = [
  'admin:users',
  'admin:servers',
  'admin:groups',
  'admin:services',
  'tokens',
  'read:hub',
  'proxy',
  'shutdown',
  'read:roles',
  'read:metrics',
  'list:services',
  'admin-ui',
]

export interface AccessDeps {
  readonly users: UserStore
  readonly tokens: TokenStore
  readonly sessions: SessionStore
  readonly clock: () => Date
  /** Keys of the names that the config blocks: their tokens and sessions are worth nothing. */
  readonly blocked?: ReadonlySet<string>
}

export function createAccess(deps: AccessDeps): Access {
  return new CachedAccess(deps)
}

class CachedAccess implements Access {
  readonly #deps: AccessDeps
  readonly #kept = new KeptCallers()

  constructor(deps: AccessDeps) {
    this.#deps = deps
  }

  ofToken(secret: string): Promise<Caller | null> {
    return this.#resolve(`token ${hashSecret(secret)}`, async (now) => {
      const token = await this.#deps.tokens.find(secret, now)
      return token && this.#callerOf(token.userId, { kind: 'token', token })
    })
  }

  ofSession(secret: string): Promise<Caller | null> {
    return this.#resolve(`session ${hashSecret(secret)}`, async (now) => {
      const session = await this.#deps.sessions.find(secret, now)
      return session && this.#callerOf(session.userId, { kind: 'session', session })
    })
  }

  operator(): Caller {
    return {
      user: null,
      name: 'operator',
      groups: [],
      roles: ['admin'],
      scopes: expandScopes(operatorScopes, {}),
      proof: { kind: 'socket' },
    }
  }

  async scopesOf(user: User): Promise<ReadonlySet<string>> {
    return (await this.#rightsOf(user)).owned
  }

  async effectiveScopes(user: User): Promise<(token: Token) => ReadonlySet<string>> {
    const { groups, owned } = await this.#rightsOf(user)
    return (token) => tokenScopes(token, user, owned, groups)
  }

  async groupsOf(userName: string): Promise<readonly string[]> {
    const user = await this.#deps.users.findByName(userName)
    return user ? this.#deps.users.groupsOf(user.id) : []
  }

  forget(userId: number): void {
    this.#kept.forget(userId)
  }

  forgetAll(): void {
    this.#kept.forgetAll()
  }

  async #resolve(key: string, find: (now: Date) => Promise<Caller | null>): Promise<Caller | null> {
    const now = this.#deps.clock()
    const known = this.#kept.recall(key, now)
    if (known) return known
    const { epoch } = this.#kept
    const caller = await find(now)
    if (caller) this.#kept.remember(key, caller, epoch)
    return caller
  }

  async #callerOf(
    userId: number | null,
    proof: Extract<Proof, { kind: 'token' | 'session' }>,
  ): Promise<Caller | null> {
    const user = userId === null ? null : await this.#deps.users.findById(userId)
    if (!user || user.blocked || this.#deps.blocked?.has(nameKey(user.name))) return null
    const { roles, groups, owned } = await this.#rightsOf(user)
    const scopes = proof.kind === 'token' ? tokenScopes(proof.token, user, owned, groups) : owned
    return { user, name: user.name, groups, roles, scopes, proof }
  }

  async #rightsOf(user: User) {
    const { users } = this.#deps
    const [{ names, scopes }, groups] = await Promise.all([
      users.rolesOf(user.id),
      users.groupsOf(user.id),
    ])
    return { roles: names, groups, owned: expandScopes(scopes, { userName: user.name }) }
  }
}

/** Most callers kept in memory; the oldest go first. */
const capacity = 20_000

/** Callers by the hash of what they presented, and by user, so that a change forgets exactly theirs. */
class KeptCallers {
  readonly #callers = new Map<string, Caller>()
  readonly #keysOf = new Map<number, Set<string>>()
  #epoch = 0

  /** Moves on with every change: what was looked up before one is not kept after it. */
  get epoch(): number {
    return this.#epoch
  }

  recall(key: string, now: Date): Caller | null {
    const caller = this.#callers.get(key)
    const expiresAt = caller ? expiryOf(caller.proof) : null
    return caller && (expiresAt === null || expiresAt > now) ? caller : null
  }

  remember(key: string, caller: Caller, epoch: number): void {
    if (epoch !== this.#epoch || !caller.user) return
    const [oldest] = this.#callers
    if (this.#callers.size >= capacity && oldest) this.#drop(...oldest)
    this.#callers.set(key, caller)
    const keys = this.#keysOf.get(caller.user.id) ?? new Set()
    this.#keysOf.set(caller.user.id, keys.add(key))
  }

  #drop(key: string, { user }: Caller): void {
    this.#callers.delete(key)
    if (user) this.#keysOf.get(user.id)?.delete(key)
  }

  forget(userId: number): void {
    this.#epoch += 1
    for (const key of this.#keysOf.get(userId) ?? []) this.#callers.delete(key)
    this.#keysOf.delete(userId)
  }

  forgetAll(): void {
    this.#epoch += 1
    this.#callers.clear()
    this.#keysOf.clear()
  }
}

function expiryOf(proof: Proof): Date | null {
  switch (proof.kind) {
    case 'token':
      return proof.token.expiresAt
    case 'session':
      return proof.session.expiresAt
    case 'socket':
      return null
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
