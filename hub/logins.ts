import type { AuthenticatorContext } from '../packages/core/authenticator.ts'
import { nameKey } from '../packages/core/slug.ts'
import type { Config } from './config.ts'
import { createLogin, type Login, type LoginDeps } from './domain/login.ts'
import { providerSessions } from './domain/provider-sessions.ts'
import type { Secrets } from './secrets.ts'
import type { Database } from './store/database.ts'
import { fernet } from './store/fernet.ts'
import { passwordStore } from './store/native-passwords.ts'
import { userStore } from './store/users.ts'

/** What the authenticator may use of the hub. */
export function authenticatorContext(
  { hub, authenticator: { base, driver } }: Config,
  people: Omit<Parameters<typeof providerSessions>[0], 'provider'> & {
    readonly database: Database
    readonly clock: () => Date
    readonly cryptKeys: Secrets['cryptKeys']
  },
): AuthenticatorContext {
  const { database, log, clock, cryptKeys } = people
  const names = [base.allowedUsers, base.adminUsers, base.blockedUsers, hub.adminUsers].flat()
  const reserved = new Set(names.map(nameKey))
  const admins = new Set([...base.adminUsers, ...hub.adminUsers].map(nameKey))
  return {
    log,
    manageGroups: false,
    passwords: passwordStore(database, { cipher: fernet(cryptKeys), clock }),
    isReserved: (userName) => reserved.has(nameKey(userName)),
    isAdmin: (userName) => admins.has(nameKey(userName)),
    async endLogins(userName) {
      const user = await userStore(database).findByName(userName)
      if (!user) return
      await people.sessions.deleteOfUser(user.id)
      people.access.forget(user.id)
    },
    publicUrl: (path) => (hub.publicUrl ? new URL(`hub${path}`, hub.publicUrl) : null),
    endSessions: providerSessions({ ...people, provider: driver.name }),
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
