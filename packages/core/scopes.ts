/**
 * Scopes as JupyterHub 6 knows them: the catalogue, expansion, filters, checks and intersection.
 * Pure functions over strings of the form `scope` or `scope!filter=name`.
 * @see https://jupyterhub.readthedocs.io/en/latest/rbac/scopes.html
 */

interface ScopeEntry {
  readonly description: string
  readonly subscopes: readonly string[]
}

const entry = (description: string, ...subscopes: readonly string[]): ScopeEntry => ({
  description,
  subscopes,
})

const catalogue: Readonly<Record<string, ScopeEntry>> = {
  '(no_scope)': entry('Identify the owner of the requesting entity'),
  self: entry('Everything about your own user'),
  inherit: entry('Everything the owner of this token may do'),
  'admin-ui': entry('See the admin page'),
  'admin:users': entry(
    'Read, change, create and delete users',
    'admin:auth_state',
    'users',
    'read:roles:users',
    'delete:users',
  ),
  'admin:auth_state': entry("Read a user's authentication state"),
  users: entry('Read and change users', 'read:users', 'list:users', 'users:activity'),
  'delete:users': entry('Delete users'),
  'list:users': entry('List users', 'read:users:name'),
  'read:users': entry('Read users', 'read:users:name', 'read:users:groups', 'read:users:activity'),
  'read:users:name': entry('Read names of users'),
  'read:users:groups': entry("Read users' groups"),
  'read:users:activity': entry('Read when users were last active'),
  'read:roles': entry(
    'Read role assignments',
    'read:roles:users',
    'read:roles:services',
    'read:roles:groups',
  ),
  'read:roles:users': entry('Read roles of users'),
  'read:roles:services': entry('Read roles of services'),
  'read:roles:groups': entry('Read roles of groups'),
  'users:activity': entry('Update when users were last active', 'read:users:activity'),
  'admin:servers': entry('Manage servers and their state', 'admin:server_state', 'servers'),
  'admin:server_state': entry("Read and change servers' state"),
  servers: entry('Start and stop servers', 'read:servers', 'start:servers', 'delete:servers'),
  'read:servers': entry('Read servers', 'read:users:name'),
  'start:servers': entry('Start servers'),
  'delete:servers': entry('Stop and delete servers'),
  tokens: entry('Read, create and revoke tokens', 'read:tokens'),
  'read:tokens': entry('Read tokens'),
  'admin:groups': entry(
    'Read, change, create and delete groups',
    'groups',
    'read:roles:groups',
    'delete:groups',
  ),
  groups: entry('Read and change groups', 'read:groups', 'list:groups'),
  'list:groups': entry('List groups', 'read:groups:name'),
  'read:groups': entry('Read groups', 'read:groups:name'),
  'read:groups:name': entry('Read names of groups'),
  'delete:groups': entry('Delete groups'),
  'admin:services': entry(
    'Create and delete services',
    'list:services',
    'read:services',
    'read:roles:services',
  ),
  'list:services': entry('List services', 'read:services:name'),
  'read:services': entry('Read services', 'read:services:name'),
  'read:services:name': entry('Read names of services'),
  'read:hub': entry('Read information about the hub'),
  'access:servers': entry('Open servers in the browser or by their API'),
  'access:services': entry('Open services in the browser or by their API'),
  'users:shares': entry("Read and leave a user's shared servers", 'read:users:shares'),
  'groups:shares': entry("Read and leave a group's shared servers", 'read:groups:shares'),
  'read:users:shares': entry('Read what is shared with a user'),
  'read:groups:shares': entry('Read what is shared with a group'),
  'read:shares': entry('Read who a server is shared with'),
  shares: entry('Share servers', 'access:servers', 'read:shares', 'users:shares', 'groups:shares'),
  proxy: entry('Read and refresh the routing table'),
  shutdown: entry('Shut the hub down'),
  'read:metrics': entry('Read metrics'),
}

/** What a user may do with their own account: `self`, without the `!user=` filters. */
const selfScopes = [
  'read:users',
  'read:users:name',
  'read:users:groups',
  'read:users:activity',
  'users:shares',
  'read:users:shares',
  'read:shares',
  'users:activity',
  'servers',
  'read:servers',
  'start:servers',
  'delete:servers',
  'tokens',
  'read:tokens',
  'access:servers',
] as const

/** Roles every hub has (JupyterHub's default roles). */
export const defaultRoles = [
  { name: 'user', description: 'Standard user privileges', scopes: ['self'] },
  {
    name: 'admin',
    description: 'Elevated privileges (can do anything)',
    scopes: [
      'admin-ui',
      'admin:users',
      'admin:servers',
      'admin:services',
      'tokens',
      'admin:groups',
      'list:services',
      'read:services',
      'read:hub',
      'proxy',
      'shutdown',
      'access:services',
      'access:servers',
      'read:roles',
      'read:metrics',
      'shares',
    ],
  },
  {
    name: 'server',
    description: 'Post activity only',
    scopes: ['users:activity!user', 'access:servers!server'],
  },
  { name: 'token', description: 'Token with the rights of its owner', scopes: ['inherit'] },
] as const

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

const filterPattern = /^(?:(?:user|group|service)=[^!]+|server=[^!]+\/[^!]*|user|service|server)$/s
const customPattern = /^custom:[a-z0-9][a-z0-9_\-*:]+[a-z0-9_*]$/

/** Whether `scope` is a scope of the catalogue with a filter that exists. */
export function isScope(scope: string): boolean {
  const [base, filter] = split(scope)
  if (!(Object.hasOwn(catalogue, base) || customPattern.test(base))) return false
  return filter === null || filterPattern.test(filter)
}

/** What a scope allows, in words, for a consent page. */
export function describeScope(scope: string): { description: string; filter: string | null } {
  const [base, filter] = split(scope)
  return { description: catalogue[base]?.description ?? base, filter }
}

/**
 * Raw scopes (as written in roles, tokens and shares) to the set of every scope they grant:
 * sub-scopes, `self`, and filters that name their owner. Unknown scopes and self-filters without a
 * target grant nothing. `inherit` stays in the set as itself.
 */
export function expandScopes(raw: Iterable<string>, owner: ScopeOwner): ReadonlySet<string> {
  const expanded = new Set<string>()
  for (const scope of raw) {
    const [base, filter] = split(scope)
    if (base === 'self') {
      if (owner.userName !== undefined)
        for (const own of selfScopes) expanded.add(`${own}!user=${owner.userName}`)
      continue
    }
    const suffix = resolveFilter(filter, owner)
    if (suffix === null || !isScope(scope)) continue
    const isServerFilter = suffix.startsWith('!server=')
    for (const granted of withSubscopes(base))
      if (!isServerFilter || granted === base || !granted.startsWith('read:user'))
        expanded.add(granted + suffix)
  }
  for (const scope of expanded) {
    const [base, filter] = split(scope)
    if (filter !== null && expanded.has(base)) expanded.delete(scope)
  }
  return expanded
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
  if (!holdsFiltered(granted, scope, 'group')) return false
  return groupsOf(resource.user).some((group) => granted.has(`${scope}!group=${group}`))
}

/** Whether any form of `scope`, filtered or not, is held. */
export function holdsAny(granted: ReadonlySet<string>, scope: string): boolean {
  return granted.has(scope) || holdsFiltered(granted, scope, '')
}

/** The names that filtered forms of `scope` allow, by kind. Meaningful when the bare scope is not held. */
export function filtersOf(
  granted: ReadonlySet<string>,
  scope: string,
): Readonly<Record<'user' | 'group' | 'server' | 'service', readonly string[]>> {
  const filters = {
    user: [] as string[],
    group: [] as string[],
    server: [] as string[],
    service: [] as string[],
  }
  for (const held of granted) {
    if (!held.startsWith(`${scope}!`)) continue
    const [kind, name] = cut(held.slice(scope.length + 1), '=')
    if (name !== null && kind in filters) filters[kind as keyof typeof filters].push(name)
  }
  return filters
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

function withSubscopes(base: string): readonly string[] {
  const known = transitive.get(base)
  if (known) return known
  const all = new Set([base])
  for (const scope of all)
    for (const sub of Object.hasOwn(catalogue, scope) ? (catalogue[scope]?.subscopes ?? []) : [])
      all.add(sub)
  const list = [...all]
  if (Object.hasOwn(catalogue, base)) transitive.set(base, list)
  return list
}

const transitive = new Map<string, readonly string[]>()

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

function holdsFiltered(granted: ReadonlySet<string>, scope: string, kind: string): boolean {
  const start = `${scope}!${kind}`
  for (const held of granted) if (held.startsWith(start)) return true
  return false
}

function split(scope: string): [base: string, filter: string | null] {
  return cut(scope, '!')
}

function cut(text: string, separator: string): [string, string | null] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + separator.length)]
}
