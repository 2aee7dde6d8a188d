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
    const typed = shortName(request.form['username'] ?? '')
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(patience)])
    const found = await this.#identify({ ...request, signal }, verdict).catch(reasonOf)
    if (typeof found === 'string') {
      log.warn(`login failed for ${JSON.stringify(typed)}`, { peer, reason: found })
      events.emit({ kind: 'login-failed', user: typed, peer, reason: found })
      return null
    }
    const loggedIn = await this.#openSession(await this.#ensureUser(found))
    const user = loggedIn.user.name
    log.info(`${user} logged in`, { peer })
    events.emit({ kind: 'login', user, peer })
    return loggedIn
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
    const userName = normalise(verdict.identity.userName, options.usernameMap)
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

  async #ensureUser(identity: Identity): Promise<User> {
    const { users, access, events, authenticator, clock } = this.#deps
    const { userName, admin, userInfo } = identity
    const found = await users.findByName(userName)
    const made = found
      ? null
      : await users.create(userName, { admin: admin ?? false, now: clock() })
    const user = found ?? made ?? (await users.findByName(userName))
    if (!user) throw new HubError('unavailable', `the user ${userName} could not be stored`)
    if (made) {
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

  async #openSession(user: User): Promise<LoggedIn> {
    const { sessions, clock, sessionDays, cookieKeyId, provider } = this.#deps
    const now = clock()
    const { session, secret } = await sessions.create({
      userId: user.id,
      browserSessionId: randomBytes(16).toString('hex'),
      createdAt: now,
      expiresAt: new Date(now.getTime() + sessionDays * 86_400_000),
      cookieKeyId,
      provider,
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
