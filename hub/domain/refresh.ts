import { BoundedMap } from '../../packages/core/bounded-map.ts'
import { describeError, HubError } from '../../packages/core/errors.ts'
import type { Authenticator, Identity } from '../../packages/core/authenticator.ts'
import { within } from '../../packages/core/promises.ts'
import type { AuthenticatorOptions } from '../config.ts'
import type { User, UserStore } from '../store/users.ts'
import { type AccessEndingDeps, endAccess } from './access-ending.ts'
import type { Admission } from './admission.ts'
import type { IdentityRecords } from './identity-records.ts'

/** Asks again, from time to time, whether somebody who came in before may still be here. */
export interface Refresher {
  /**
   * Whether this user may go on; asks only when the last answer is older than
   * `authenticator.authRefreshAge`. Who may not has no session left afterwards, and who is not let in
   * any more no token either. At once when nobody need be asked.
   */
  mayGoOn(user: User): boolean | Promise<boolean>
  /**
   * Asks now, where `authenticator.refreshPreSpawn` wants it.
   * @throws {HubError} `forbidden` when the user must log in again.
   */
  beforeStart(user: User): Promise<void>
  /** The same for `authenticator.refreshPreStop`; the stop goes on in any case. */
  beforeStop(user: User): Promise<void>
  /** A login is an answer. */
  noteLogin(user: User): void
}

export interface RefresherDeps extends AccessEndingDeps {
  readonly authenticator: Authenticator
  readonly admission: Admission
  readonly records: IdentityRecords
  readonly options: AuthenticatorOptions
  readonly users: UserStore
}

/** Milliseconds that an authenticator has to answer. */
const patience = 10_000
/** Milliseconds until an authenticator that has failed is asked again. */
const retryAfter = 60_000
/** Most users whose answers are remembered; the oldest are forgotten, and asked about again. */
const capacity = 100_000

interface Answer {
  /** Until when it holds, by the monotonic clock. */
  readonly until: number
  readonly mayGoOn: boolean
}

export function createRefresher(deps: RefresherDeps): Refresher {
  return new CachedRefresher(deps)
}

class CachedRefresher implements Refresher {
  readonly #deps: RefresherDeps
  readonly #answers = new BoundedMap<number, Answer>(capacity)
  readonly #asking = new Map<number, Promise<boolean>>()

  constructor(deps: RefresherDeps) {
    this.#deps = deps
  }

  mayGoOn(user: User): boolean | Promise<boolean> {
    if (this.#deps.options.authRefreshAge === 0) return true
    const known = this.#answers.get(user.id)
    return known && known.until > performance.now() ? known.mayGoOn : this.#askOnce(user)
  }

  async beforeStart(user: User): Promise<void> {
    if (!this.#deps.options.refreshPreSpawn || (await this.#askOnce(user))) return
    throw new HubError('forbidden', `auth has expired for ${user.name}, login again`)
  }

  async beforeStop(user: User): Promise<void> {
    if (this.#deps.options.refreshPreStop) await this.#askOnce(user)
  }

  noteLogin(user: User): void {
    this.#remember(user, true)
  }

  #askOnce(user: User): Promise<boolean> {
    const asking = this.#asking.get(user.id)
    if (asking) return asking
    const answer = this.#ask(user).finally(() => this.#asking.delete(user.id))
    this.#asking.set(user.id, answer)
    return answer
  }

  async #ask(user: User): Promise<boolean> {
    const { authenticator, records, log } = this.#deps
    const given = await records.of(user)
    if (!given) {
      this.#remember(user, true)
      return true
    }
    if (await records.isLost(user)) return this.#expire(user)
    try {
      const asked = authenticator.refresh?.(given) ?? Promise.resolve(given)
      return await this.#judge(user, given, await within(patience, asked, 'the authenticator'))
    } catch (error) {
      log.warn(`${user.name} could not be refreshed`, { error: describeError(error) })
      this.#remember(user, true, retryAfter)
      return true
    }
  }

  async #judge(user: User, given: Identity, fresh: Identity | null): Promise<boolean> {
    if (!fresh) return this.#expire(user)
    const { admission, records } = this.#deps
    const refusal = this.#otherPerson(user, given, fresh) ?? admission.invalid(user.name)
    if (refusal !== null) return this.#end(user, refusal)
    const word = fresh === given ? await this.#oldWord(given) : fresh
    const { allowed, rule } = await admission.decide(user.name, word)
    if (!allowed) return this.#end(user, rule)
    const admin = await admission.adminOf(user.name, word)
    const decided = { ...fresh, ...(admin === undefined ? {} : { admin }) }
    if (fresh !== given || (admin !== undefined && admin !== user.admin)) {
      const hooked = await this.#hooked(user, decided)
      if (!hooked) return this.#end(user, 'refused by authenticator.postAuthHook')
      await records.recordRefresh(user, fresh === given ? sameBut(given, hooked) : hooked)
    }
    this.#remember(user, true)
    return true
  }

  /** Who says nothing new is asked by name, if that can be done, and else believed as at the login. */
  async #oldWord(given: Identity): Promise<Identity> {
    const rule = await this.#deps.authenticator.allowedBy?.(given.userName)
    const { allowedBy: _before, ...unjudged } = given
    return rule === undefined
      ? given
      : { ...unjudged, ...(rule === null ? {} : { allowedBy: rule }) }
  }

  /** As at a login: what the hook takes away must not come back. */
  async #hooked(user: User, identity: Identity): Promise<Identity | null> {
    const { postAuthHook } = this.#deps.options
    return postAuthHook ? postAuthHook({ ...identity, userName: user.name }) : identity
  }

  /** Why this is not who came in; null when it is. */
  #otherPerson(user: User, given: Identity, fresh: Identity): string | null {
    if (fresh === given) return null
    const { admission } = this.#deps
    if (given.subject !== undefined)
      return fresh.subject === given.subject && fresh.issuer === given.issuer
        ? null
        : 'the refresh was about another account'
    const { userName } = fresh
    return [userName, given.userName].includes(admission.normalise(user.name)) ||
      admission.normalise(userName) === user.name
      ? null
      : 'the refresh was about another user'
  }

  /** The user must log in again: tokens rest until then. */
  async #expire(user: User): Promise<false> {
    const { sessions, changes, log } = this.#deps
    const ended = await sessions.deleteOfUser(user.id)
    changes.touchRights(user.id)
    if (ended > 0) log.info(`${user.name} must log in again, says the authenticator`)
    this.#remember(user, false)
    return false
  }

  async #end(user: User, reason: string): Promise<false> {
    const servers = this.#deps.options.stopServersOfRefused
    await endAccess(this.#deps, user, { reason, servers })
    this.#remember(user, false)
    return false
  }

  #remember({ id }: User, mayGoOn: boolean, ms = this.#deps.options.authRefreshAge * 1000): void {
    this.#answers.set(id, { mayGoOn, until: performance.now() + ms })
  }
}

/** Only the mark of an admin is news: groups and roles were not looked at. */
function sameBut(given: Identity, { admin }: Identity): Identity {
  return admin === undefined ? given : { ...given, admin }
}
