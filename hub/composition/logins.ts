import { describeError, HubError } from '../../packages/core/errors.ts'
import type { Authenticator, AuthenticatorContext } from '../../packages/core/authenticator.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Config } from '../config.ts'
import { type AccessEndingDeps, endAccess } from '../domain/access-ending.ts'
import { type AdmissionDeps, createAdmission, mapName } from '../domain/admission.ts'
import { type AuthStates, createAuthStates } from '../domain/auth-states.ts'
import { IdentityRecords } from '../domain/identity-records.ts'
import { LoginAccounts } from '../domain/login-accounts.ts'
import { LoginGuard } from '../domain/login-guard.ts'
import { createLogin, type Login, type LoginDeps } from '../domain/login.ts'
import { providerSessions } from '../domain/provider-sessions.ts'
import { loadManagedRoles, type ManagedRolesDeps } from '../domain/roles.ts'
import { createRefresher, type Refresher } from '../domain/refresh.ts'
import type { Users } from '../domain/users.ts'
import type { Metrics } from '../metrics.ts'
import type { Secrets } from '../secrets.ts'
import type { Database } from '../store/database.ts'
import { fernet } from '../store/fernet.ts'
import type { GroupStore } from '../store/groups.ts'
import { type IdentityStore, identityStore } from '../store/identities.ts'
import { passwordStore } from '../store/native-passwords.ts'
import type { RoleStore } from '../store/roles.ts'
import type { User } from '../store/users.ts'

export interface AuthenticatorDeps extends Omit<AccessEndingDeps, 'stopServers' | 'tokens'> {
  readonly config: Config
  readonly secrets: Secrets
  readonly database: Database
  readonly users: AdmissionDeps['users']
  readonly metrics: LoginDeps['metrics'] & Pick<Metrics, 'loginThrottled'>
  readonly clock: () => Date
}

/** The configured authenticator, with what the hub keeps for it. */
export interface Authentication {
  readonly authenticator: Authenticator
  /** The accounts at providers that it knows people by. */
  readonly identities: IdentityStore
  readonly authStates: AuthStates
  /** Slows guessing, at the login page and elsewhere. */
  readonly guard: LoginGuard
  /** What stands beside the field for a one-time password; null: there is none. */
  readonly otpPrompt: string | null
}

/** @throws {HubError} `invalid_request` when auth state is to be kept and there is no key. */
export async function createAuthentication(deps: AuthenticatorDeps): Promise<Authentication> {
  const { config, secrets, users, log } = deps
  const { driver, options, base } = config.authenticator
  const cipher = fernet(secrets.cryptKeys)
  if (base.enableAuthState && !cipher)
    throw new HubError(
      'invalid_request',
      "'authenticator.enableAuthState' needs a key in JUPYTERHUB_CRYPT_KEY: 32 random bytes, as `openssl rand -hex 32` makes them",
    )
  const identities = identityStore(deps.database)
  const guard = new LoginGuard({
    ...base,
    metrics: deps.metrics,
    throttled: (user, peer) => deps.events.emit({ kind: 'login-throttled', user, peer }),
  })
  const otpPrompt = base.requestOtp ? base.otpPrompt : null
  const hub = contextOf({ ...deps, identities, guard, otpPrompt })
  const authenticator = await driver.create(options, hub)
  const kept = base.enableAuthState ? cipher : null
  const authStates = createAuthStates({ users, log, cipher: kept })
  return { authenticator, identities, authStates, guard, otpPrompt }
}

/** What the authenticator may use of the hub. */
function contextOf(
  deps: AuthenticatorDeps & Pick<Authentication, 'identities' | 'guard' | 'otpPrompt'>,
): AuthenticatorContext {
  const { config, secrets, database, users, sessions, changes, guard, otpPrompt, log, clock } = deps
  const { hub, authenticator } = config
  const { base, driver } = authenticator
  const admins = new Set(configAdmins(config).map(nameKey))
  const names = [base.allowedUsers, base.blockedUsers, Object.keys(base.usernameMap)].flat()
  const reserved = new Set([...admins, ...names.map(nameKey)])
  const mapped = (userName: string): string => nameKey(mapName(base.usernameMap, userName))
  return {
    log,
    manageGroups: base.manageGroups,
    otpPrompt,
    passwords: passwordStore(database, { cipher: fernet(secrets.cryptKeys), clock, users }),
    isReserved: (userName) => reserved.has(nameKey(userName)) || reserved.has(mapped(userName)),
    attempt: (userName, peer) => guard.begin(userName, peer),
    isAdmin: (userName) => admins.has(mapped(userName)),
    async endLogins(userName) {
      const user = await users.findByName(userName)
      if (!user) return
      await sessions.deleteOfUser(user.id)
      changes.touchRights(user.id)
    },
    publicUrl: (path) => (hub.publicUrl ? new URL(`hub${path}`, hub.publicUrl) : null),
    endSessions: providerSessions({ ...deps, provider: driver.name }),
  }
}

/** Whom the config makes admins, by any of its options. */
function configAdmins({ hub, authenticator }: Config): readonly string[] {
  const byRole = hub.loadRoles.flatMap(({ name, users = [] }) => (name === 'admin' ? users : []))
  return [...hub.adminUsers, ...authenticator.base.adminUsers, ...byRole]
}

/** What comes of an authenticator's word: logins, and looks at old ones. */
export interface Logins {
  readonly login: Login
  readonly refresher: Refresher
}

export interface LoginsDeps extends Authentication, AccessEndingDeps {
  readonly config: Config
  readonly secrets: Secrets
  readonly users: AdmissionDeps['users']
  readonly groupRows: GroupStore
  readonly roles: RoleStore
  readonly metrics: LoginDeps['metrics']
  readonly clock: () => Date
}

/** The login pipeline and the refreshes as this config wants them. */
export function createLogins(deps: LoginsDeps): Logins {
  const { config, secrets } = deps
  const { base: options, driver } = config.authenticator
  const common = { ...deps, options, provider: driver.name }
  const rules = { ...common, configAdmins: configAdmins(config) }
  const admission = createAdmission(rules)
  const records = new IdentityRecords(rules)
  const refresher = createRefresher({ ...common, admission, records })
  const login = createLogin({
    ...common,
    admission,
    records,
    accounts: new LoginAccounts(rules),
    noteLogin: (user) => refresher.noteLogin(user),
    spawnerRefusal: async (userName) =>
      (await config.spawner.driver.refusal?.(config.spawner.options, userName)) ?? null,
    sessionDays: config.hub.cookieMaxAgeDays,
    cookieKeyId: secrets.cookieKeyId,
  })
  return { login, refresher }
}

/**
 * Ends what users still have whom the config has blocked since, or whom a hub that was killed was just
 * blocking; `stopServers` of the deps is called for each. Admins among them are none any more.
 */
export async function endBlocked(
  deps: AccessEndingDeps & Pick<LoginsDeps, 'config' | 'users'>,
): Promise<void> {
  const { config, users, events } = deps
  for (const user of await users.blocked())
    await endAccess(deps, user, { reason: 'the account is blocked', servers: true })
  for (const name of config.authenticator.base.blockedUsers) {
    const user = await users.findByName(name)
    if (!user) continue
    if (user.admin) {
      await users.setAdmin(user.name, false)
      events.emit({ kind: 'admin-changed', user: user.name, admin: false, by: 'hub' })
    }
    await endAccess(deps, user, { reason: 'authenticator.blockedUsers', servers: true })
  }
}

/** Loads the roles that the authenticator manages, where the config lets it. */
export async function loadRolesOfAuthenticator(
  deps: Omit<ManagedRolesDeps, 'groups'> & Pick<LoginsDeps, 'config' | 'groupRows'>,
): Promise<void> {
  const { base, driver } = deps.config.authenticator
  const { manageRoles, resetManagedRolesOnStartup: reset, usernamePattern } = base
  const options = { reset, usernamePattern, provider: driver.name }
  if (manageRoles) await loadManagedRoles({ ...deps, groups: deps.groupRows }, options)
}

/** Most users whom the authenticator is told of at once. */
const pageSize = 100

/**
 * Tells the authenticator of every user that there is, as JupyterHub does at each start. Those whom it
 * does not know any more are deleted where the config says so, else named in the log.
 */
export async function introduceUsers(deps: {
  readonly config: Config
  readonly authenticator: Authenticator
  readonly users: Users
  readonly log: AuthenticatorDeps['log']
}): Promise<void> {
  const { config, authenticator, users, log } = deps
  const { deleteInvalidUsers } = config.authenticator.base
  if (!authenticator.addUser) return
  const unknown: User[] = []
  let total = 0
  for (let offset = 0; ; offset += pageSize) {
    const sort = { by: 'id', descending: false } as const
    const page = await users.page({ sort, offset, limit: pageSize })
    for (const user of await users.details(page.users.map(({ id }) => id)))
      await authenticator.addUser(user.name).catch((error: unknown) => {
        const isUnknown = error instanceof HubError && error.code === 'invalid_request'
        if (isUnknown) unknown.push(user)
        log.warn(`the user ${user.name} is not fit for the authenticator`, {
          reason: describeError(error),
          deleting: isUnknown && deleteInvalidUsers,
        })
      })
    total += page.users.length
    if (page.users.length < pageSize) break
  }
  if (deleteInvalidUsers && total > 1 && unknown.length === total)
    return log.error(
      `none of the ${total} users is known to the authenticator: nobody is deleted, since whatever it asks may be down`,
    )
  if (deleteInvalidUsers) for (const user of unknown) await users.delete(user, 'hub')
}
