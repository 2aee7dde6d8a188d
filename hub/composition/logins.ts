import type { Authenticator, AuthenticatorContext } from '../../packages/core/authenticator.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Config } from '../config.ts'
import type { Changes } from '../domain/changes.ts'
import { createLogin, type Login, type LoginDeps } from '../domain/login.ts'
import { providerSessions } from '../domain/provider-sessions.ts'
import type { Log } from '../log.ts'
import type { Secrets } from '../secrets.ts'
import type { Database } from '../store/database.ts'
import { fernet } from '../store/fernet.ts'
import { type IdentityStore, identityStore } from '../store/identities.ts'
import { passwordStore } from '../store/native-passwords.ts'
import type { SessionStore } from '../store/sessions.ts'
import type { UserStore } from '../store/users.ts'

export interface AuthenticatorDeps {
  readonly config: Config
  readonly secrets: Secrets
  readonly database: Database
  readonly users: UserStore
  readonly sessions: SessionStore
  readonly changes: Changes
  readonly log: Log
  readonly clock: () => Date
}

/** The configured authenticator, with the accounts at providers that it knows people by. */
export async function createAuthenticator(
  deps: AuthenticatorDeps,
): Promise<{ readonly authenticator: Authenticator; readonly identities: IdentityStore }> {
  const { driver, options } = deps.config.authenticator
  const identities = identityStore(deps.database)
  const authenticator = await driver.create(options, contextOf({ ...deps, identities }))
  return { authenticator, identities }
}

/** What the authenticator may use of the hub. */
function contextOf(
  deps: AuthenticatorDeps & { readonly identities: IdentityStore },
): AuthenticatorContext {
  const { config, secrets, database, users, sessions, changes, log, clock } = deps
  const { hub, authenticator } = config
  const { base, driver } = authenticator
  const names = [base.allowedUsers, base.adminUsers, base.blockedUsers, hub.adminUsers].flat()
  const reserved = new Set(names.map(nameKey))
  const admins = new Set([...base.adminUsers, ...hub.adminUsers].map(nameKey))
  return {
    log,
    manageGroups: false,
    passwords: passwordStore(database, { cipher: fernet(secrets.cryptKeys), clock, users }),
    isReserved: (userName) => reserved.has(nameKey(userName)),
    isAdmin: (userName) => admins.has(nameKey(userName)),
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

/** The login pipeline as this config wants it. */
export function createLoginPipeline(
  { config, secrets }: { readonly config: Config; readonly secrets: Secrets },
  parts: Omit<
    LoginDeps,
    'provider' | 'configAdmins' | 'options' | 'spawnerRefusal' | 'sessionDays' | 'cookieKeyId'
  >,
): Login {
  const { base, driver } = config.authenticator
  return createLogin({
    ...parts,
    provider: driver.name,
    configAdmins: [...config.hub.adminUsers, ...base.adminUsers],
    options: base,
    spawnerRefusal: async (userName) =>
      (await config.spawner.driver.refusal?.(config.spawner.options, userName)) ?? null,
    sessionDays: config.hub.cookieMaxAgeDays,
    cookieKeyId: secrets.cookieKeyId,
  })
}
