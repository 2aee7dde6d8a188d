import {
  type Resource,
  type ScopeCatalogue,
  type ScopeOwner,
  allows,
  covers,
  defaultRoles,
  expandScopes,
  filtersOf,
  holdsAny,
  intersectScopes,
} from '../../packages/core/scopes.ts'
import { builtInScopes } from '../../packages/core/scope-catalogue.ts'
import { HubError } from '../../packages/core/errors.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Grant, RoleStore } from '../store/roles.ts'
import type { Session, SessionStore } from '../store/sessions.ts'
import { type ServiceIdentity, type Token, type TokenStore, hashSecret } from '../store/tokens.ts'
import type { User, UserStore } from '../store/users.ts'
import type { Changes } from './changes.ts'
import { KeptCallers } from './kept-callers.ts'

export type { ServiceIdentity } from '../store/tokens.ts'

/** How a caller proved who they are. `socket` is the hub's own unix socket: the operator of this machine. */
export type Proof =
  | { readonly kind: 'session'; readonly session: Session }
  | { readonly kind: 'token'; readonly token: Token }
  | { readonly kind: 'socket' }

/** Whose rights count. The operator is whoever can open the hub's own socket. */
export type Owner =
  | { readonly kind: 'user'; readonly user: User }
  | { readonly kind: 'service'; readonly service: ServiceIdentity }
  | { readonly kind: 'operator' }

/** Who is calling, and what they may do: `scopes` is expanded. */
export interface Caller {
  readonly owner: Owner
  readonly name: string
  readonly groups: readonly string[]
  /** Names of the owner's own roles. */
  readonly roles: readonly string[]
  readonly scopes: ReadonlySet<string>
  readonly proof: Proof
}

/** The user who is calling; null for services, the operator and strangers. */
export function userOf(caller: Pick<Caller, 'owner'> | null): User | null {
  return caller?.owner.kind === 'user' ? caller.owner.user : null
}

/** Whether the owner carries the mark `admin`, where the wire asks for that and not for a scope (CVE-2024-41942). */
export function isAdmin({ owner }: Pick<Caller, 'owner'>): boolean {
  switch (owner.kind) {
    case 'user':
      return owner.user.admin
    case 'service':
      return owner.service.admin
    case 'operator':
      return true
  }
}

/** What an owner has now, and where it comes from. */
export interface Rights {
  readonly grants: readonly Grant[]
  /** Names of the owner's own roles. */
  readonly roles: readonly string[]
  readonly groups: readonly string[]
  /** Expanded. */
  readonly scopes: ReadonlySet<string>
}

/** Turns cookies and tokens into callers. Answers come from memory until something about the owner changes. */
export interface Access {
  ofToken(secret: string): Promise<Caller | null>
  ofSession(secret: string): Promise<Caller | null>
  /** Somebody with full rights who is no user: whoever can open the hub's own socket. */
  operator(): Caller
  rightsOf(owner: Owner): Promise<Rights>
  groupsOf(userName: string): Promise<readonly string[]>
  /** Null when the owner is gone, or blocked. */
  ownerOf(token: Token): Promise<Owner | null>
  /** Whether there is such a user at this moment, and nobody has blocked them. */
  admits(user: Pick<User, 'id'>): Promise<boolean>
  /** What each of these tokens of this owner allows now: expanded, and no more than the owner holds. */
  effectiveScopes(owner: Owner, tokens: readonly Token[]): Promise<readonly ReadonlySet<string>[]>
  /** Those of the raw `scopes` that a token of this owner may not be given, since the owner lacks them. */
  excessOf(owner: Owner, scopes: readonly string[]): Promise<readonly string[]>
  /** Which scopes there are. */
  readonly catalogue: ScopeCatalogue
}

/** Scopes that only say who the owner is; every token of a user carries them. */
const identifyScopes = ['read:users:name!user', 'read:users:groups!user']

/** Those of the role `admin`: who can open the hub's socket could become one anyway. */
const operatorScopes = defaultRoles.find(({ name }) => name === 'admin')?.scopes ?? []

export interface AccessDeps {
  readonly users: UserStore
  readonly tokens: TokenStore
  readonly sessions: SessionStore
  readonly roles: RoleStore
  readonly changes: Changes
  readonly clock: () => Date
  /** Default: the built-in scopes. */
  readonly catalogue?: ScopeCatalogue
  /** Keys of the names that the config blocks: their tokens and sessions are worth nothing. */
  readonly blocked?: ReadonlySet<string>
}

export function createAccess(deps: AccessDeps): Access {
  return new CachedAccess(deps)
}

class CachedAccess implements Access {
  readonly #deps: AccessDeps
  readonly #kept: KeptCallers
  /** Callers that depend on the groups of others, of whose changes nothing is known here. */
  readonly #transient = new WeakSet<Caller>()
  readonly catalogue: ScopeCatalogue

  constructor(deps: AccessDeps) {
    this.#deps = deps
    this.catalogue = deps.catalogue ?? builtInScopes
    this.#kept = new KeptCallers(deps.changes)
  }

  ofToken(secret: string): Promise<Caller | null> {
    return this.#resolve(`token ${hashSecret(secret)}`, async (now) => {
      const token = await this.#deps.tokens.find(secret, now)
      const owner = token && (await this.ownerOf(token))
      return owner && this.#callerOf(owner, { kind: 'token', token })
    })
  }

  ofSession(secret: string): Promise<Caller | null> {
    return this.#resolve(`session ${hashSecret(secret)}`, async (now) => {
      const session = await this.#deps.sessions.find(secret, now)
      const user = session && (await this.#user(session.userId))
      return user && this.#callerOf({ kind: 'user', user }, { kind: 'session', session })
    })
  }

  operator(): Caller {
    return {
      owner: { kind: 'operator' },
      name: 'operator',
      groups: [],
      roles: ['admin'],
      scopes: expandScopes(operatorScopes, {}),
      proof: { kind: 'socket' },
    }
  }

  async rightsOf(owner: Owner): Promise<Rights> {
    const { users, roles, clock } = this.#deps
    switch (owner.kind) {
      case 'user': {
        const { id, name } = owner.user
        const [grants, groups] = await Promise.all([
          roles.grantsOfUser(id, clock()),
          users.groupsOf(id),
        ])
        return this.#rights(grants, { userName: name }, groups)
      }
      case 'service': {
        const { id, name } = owner.service
        return this.#rights(await roles.grantsOfService(id), { serviceName: name })
      }
      case 'operator':
        return { grants: [], groups: [], roles: ['admin'], scopes: this.operator().scopes }
    }
  }

  #rights(grants: readonly Grant[], owner: ScopeOwner, groups: readonly string[] = []): Rights {
    const raw = grants.flatMap((grant) => grant.scopes)
    const scopes = expandScopes(raw, owner, this.catalogue)
    return { grants, groups, roles: roleNames(grants), scopes }
  }

  async effectiveScopes(
    owner: Owner,
    tokens: readonly Token[],
  ): Promise<readonly ReadonlySet<string>[]> {
    const held = await this.rightsOf(owner)
    return Promise.all(
      tokens.map(async (token) => (await this.#tokenScopes(token, owner, held)).scopes),
    )
  }

  async excessOf(owner: Owner, scopes: readonly string[]): Promise<readonly string[]> {
    const held = await this.rightsOf(owner)
    const named = scopeOwnerOf(owner, null)
    const { result } = await this.#knowingGroups(owner, held, (groupsOf) =>
      scopes.filter((scope) =>
        [...expandScopes([scope], named, this.catalogue)].some(
          (one) => one !== 'inherit' && !covers(held.scopes, one, groupsOf),
        ),
      ),
    )
    return result
  }

  async groupsOf(userName: string): Promise<readonly string[]> {
    const user = await this.#deps.users.findByName(userName)
    return user ? this.#deps.users.groupsOf(user.id) : []
  }

  async #resolve(key: string, find: (now: Date) => Promise<Caller | null>): Promise<Caller | null> {
    const now = this.#deps.clock()
    const known = this.#kept.recall(key, now)
    if (known) return known
    const moment = this.#deps.changes.now
    const caller = await find(now)
    if (caller && !this.#transient.has(caller)) this.#kept.remember(key, caller, moment)
    return caller
  }

  async ownerOf({ userId, serviceId }: Token): Promise<Owner | null> {
    if (userId !== null) {
      const user = await this.#user(userId)
      return user && { kind: 'user', user }
    }
    const service = serviceId === null ? null : await this.#deps.tokens.findService(serviceId)
    return service && { kind: 'service', service }
  }

  async admits({ id }: Pick<User, 'id'>): Promise<boolean> {
    return (await this.#user(id)) !== null
  }

  /** Null when there is no such user, or not for the hub. */
  async #user(id: number): Promise<User | null> {
    const user = await this.#deps.users.findById(id)
    return !user || user.blocked || this.#deps.blocked?.has(nameKey(user.name)) ? null : user
  }

  async #callerOf(owner: Owner, proof: Proof): Promise<Caller> {
    const held = await this.rightsOf(owner)
    const { scopes, isTransient } =
      proof.kind === 'token'
        ? await this.#tokenScopes(proof.token, owner, held)
        : { scopes: held.scopes, isTransient: false }
    const { groups, roles } = held
    const caller = { owner, name: nameOf(owner), groups, roles, scopes, proof }
    if (isTransient) this.#transient.add(caller)
    return caller
  }

  /** Token scopes never exceed what the owner holds now (JupyterHub: effective scopes of a token). */
  async #tokenScopes(
    token: Token,
    owner: Owner,
    held: Rights,
  ): Promise<{ readonly scopes: ReadonlySet<string>; readonly isTransient: boolean }> {
    const named = scopeOwnerOf(owner, token.client)
    const identify = owner.kind === 'user' ? expandScopes(identifyScopes, named) : []
    if (token.scopes.includes('inherit'))
      return { scopes: new Set([...held.scopes, ...identify]), isTransient: false }
    const wanted = expandScopes(rawScopesOf(token), named, this.catalogue)
    const { result, isTransient } = await this.#knowingGroups(owner, held, (groupsOf) =>
      intersectScopes(wanted, held.scopes, groupsOf),
    )
    return { scopes: new Set([...result, ...identify]), isTransient }
  }

  /** Computes with the groups of whomever it asks about; `isTransient` when that is somebody else. */
  async #knowingGroups<T>(
    owner: Owner,
    { groups }: Rights,
    compute: (groupsOf: (user: string) => readonly string[]) => T,
  ): Promise<{ readonly result: T; readonly isTransient: boolean }> {
    const known = new Map<string, readonly string[]>()
    if (owner.kind === 'user') known.set(owner.user.name, groups)
    const asked = new Set<string>()
    const result = compute((user) => {
      if (!known.has(user)) asked.add(user)
      return known.get(user) ?? []
    })
    if (asked.size === 0) return { result, isTransient: false }
    for (const user of asked) known.set(user, await this.groupsOf(user))
    return { result: compute((user) => known.get(user) ?? []), isTransient: true }
  }
}

/** The name that the API, the log and the audit trail give to this owner. */
export function nameOf(owner: Owner): string {
  switch (owner.kind) {
    case 'user':
      return owner.user.name
    case 'service':
      return owner.service.name
    case 'operator':
      return 'operator'
  }
}

/** Names of the owner's own roles. */
function roleNames(grants: readonly Grant[]): readonly string[] {
  return grants
    .filter(({ kind, group }) => kind === 'role' && group === null)
    .map(({ name }) => name)
}

/** What `!user`, `!service` and `!server` mean in the scopes of a token that was issued to this client. */
export function scopeOwnerOf(owner: Owner, client: Token['client']): ScopeOwner {
  const serviceName = owner.kind === 'service' ? owner.service.name : (client?.service ?? null)
  const server = client?.server ?? null
  return {
    ...(owner.kind === 'user' ? { userName: owner.user.name } : {}),
    ...(serviceName === null ? {} : { serviceName }),
    ...(server === null ? {} : { server }),
  }
}

/** A token's own scopes, and access to where it was issued, as long as its owner may go there. */
export function rawScopesOf({
  client,
  scopes,
}: Pick<Token, 'client' | 'scopes'>): readonly string[] {
  if (client?.server) return [...scopes, `access:servers!server=${client.server}`]
  return client?.service ? [...scopes, `access:services!service=${client.service}`] : scopes
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
  const depends = scopes.some((scope) => filtersOf(caller.scopes, scope).group.length > 0)
  const groups = depends && 'user' in resource ? await access.groupsOf(resource.user) : []
  if (scopes.some((scope) => allows(caller.scopes, scope, resource, () => groups))) return caller
  if (resource.kind !== 'none' && scopes.some((scope) => holdsAny(caller.scopes, scope)))
    throw new HubError('not_found', 'No access to resources or resources not found')
  throw new HubError(
    'missing_scope',
    `Action is not authorized with current scopes; requires any of [${scopes.join(', ')}]`,
  )
}
