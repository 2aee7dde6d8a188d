import type { Authenticator, Identity } from '../../packages/core/authenticator.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { AuthenticatorOptions } from '../config.ts'
import type { UserStore } from '../store/users.ts'

/** Whether somebody may come in, and the rule that says so. */
export interface Decision {
  readonly allowed: boolean
  readonly rule: string
}

/** What the authenticator says of somebody, as far as rules look at it. */
export type Credentials = Pick<Identity, 'allowedBy' | 'groups' | 'admin'>

/** The rules by which people come in: those of the config, then the authenticator's own. */
export interface Admission {
  /** The name as the hub stores it: trimmed, normalised, then mapped once. */
  normalise(name: string): string
  /** Why nobody can have this name, or null. */
  invalid(name: string): string | null
  decide(userName: string, credentials?: Credentials): Promise<Decision>
  /** Whether the user is to be an admin; undefined: as they are. */
  adminOf(userName: string, credentials: Credentials): Promise<boolean | undefined>
}

export interface AdmissionDeps {
  readonly authenticator: Pick<Authenticator, 'allowedBy'>
  readonly options: AuthenticatorOptions
  readonly users: UserStore
  /** Whom the config makes admins, whatever the authenticator says. */
  readonly configAdmins: readonly string[]
}

/**
 * Blocks come before any rule that allows, and the authenticator is asked last (JupyterHub's order).
 * Names are compared by `nameKey`.
 */
export function createAdmission(deps: AdmissionDeps): Admission {
  const { authenticator, options, users } = deps
  const configAdmins = keys(deps.configAdmins)
  const [blocked, admins, allowed] = [
    keys(options.blockedUsers),
    keys(options.adminUsers),
    keys(options.allowedUsers),
  ]
  const [allowedGroups, adminGroups] = [keys(options.allowedGroups), keys(options.adminGroups)]

  /** The groups that count: those that the authenticator has just named, else the stored ones. */
  const groupsOf = async (userName: string, given: Credentials): Promise<readonly string[]> => {
    if (options.manageGroups && given.groups) return given.groups
    const user = await users.findByName(userName)
    return user ? users.groupsOf(user.id) : []
  }

  return {
    normalise: (name) => mapName(options.usernameMap, name.trim()),

    invalid: (name) => invalidName(name, options.usernamePattern),

    async decide(userName, credentials = {}) {
      const key = nameKey(userName)
      if (blocked.has(key)) return { allowed: false, rule: 'authenticator.blockedUsers' }
      const known = await users.findByName(userName)
      if (known?.blocked) return { allowed: false, rule: 'the account is blocked' }
      const by = (rule: string): Decision => ({ allowed: true, rule })
      if (options.allowAll) return by('authenticator.allowAll')
      if (allowed.has(key)) return by('authenticator.allowedUsers')
      if (allowed.size > 0 && admins.has(key)) return by('authenticator.adminUsers')
      if (options.allowExistingUsers && known) return by('authenticator.allowExistingUsers')
      if (allowedGroups.size > 0) {
        const groups = await groupsOf(userName, credentials)
        const group = groups.find((name) => allowedGroups.has(nameKey(name)))
        if (group !== undefined) return by(`authenticator.allowedGroups (${group})`)
      }
      const own = credentials.allowedBy ?? (await authenticator.allowedBy?.(userName))
      return own ? by(own) : { allowed: false, rule: 'no allow rule matches' }
    },

    async adminOf(userName, credentials) {
      if (configAdmins.has(nameKey(userName))) return true
      if (adminGroups.size === 0) return credentials.admin
      const groups = await groupsOf(userName, credentials)
      return credentials.admin === true || groups.some((name) => adminGroups.has(nameKey(name)))
    },
  }
}

/** The normal form of a name, mapped once (JupyterHub: `normalize_username`). */
export function mapName(map: Readonly<Record<string, string>>, name: string): string {
  const key = nameKey(name)
  return Object.hasOwn(map, key) ? (map[key] ?? key) : key
}

const keys = (names: Iterable<string>): ReadonlySet<string> => new Set([...names].map(nameKey))

/** Why a name cannot be a user's, or null (JupyterHub: no slash, not empty, no space around, the pattern). */
export function invalidName(name: string, pattern: RegExp | null): string | null {
  if (name === '') return 'the name is empty'
  if (Buffer.byteLength(name) > 255) return 'the name is longer than 255 bytes'
  if (name.includes('/')) return 'the name holds a slash'
  if (name.trim() !== name) return 'the name begins or ends with a space'
  if (/[\p{Cc}\p{Cs}\p{Cf}\p{Zl}\p{Zp}]/u.test(name)) return 'the name holds control characters'
  if (name === '.' || name === '..') return `the name is ${name}`
  if (pattern && !pattern.test(name)) return 'the name does not match authenticator.usernamePattern'
  return null
}
