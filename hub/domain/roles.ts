import type { Authenticator } from '../../packages/core/authenticator.ts'
import { describeError, HubError } from '../../packages/core/errors.ts'
import { within } from '../../packages/core/promises.ts'
import { defaultRoles } from '../../packages/core/scopes.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { ConfiguredGroups, ConfiguredRole } from '../config/roles.ts'
import type { Log } from '../log.ts'
import type { GroupStore } from '../store/groups.ts'
import type { ManagedRolePlan, RoleDefinition, RolePlan, RoleStore } from '../store/roles.ts'
import type { UserStore } from '../store/users.ts'
import { invalidName } from './admission.ts'

/**
 * The raw scopes of these roles together.
 * @throws {HubError} `invalid_request`, naming the roles that do not exist.
 */
export async function scopesOfRoles(
  store: RoleStore,
  names: readonly string[],
): Promise<readonly string[]> {
  const found = await Promise.all(names.map((name) => store.scopesOf(name)))
  const unknown = names.filter((_name, index) => found[index] === null)
  if (unknown.length > 0)
    throw new HubError(
      'invalid_request',
      `Requested roles do not exist: ${unknown.map((name) => name.slice(0, 64)).join(', ')}`,
    )
  return [...new Set(found.flatMap((scopes) => scopes ?? []))]
}

/** What the config says about groups and roles. */
export interface ConfiguredRights {
  readonly loadRoles: readonly ConfiguredRole[]
  readonly loadGroups: ConfiguredGroups
  readonly extraUserScopes: readonly string[]
  /** Admins whom other options name. */
  readonly adminUsers: readonly string[]
  readonly usernamePattern: RegExp | null
}

export interface LoadRightsDeps {
  readonly users: UserStore
  readonly groups: GroupStore
  readonly roles: RoleStore
  /** Row ids of the services there are, by name. */
  readonly services: ReadonlyMap<string, number>
  readonly log: Log
  readonly clock: () => Date
}

/**
 * Puts the configured groups and roles into the database, at every start of the hub and before it
 * serves anybody. Users and groups that are named and do not exist are made. A list of members is the
 * whole of them, and one that is absent empties the role, except for users of `user` (everybody) and
 * for `admin`. Roles that the config does not have any more are deleted; default roles never are.
 * @see https://jupyterhub.readthedocs.io/en/latest/rbac/roles.html#defining-roles
 * @throws {HubError} `invalid_request` for a service that does not exist or a name nobody can have.
 */
export async function loadRights(deps: LoadRightsDeps, config: ConfiguredRights): Promise<void> {
  const { users, roles, groups, log } = deps
  const before = new Map((await roles.all()).map((role) => [role.name, role]))
  await roles.define(defaultRoles)
  const names = new Names(deps, config.usernamePattern)
  for (const [name, { users: members, properties }] of Object.entries(config.loadGroups)) {
    const [id = 0] = await names.groupIds([name])
    await groups.add(id, await names.userIds(members))
    if (properties) await groups.setProperties(id, properties)
  }
  const admins = await names.userIds(config.adminUsers)
  for (const name of config.adminUsers) await users.setAdmin(name, true)
  const plans: RolePlan[] = []
  for (const role of definitions(config)) plans.push(await planOf(role, names, admins))
  await roles.load(plans)
  for (const { name, scopes } of plans) {
    const gained = scopes.filter((scope) => before.get(name)?.scopes.includes(scope) === false)
    if (gained.length > 0) log.warn(`the role ${name} has gained scopes: ${gained.join(', ')}`)
  }
}

/** Milliseconds that an authenticator has to say which roles there are. */
const patience = 60_000

export interface ManagedRolesDeps extends Omit<LoadRightsDeps, 'services'> {
  readonly authenticator: Pick<Authenticator, 'loadManagedRoles'>
}

/**
 * Loads the roles that the authenticator manages, with their members. What it has given before stays,
 * unless `reset` says that only this counts: then a start without its answer fails.
 * @throws {HubError} `invalid_request` for a name nobody can have, and with `reset` when the
 * authenticator cannot say which roles there are; what it throws itself.
 */
export async function loadManagedRoles(
  deps: ManagedRolesDeps,
  options: {
    readonly reset: boolean
    readonly usernamePattern: RegExp | null
    /** The authenticator's name, for messages. */
    readonly provider: string
  },
): Promise<void> {
  const { authenticator, users, roles, log } = deps
  const { reset, usernamePattern, provider } = options
  if (!authenticator.loadManagedRoles) {
    if (!reset) return
    throw new HubError(
      'invalid_request',
      `The authenticator '${provider}' cannot say which roles there are, so that authenticator.resetManagedRolesOnStartup would leave none: remove that option`,
    )
  }
  try {
    const asked = authenticator.loadManagedRoles()
    const given = await within(patience, asked, `'${provider}'`)
    const names = new Names({ ...deps, services: new Map() }, usernamePattern)
    const plans: ManagedRolePlan[] = []
    for (const role of given) {
      const members = {
        users: await names.userIds(role.users ?? []),
        groups: await names.groupIds(role.groups ?? []),
      }
      // The mark of an admin goes with the role, and everybody has the role `user`.
      if (role.name === 'admin')
        for (const name of role.users ?? []) await users.setAdmin(name, true)
      else if (role.name !== 'user') plans.push({ ...role, ...members })
    }
    await roles.loadManaged(plans, { reset })
  } catch (error) {
    if (reset) throw error
    log.error('the roles of the authenticator could not be loaded', { error: describeError(error) })
  }
}

type Definition = RoleDefinition & Pick<ConfiguredRole, 'users' | 'groups' | 'services'>

/** The default roles, with what the config changes about them, and the configured ones. */
function definitions({ loadRoles, extraUserScopes }: ConfiguredRights): readonly Definition[] {
  const configured = (name: string): Partial<ConfiguredRole> =>
    loadRoles.find((role) => role.name === name) ?? {}
  const standard = defaultRoles.map((role) => ({
    ...role,
    scopes: role.name === 'user' ? [...new Set([...role.scopes, ...extraUserScopes])] : role.scopes,
    ...defined(configured(role.name)),
  }))
  const others = loadRoles.filter(({ name }) => standard.every((role) => role.name !== name))
  return [...standard, ...others.map((role) => ({ description: '', scopes: [], ...defined(role) }))]
}

/** Without what is not given, which must not hide a default. */
function defined<T extends object>(value: T): { [Key in keyof T]: Exclude<T[Key], undefined> } {
  const entries = Object.entries(value).filter(([, part]) => part !== undefined)
  return Object.fromEntries(entries) as { [Key in keyof T]: Exclude<T[Key], undefined> }
}

async function planOf(
  role: Definition,
  names: Names,
  admins: readonly number[],
): Promise<RolePlan> {
  const { name, description, scopes } = role
  const keeps = name === 'admin'
  const users = role.users ? await names.userIds(role.users) : null
  const groups = role.groups ? await names.groupIds(role.groups) : null
  const services = role.services ? names.serviceIds(name, role.services) : null
  return {
    name,
    description,
    scopes,
    users: name === 'user' ? null : keeps ? users && [...users, ...admins] : (users ?? []),
    groups: keeps ? groups : (groups ?? []),
    services: keeps ? services : (services ?? []),
  }
}

/** From names in the config to row ids; users and groups come to be by being named. */
class Names {
  readonly #deps: LoadRightsDeps
  readonly #pattern: RegExp | null

  constructor(deps: LoadRightsDeps, pattern: RegExp | null) {
    this.#deps = deps
    this.#pattern = pattern
  }

  async userIds(names: readonly string[]): Promise<readonly number[]> {
    const { users, clock } = this.#deps
    const keys = [...new Set(names.map(nameKey))]
    for (const key of keys) {
      const invalid = invalidName(key, this.#pattern)
      if (invalid !== null)
        throw new HubError('invalid_request', `the config names the user ${key}: ${invalid}`)
    }
    await users.createAll(keys, { admin: false, now: clock() })
    const found = await Promise.all(keys.map((key) => users.findByName(key)))
    return found.flatMap((user) => user?.id ?? [])
  }

  async groupIds(names: readonly string[]): Promise<readonly number[]> {
    const { groups, clock } = this.#deps
    const ids: number[] = []
    for (const name of names) {
      const found = await groups.findByName(name)
      const made = found ? null : await groups.create([name], [], clock())
      ids.push(...[found, ...(made ?? [])].flatMap((group) => group?.id ?? []))
    }
    return ids
  }

  serviceIds(role: string, names: readonly string[]): readonly number[] {
    return names.map((name) => {
      const id = this.#deps.services.get(name)
      if (id !== undefined) return id
      throw new HubError(
        'invalid_request',
        `hub.loadRoles gives the role ${role} to a service that is not there: ${name}`,
      )
    })
  }
}
