import type { Identity, IdentityRole } from '../../packages/core/authenticator.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { AuthenticatorOptions } from '../config.ts'
import type { Events } from '../events.ts'
import type { Log } from '../log.ts'
import type { GroupStore } from '../store/groups.ts'
import type { IdentityStore } from '../store/identities.ts'
import type { RoleStore } from '../store/roles.ts'
import type { User, UserStore } from '../store/users.ts'
import type { AuthStates } from './auth-states.ts'
import type { Changes } from './changes.ts'
import { isGroupName } from './groups.ts'

export interface IdentityRecordsDeps {
  readonly provider: string
  readonly options: Pick<AuthenticatorOptions, 'manageGroups' | 'manageRoles' | 'usernameMap'>
  readonly users: UserStore
  readonly groupRows: GroupStore
  readonly roles: RoleStore
  readonly identities: IdentityStore
  readonly authStates: AuthStates
  readonly changes: Changes
  readonly events: Events
  readonly log: Log
  readonly clock: () => Date
  /** Whom the config makes admins. */
  readonly configAdmins: readonly string[]
}

/** What the hub keeps of what an authenticator has said about its users. */
export class IdentityRecords {
  readonly #deps: IdentityRecordsDeps

  constructor(deps: IdentityRecordsDeps) {
    this.#deps = deps
  }

  /**
   * The identity as it was at the last login or refresh, under the name that the authenticator knows;
   * null for somebody who never logged in, such as a user that an admin has made for a program.
   */
  async of(user: User): Promise<Identity | null> {
    const { users, identities, authStates, options, provider } = this.#deps
    const login = await users.loginOf(user.id)
    if (!login || login.allowedBy === null) return null
    const accounts = await identities.ofUser(user.id)
    const account = accounts.find((each) => each.provider === provider)
    const authState = await authStates.of(user)
    const original = Object.entries(options.usernameMap).find(([, to]) => to === user.name)?.[0]
    return {
      userName: original ?? user.name,
      ...(account ? { issuer: account.issuer, subject: account.subject } : {}),
      ...(login.allowedBy === '' ? {} : { allowedBy: login.allowedBy }),
      ...(authState === null ? {} : { authState }),
    }
  }

  /** Whether nobody can be asked about the user, since what they were known by cannot be read. */
  isLost(user: User): Promise<boolean> {
    return this.#deps.authStates.isLost(user)
  }

  /** Writes down what a login has brought. What an authenticator leaves out stays, but for the auth state. */
  async recordLogin(user: User, identity: Identity): Promise<void> {
    await this.#record(user, identity, identity.authState ?? null)
  }

  /** The same for a refresh: an absent auth state stays. */
  async recordRefresh(user: User, identity: Identity): Promise<void> {
    await this.#record(user, identity, identity.authState)
  }

  async #record(
    user: User,
    identity: Identity,
    authState: Identity['authState'] | null,
  ): Promise<void> {
    const { users, options, authStates, changes, events } = this.#deps
    const roles = options.manageRoles ? identity.roles : undefined
    const isAdmin = identity.admin ?? (roles && this.#isAdmin(user, roles))
    if (isAdmin !== undefined && isAdmin !== user.admin) {
      await users.setAdmin(user.name, isAdmin)
      events.emit({ kind: 'admin-changed', user: user.name, admin: isAdmin, by: 'login' })
    }
    if (identity.userInfo) await users.setUserInfo(user.id, identity.userInfo)
    if (options.manageGroups && identity.groups) await this.#setGroups(user, identity.groups)
    if (roles) await this.#setRoles(user, roles)
    await users.setLogin(user.id, {
      allowedBy: identity.allowedBy ?? '',
      ...(authState === undefined ? {} : { encryptedAuthState: authStates.seal(authState) }),
    })
    changes.touchRights(user.id)
  }

  /** Who is not given the role any more loses the mark, unless the config gives it. */
  #isAdmin({ name }: User, roles: readonly IdentityRole[]): boolean {
    const isGiven = roles.some((role) => role.name === 'admin')
    return isGiven || this.#deps.configAdmins.some((admin) => nameKey(admin) === nameKey(name))
  }

  async #setGroups(user: User, names: readonly string[]): Promise<void> {
    const { groupRows, events, log, clock } = this.#deps
    const [wanted, bad] = [names.filter(isGroupName), names.filter((name) => !isGroupName(name))]
    if (bad.length > 0)
      log.warn(`${user.name} is in ${bad.length} groups whose names cannot be used here`)
    const { added, removed } = await groupRows.replaceOf(user.id, wanted, clock())
    const change = (group: string, of: { added?: string[]; removed?: string[] }): void =>
      events.emit({
        kind: 'group-members-changed',
        group,
        added: [],
        removed: [],
        ...of,
        by: 'login',
      })
    for (const { name } of added) change(name, { added: [user.name] })
    for (const { name } of removed) change(name, { removed: [user.name] })
  }

  async #setRoles(user: User, given: readonly IdentityRole[]): Promise<void> {
    // The mark of an admin goes with the role, and everybody has the role `user`.
    const managed = given.filter(({ name }) => name !== 'admin' && name !== 'user')
    await this.#deps.roles.replaceManagedOf(user.id, managed)
    if (managed.some(({ scopes }) => scopes)) this.#deps.changes.touchAll()
  }
}
