/**
 * The scopes there are: those of JupyterHub 6, and custom ones from the config.
 * @see https://jupyterhub.readthedocs.io/en/latest/rbac/scopes.html#available-scopes
 */

/** One scope: what it allows, in words, and the scopes that it directly includes. */
interface ScopeEntry {
  readonly description: string
  readonly subscopes: readonly string[]
}

const entry = (description: string, ...subscopes: readonly string[]): ScopeEntry => ({
  description,
  subscopes,
})

const builtIn: Readonly<Record<string, ScopeEntry>> = {
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
export const selfScopes = [
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

/** A scope that the config defines; its name begins with `custom:`. */
export interface CustomScope {
  readonly description: string
  /** Names of other custom scopes that it includes. */
  readonly subscopes?: readonly string[] | undefined
}

/** Which scopes exist, without filters, and what each one includes. */
export interface ScopeCatalogue {
  has(scope: string): boolean
  /** Null when there is no such scope. */
  describe(scope: string): string | null
  /** The scope itself and all that it includes, directly or not; empty when there is no such scope. */
  withSubscopes(scope: string): readonly string[]
}

const customPattern = /^custom:[a-z0-9][a-z0-9_\-*:]+[a-z0-9_*]$/

/** Whether a custom scope may be called this (JupyterHub: `custom_scopes`). */
export function isCustomScopeName(name: string): boolean {
  return customPattern.test(name)
}

/** The built-in scopes together with these. */
export function scopeCatalogue(custom: Readonly<Record<string, CustomScope>> = {}): ScopeCatalogue {
  const entries = new Map<string, ScopeEntry>(Object.entries(builtIn))
  for (const [name, { description, subscopes = [] }] of Object.entries(custom))
    entries.set(name, { description, subscopes })
  const transitive = new Map<string, readonly string[]>()
  return {
    has: (scope) => entries.has(scope),
    describe: (scope) => entries.get(scope)?.description ?? null,
    withSubscopes(scope) {
      const known = transitive.get(scope)
      if (known) return known
      if (!entries.has(scope)) return []
      const all = new Set([scope])
      for (const one of all) for (const sub of entries.get(one)?.subscopes ?? []) all.add(sub)
      transitive.set(scope, [...all])
      return [...all]
    },
  }
}

/** The scopes of a hub whose config defines none. */
export const builtInScopes: ScopeCatalogue = scopeCatalogue()
