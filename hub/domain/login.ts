import { randomBytes } from 'node:crypto'
import { describeError, HubError } from '../../packages/core/errors.ts'
import type {
  Authenticator,
  Identity,
  LoginRequest,
  Verdict,
} from '../../packages/core/authenticator.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { AuthenticatorOptions } from '../config.ts'
import type { Events } from '../events.ts'
import { type Log, shortName } from '../log.ts'
import type { AccountKey, IdentityStore } from '../store/identities.ts'
import type { Session, SessionStore } from '../store/sessions.ts'
import type { User, UserStore } from '../store/users.ts'
import type { Access } from './access.ts'

/** A login that succeeded: the user, and the secret for the signed login cookie. */
export interface LoggedIn {
  readonly user: User
  readonly session: Session
  readonly secret: string
}

export interface Login {
  /**
   * Runs the pipeline. Null for every kind of refusal: the reason is in the log, never in the answer.
   * With a `verdict`, from a route of the authenticator, nobody is asked again who this is.
   * @throws {HubError} `invalid_request` for fields that are too long; `unavailable` and
   * `too_many_requests` when the authenticator cannot answer now.
   */
  attempt(request: LoginRequest, verdict?: Verdict): Promise<LoggedIn | null>
  /** Ends one session and every token that was issued through it. */
  end(user: User, session: Session, peer: string): Promise<void>
  /**
   * Whether a user of this name would be let in, with the rule that says so. `allowedBy` is a rule
   * of the authenticator's own.
   */
  admits(
    userName: string,
    allowedBy?: string,
  ): Promise<{ readonly allowed: boolean; readonly rule: string }>
}

/** Longest accepted fields, in bytes. */
const limits: Readonly<Record<string, number>> = { username: 255, password: 4096 }
const otherLimit = 4096

/** Milliseconds an authenticator may take. */
const patience = 30_000

export interface LoginDeps {
  readonly authenticator: Authenticator
  readonly provider: string
  readonly options: AuthenticatorOptions
  readonly users: UserStore
  readonly identities: IdentityStore
  /** Names that the config makes admins: their users exist before anybody has logged in. */
  readonly configAdmins: readonly string[]
  readonly sessions: SessionStore
  readonly access: Access
  readonly events: Events
  readonly log: Log
  readonly clock: () => Date
  /** Why the spawner could never start a server for this user, or null. */
  readonly spawnerRefusal: (userName: string) => Promise<string | null>
  readonly sessionDays: number
  readonly cookieKeyId: string
}

export function createLogin(deps: LoginDeps): Login {
  return new LoginPipeline(deps)
}

/**
 * The login pipeline in JupyterHub's order: authenticate, normalise, validate, blocked, allowed,
 * the spawner's word, admin, hook, then the user row, the session and its secret.
 */
class LoginPipeline implements Login {
  readonly #deps: LoginDeps
  readonly #blocked: ReadonlySet<string>
  readonly #admins: ReadonlySet<string>
  readonly #allowed: ReadonlySet<string>

  constructor(deps: LoginDeps) {
    const keys = (names: Iterable<string>): ReadonlySet<string> => new Set([...names].map(nameKey))
    this.#deps = deps
    this.#blocked = keys(deps.options.blockedUsers)
    this.#admins = keys(deps.options.adminUsers)
    this.#allowed = keys(deps.options.allowedUsers)
  }

  async attempt(request: LoginRequest, verdict?: Verdict): Promise<LoggedIn | null> {
    checkSizes(request.form)
    const { log, events } = this.#deps
    const peer = request.peerAddress
    const said = verdict?.kind === 'identified' ? verdict.identity.userName : ''
    const typed = shortName(request.form['username'] ?? said)
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(patience)])
    const found = await this.#identify({ ...request, signal }, verdict).catch(reasonOf)
    if (typeof found === 'string') return this.#refuse(typed, peer, found)
    const entered = await this.#ensureUser(found)
    if (typeof entered === 'string') return this.#refuse(found.userName, peer, entered)
    const loggedIn = await this.#openSession(entered, found.providerSession)
    const user = loggedIn.user.name
    log.info(`${user} logged in`, { peer })
    events.emit({ kind: 'login', user, peer })
    return loggedIn
  }

  #refuse(userName: string, peer: string, reason: string): null {
    const user = shortName(userName)
    this.#deps.log.warn(`login failed for ${JSON.stringify(user)}`, { peer, reason })
    this.#deps.events.emit({ kind: 'login-failed', user, peer, reason })
    return null
  }

  async end(user: User, session: Session, peer: string): Promise<void> {
    const { sessions, access, log, events } = this.#deps
    await sessions.delete(session.id)
    access.forget(user.id)
    log.info(`${user.name} logged out`, { peer })
    events.emit({ kind: 'logout', user: user.name, peer })
  }

  async admits(
    userName: string,
    allowedBy?: string,
  ): Promise<{ readonly allowed: boolean; readonly rule: string }> {
    const { options, users } = this.#deps
    const key = nameKey(userName)
    if (this.#blocked.has(key)) return { allowed: false, rule: 'authenticator.blockedUsers' }
    const known = await users.findByName(userName)
    if (known?.blocked) return { allowed: false, rule: 'the account is blocked' }
    if (options.allowAll) return { allowed: true, rule: 'authenticator.allowAll' }
    if (this.#allowed.has(key)) return { allowed: true, rule: 'authenticator.allowedUsers' }
    if (this.#allowed.size > 0 && this.#admins.has(key))
      return { allowed: true, rule: 'authenticator.adminUsers' }
    if (options.allowExistingUsers && known)
      return { allowed: true, rule: 'authenticator.allowExistingUsers' }
    const own = allowedBy ?? (await this.#deps.authenticator.allowedBy?.(userName))
    if (own) return { allowed: true, rule: own }
    return { allowed: false, rule: 'no allow rule matches' }
  }

  /** The identity under its name here, or why it may not come in. */
  async #identify(request: LoginRequest, given?: Verdict): Promise<Identity | string> {
    const { authenticator, options, spawnerRefusal } = this.#deps
    const verdict = given ?? (await authenticator.authenticate(request))
    if (verdict.kind === 'denied') return verdict.reason
    const userName =
      (await this.#userOf(verdict.identity))?.name ??
      normalise(verdict.identity.userName, options.usernameMap)
    const invalid = invalidName(userName, options.usernamePattern)
    if (invalid !== null) return invalid
    const { allowed, rule } = await this.admits(userName, verdict.identity.allowedBy)
    if (!allowed) return rule
    const refusal = await spawnerRefusal(userName)
    if (refusal !== null) return refusal
    const admin = this.#admins.has(nameKey(userName)) || verdict.identity.admin
    const { admin: _undecided, ...identity } = verdict.identity
    const decided = { ...identity, userName, ...(admin === undefined ? {} : { admin }) }
    if (!options.postAuthHook) return decided
    return (await options.postAuthHook(decided)) ?? 'refused by authenticator.postAuthHook'
  }

  /** The user that this account at a provider has been before, whatever it calls itself now. */
  async #userOf(identity: Identity): Promise<User | null> {
    const account = this.#accountOf(identity)
    const userId = account ? await this.#deps.identities.userIdOf(account) : null
    return userId === null ? null : this.#deps.users.findById(userId)
  }

  #accountOf({ issuer, subject }: Identity): AccountKey | null {
    if (issuer === undefined || subject === undefined) return null
    return { provider: this.#deps.provider, issuer, subject }
  }

  /** The user of this identity, made where there is none, or why it cannot be theirs. */
  async #claim(identity: Identity): Promise<{ user: User; isNew: boolean } | string> {
    const { users, identities, clock } = this.#deps
    const { userName, admin = false } = identity
    const account = this.#accountOf(identity)
    const own = await this.#userOf(identity)
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

  async #ensureUser(identity: Identity): Promise<User | string> {
    const { users, access, events, authenticator } = this.#deps
    const { admin, userInfo } = identity
    const claimed = await this.#claim(identity)
    if (typeof claimed === 'string') return claimed
    const { user, isNew } = claimed
    if (isNew) {
      events.emit({ kind: 'user-created', user: user.name, by: 'login' })
      await authenticator.addUser?.(user.name)
    }
    if (admin !== undefined && admin !== user.admin) {
      await users.setAdmin(user.name, admin)
      events.emit({ kind: 'admin-changed', user: user.name, admin, by: 'login' })
    }
    if (userInfo) await users.setUserInfo(user.id, userInfo)
    access.forget(user.id)
    return user
  }

  async #openSession(user: User, providerSession?: string): Promise<LoggedIn> {
    const { sessions, clock, sessionDays, cookieKeyId, provider } = this.#deps
    const now = clock()
    const { session, secret } = await sessions.create({
      userId: user.id,
      browserSessionId: randomBytes(16).toString('hex'),
      createdAt: now,
      expiresAt: new Date(now.getTime() + sessionDays * 86_400_000),
      cookieKeyId,
      provider,
      providerSession,
    })
    return { user, session, secret }
  }
}

/** Why the authenticator could not say who this is; throws on what the browser is to see. */
function reasonOf(error: unknown): string {
  const codes: readonly unknown[] = ['unavailable', 'too_many_requests']
  if (error instanceof HubError && codes.includes(error.code)) throw error
  return describeError(error)
}

/** The name as the hub stores it: trimmed, normalised, then mapped once. */
function normalise(name: string, map: Readonly<Record<string, string>>): string {
  const key = nameKey(name.trim())
  return Object.hasOwn(map, key) ? (map[key] ?? key) : key
}

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

function checkSizes(form: Readonly<Record<string, string>>): void {
  for (const [field, value] of Object.entries(form))
    if (Buffer.byteLength(value) > (limits[field] ?? otherLimit))
      throw new HubError('invalid_request', `the field ${field.slice(0, 40)} is too long`)
}
