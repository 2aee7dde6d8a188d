import { defaultRoles, scopeCatalogue } from '../../packages/core/scopes.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Config } from '../config.ts'
import { type Access, createAccess } from '../domain/access.ts'
import { Changes } from '../domain/changes.ts'
import { loadRights } from '../domain/roles.ts'
import { recordServices } from '../domain/services.ts'
import type { Log } from '../log.ts'
import type { Database } from '../store/database.ts'
import { type GroupStore, groupStore } from '../store/groups.ts'
import { type RoleStore, roleStore } from '../store/roles.ts'
import { serviceStore } from '../store/services.ts'
import type { SessionStore } from '../store/sessions.ts'
import type { TokenStore } from '../store/tokens.ts'
import type { UserStore } from '../store/users.ts'

export interface RightsDeps {
  readonly config: Config
  readonly database: Database
  readonly users: UserStore
  readonly tokens: TokenStore
  readonly sessions: SessionStore
  readonly log: Log
  readonly clock: () => Date
}

/** Who may do what: groups and roles as the config has them, and what turns credentials into callers. */
export interface Rights {
  readonly roles: RoleStore
  readonly groupRows: GroupStore
  readonly changes: Changes
  readonly access: Access
  /** Keys of the names that the config blocks. */
  readonly blockedNames: ReadonlySet<string>
}

/**
 * Puts services, roles and groups into the database before anybody is served.
 * @throws {HubError} `invalid_request` for names in the config that cannot be.
 */
export async function createRights(deps: RightsDeps): Promise<Rights> {
  const { config, database, ...stores } = deps
  const { hub, authenticator } = config
  const { base } = authenticator
  const roles = roleStore(database)
  const groupRows = groupStore(database)
  await roles.define(defaultRoles)
  const serviceRows = serviceStore(database)
  await recordServices({
    store: serviceRows,
    configured: config.services,
    now: deps.clock(),
  })
  const services = new Map((await serviceRows.all()).map(({ id, name }) => [name, id]))
  await loadRights(
    { ...stores, roles, groups: groupRows, services },
    {
      ...hub,
      adminUsers: [...new Set([...hub.adminUsers, ...base.adminUsers])],
      usernamePattern: base.usernamePattern,
    },
  )
  const changes = new Changes()
  const catalogue = scopeCatalogue(hub.customScopes)
  const blockedNames = new Set(base.blockedUsers.map(nameKey))
  const access = createAccess({ ...stores, roles, changes, catalogue, blocked: blockedNames })
  return { roles, groupRows, changes, access, blockedNames }
}
