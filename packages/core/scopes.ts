/**
 * Scopes as JupyterHub 6 knows them: expansion, filters, checks and intersection. Pure functions
 * over strings of the form `scope` or `scope!filter=name`.
 * @see https://jupyterhub.readthedocs.io/en/latest/rbac/scopes.html
 */
import { builtInScopes, type ScopeCatalogue, selfScopes } from './scope-catalogue.ts'

export {
  type CustomScope,
  defaultRoles,
  isCustomScopeName,
  type ScopeCatalogue,
  scopeCatalogue,
} from './scope-catalogue.ts'

/** What `!user`, `!service`, `!server` and `self` stand for. Absent parts have no such target. */
export interface ScopeOwner {
  readonly userName?: string
  readonly serviceName?: string
  /** `user/server` of the OAuth client that issued the token, or of the server the token belongs to. */
  readonly server?: string
}

/** What one request is about. At most one of the parts is set, except that `server` implies its user. */
export type Resource =
  | { readonly kind: 'none' }
  | { readonly kind: 'user'; readonly user: string }
  | { readonly kind: 'server'; readonly user: string; readonly server: string }
  | { readonly kind: 'group'; readonly group: string }
  | { readonly kind: 'service'; readonly service: string }

const filterPattern = /^(?:(?:user|group|service)=.+|server=[^/]+\/.*|user|service|server)$/s

/** Stand for scopes of their owner; a filter on them means nothing. */
const metascopes: ReadonlySet<string> = new Set(['self', 'inherit', '(no_scope)'])

/** Whether `scope` is a scope of the catalogue with a filter that exists. */
export function isScope(scope: string, catalogue: ScopeCatalogue = builtInScopes): boolean {
  const [base, filter] = split(scope)
  if (!catalogue.has(base)) return false
  return filter === null || (filterPattern.test(filter) && !metascopes.has(base))
}

/** Those that are no scopes, each with a hint where there is one: for a message. */
export function unknownScopes(
  scopes: Iterable<string>,
  catalogue: ScopeCatalogue = builtInScopes,
): readonly string[] {
  return [...scopes]
    .filter((scope) => !isScope(scope, catalogue))
    .map((scope) => {
      const shown = JSON.stringify(scope.slice(0, 100))
      return scope === 'all' ? `${shown} (is "inherit" meant?)` : shown
    })
}

/** What a scope allows, in words, for a consent page. */
export function describeScope(
  scope: string,
  catalogue: ScopeCatalogue = builtInScopes,
): { description: string; filter: string | null } {
  const [base, filter] = split(scope)
  return { description: catalogue.describe(base) ?? base, filter }
}

/**
 * Raw scopes (as written in roles, tokens and shares) to the set of every scope they grant:
 * sub-scopes, `self`, and filters that name their owner. Unknown scopes and self-filters without a
 * target grant nothing. `inherit` stays in the set as itself.
 */
export function expandScopes(
  raw: Iterable<string>,
  owner: ScopeOwner,
  catalogue: ScopeCatalogue = builtInScopes,
): ReadonlySet<string> {
  const expanded = new Set<string>()
  for (const scope of raw) {
    if (!isScope(scope, catalogue)) continue
    const [base, filter] = split(scope)
    const suffix = resolveFilter(filter, owner)
    if (suffix === null) continue
    if (base === 'self') addSelf(expanded, owner)
    else addExpanded(expanded, suffix, catalogue.withSubscopes(base))
  }
  for (const scope of expanded) {
    const [base, filter] = split(scope)
    if (filter !== null && expanded.has(base)) expanded.delete(scope)
  }
  return expanded
}

function addSelf(expanded: Set<string>, { userName }: ScopeOwner): void {
  if (userName !== undefined) for (const own of selfScopes) expanded.add(`${own}!user=${userName}`)
}

/** A server's filter does not reach the models of users, which lie outside it. */
function addExpanded(expanded: Set<string>, suffix: string, scopes: readonly string[]): void {
  const isOfServer = suffix.startsWith('!server=')
  for (const [index, scope] of scopes.entries())
    if (!isOfServer || index === 0 || !scope.startsWith('read:user')) expanded.add(scope + suffix)
}

/**
 * Whether the expanded scopes allow `scope` on `resource`. `groupsOf` names the groups of the
 * resource's user; it is asked only when a group-filtered form of the scope is held.
 */
export function allows(
  granted: ReadonlySet<string>,
  scope: string,
  resource: Resource,
  groupsOf: (user: string) => readonly string[] = () => [],
): boolean {
  if (granted.has(scope)) return true
  switch (resource.kind) {
    case 'none':
      return false
    case 'group':
      return granted.has(`${scope}!group=${resource.group}`)
    case 'service':
      return granted.has(`${scope}!service=${resource.service}`)
    case 'server':
      if (granted.has(`${scope}!server=${resource.user}/${resource.server}`)) return true
      break
    case 'user':
      break
  }
  if (granted.has(`${scope}!user=${resource.user}`)) return true
  if (filtersOf(granted, scope).group.length === 0) return false
  return groupsOf(resource.user).some((group) => granted.has(`${scope}!group=${group}`))
}

/** Whether any form of `scope`, filtered or not, is held. */
export function holdsAny(granted: ReadonlySet<string>, scope: string): boolean {
  return granted.has(scope) || filtersOf(granted, scope) !== noFilters
}

/** Names that filtered forms of one scope allow, by kind. */
export type Filters = Readonly<Record<'user' | 'group' | 'server' | 'service', readonly string[]>>

const noFilters: Filters = { user: [], group: [], server: [], service: [] }

/** The names that filtered forms of `scope` allow, by kind. Meaningful when the bare scope is not held. */
export function filtersOf(granted: ReadonlySet<string>, scope: string): Filters {
  return indexOf(granted).get(scope) ?? noFilters
}

/** Filters by scope, found once per set: a set of scopes never changes once it is in use. */
const indexes = new WeakMap<ReadonlySet<string>, ReadonlyMap<string, Filters>>()

function indexOf(granted: ReadonlySet<string>): ReadonlyMap<string, Filters> {
  const known = indexes.get(granted)
  if (known) return known
  const index = new Map<string, Record<keyof Filters, string[]>>()
  for (const held of granted) {
    const [base, filter] = split(held)
    const [kind, name] = cut(filter ?? '', '=')
    if (name === null || !Object.hasOwn(noFilters, kind)) continue
    const filters = index.get(base) ?? { user: [], group: [], server: [], service: [] }
    index.set(base, filters)
    filters[kind as keyof Filters].push(name)
  }
  indexes.set(granted, index)
  return index
}

/**
 * What both expanded sets allow. A server entry of one side survives when the other side has its
 * user, or one of its user's groups; likewise a user entry and the user's groups. Never widens.
 */
export function intersectScopes(
  left: ReadonlySet<string>,
  right: ReadonlySet<string>,
  groupsOf: (user: string) => readonly string[] = () => [],
): ReadonlySet<string> {
  const both = new Set<string>()
  const keep = (from: ReadonlySet<string>, other: ReadonlySet<string>): void => {
    for (const scope of from) if (covers(other, scope, groupsOf)) both.add(scope)
  }
  keep(left, right)
  keep(right, left)
  return both
}

/** Whether the expanded set grants everything the one expanded scope grants. */
export function covers(
  granted: ReadonlySet<string>,
  scope: string,
  groupsOf: (user: string) => readonly string[] = () => [],
): boolean {
  if (granted.has(scope)) return true
  const [base, filter] = split(scope)
  if (filter === null) return false
  return allows(granted, base, resourceOf(filter), groupsOf)
}

function resourceOf(filter: string): Resource {
  const [kind, name] = cut(filter, '=')
  if (name === null) return { kind: 'none' }
  switch (kind) {
    case 'user':
      return { kind: 'user', user: name }
    case 'group':
      return { kind: 'group', group: name }
    case 'service':
      return { kind: 'service', service: name }
    case 'server': {
      const [user, server] = cut(name, '/')
      return { kind: 'server', user, server: server ?? '' }
    }
    default:
      return { kind: 'none' }
  }
}

function resolveFilter(filter: string | null, owner: ScopeOwner): string | null {
  switch (filter) {
    case null:
      return ''
    case 'user':
      return owner.userName === undefined ? null : `!user=${owner.userName}`
    case 'service':
      return owner.serviceName === undefined ? null : `!service=${owner.serviceName}`
    case 'server':
      return owner.server === undefined ? null : `!server=${owner.server}`
    default:
      return `!${filter}`
  }
}

function split(scope: string): [base: string, filter: string | null] {
  return cut(scope, '!')
}

function cut(text: string, separator: string): [string, string | null] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + separator.length)]
}
