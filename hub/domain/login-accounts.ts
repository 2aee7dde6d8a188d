import { HubError } from '../../packages/core/errors.ts'
import type { Identity } from '../../packages/core/authenticator.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { AuthenticatorOptions } from '../config.ts'
import type { AccountKey, IdentityStore } from '../store/identities.ts'
import type { User, UserStore } from '../store/users.ts'

export interface LoginAccountsDeps {
  /** The authenticator's driver. */
  readonly provider: string
  readonly options: Pick<AuthenticatorOptions, 'linkExisting'>
  readonly users: UserStore
  readonly identities: IdentityStore
  /** Names that the config makes admins: their users exist before anybody has logged in. */
  readonly configAdmins: readonly string[]
  readonly clock: () => Date
}

/** Which account at a provider is which user: one (issuer, subject) is one user for ever. */
export class LoginAccounts {
  readonly #deps: LoginAccountsDeps

  constructor(deps: LoginAccountsDeps) {
    this.#deps = deps
  }

  /** The user that this account at a provider has been before, whatever it calls itself now. */
  async userOf(identity: Identity): Promise<User | null> {
    const account = this.#accountOf(identity)
    const userId = account ? await this.#deps.identities.userIdOf(account) : null
    return userId === null ? null : this.#deps.users.findById(userId)
  }

  #accountOf({ issuer, subject }: Identity): AccountKey | null {
    if (issuer === undefined || subject === undefined) return null
    return { provider: this.#deps.provider, issuer, subject }
  }

  /** The user of this identity, made where there is none, or why it cannot be theirs. */
  async claim(identity: Identity): Promise<{ user: User; isNew: boolean } | string> {
    const { users, identities, clock } = this.#deps
    const { userName, admin = false } = identity
    const account = this.#accountOf(identity)
    const own = await this.userOf(identity)
    if (own && account) {
      await identities.recordLogin(account, clock())
      return { user: own, isNew: false }
    }
    const known = await users.findByName(userName)
    const options = { admin, now: clock(), ...(account ? { account } : {}) }
    const made = known ? null : await users.create(userName, options)
    if (made) return { user: made, isNew: true }
    const user = known ?? (await users.findByName(userName))
    if (!user) throw new HubError('unavailable', `the user ${userName} could not be stored`)
    const refusal = account ? await this.#linkExisting(user, account) : null
    return refusal ?? { user, isNew: false }
  }

  /** Gives an account the user whose name it has, or says why it must not have it. */
  async #linkExisting(user: User, account: AccountKey): Promise<string | null> {
    const { identities, options, configAdmins, clock } = this.#deps
    const { linkExisting } = options
    // Another tab may have been faster.
    if ((await identities.userIdOf(account)) === user.id) return null
    const isNamed = (names: readonly string[]): boolean =>
      names.some((name) => nameKey(name) === nameKey(user.name))
    const isWanted =
      linkExisting === true ||
      (Array.isArray(linkExisting) && isNamed(linkExisting)) ||
      (user.lastActivityAt === null && isNamed(configAdmins))
    if (isWanted && (await identities.link(user.id, account, clock()))) return null
    const owners = await identities.ofUser(user.id)
    return owners.some(({ issuer }) => issuer === account.issuer)
      ? `the user ${user.name} belongs to another account of ${account.issuer}`
      : `the user ${user.name} exists and has never logged in through ${account.issuer}: if this is ` +
          'the same person, name them in authenticator.linkExisting'
  }
}
