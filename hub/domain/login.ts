import { randomBytes } from 'node:crypto'
import { describeError, HubError } from '../../packages/core/errors.ts'
import type {
  Authenticator,
  Identity,
  LoginRequest,
  RouteLogin,
} from '../../packages/core/authenticator.ts'
import type { AuthenticatorOptions } from '../config.ts'
import type { Events } from '../events.ts'
import { type Log, shortName } from '../log.ts'
import { type Metrics, stopwatch } from '../metrics.ts'
import type { Session, SessionStore } from '../store/sessions.ts'
import type { User, UserStore } from '../store/users.ts'
import type { Admission } from './admission.ts'
import type { Changes } from './changes.ts'
import type { IdentityRecords } from './identity-records.ts'
import type { LoginAccounts } from './login-accounts.ts'
import type { LoginGuard } from './login-guard.ts'

/** A login that succeeded: the user, and the secret for the signed login cookie. */
export interface LoggedIn {
  readonly user: User
  readonly session: Session
  readonly secret: string
}

/** What the rules say of a name. */
export interface LoginExplanation {
  readonly allowed: boolean
  readonly rule: string
  /** Whether there is such a user already. */
  readonly exists: boolean
  /** The name as the hub would store it. */
  readonly userName: string
}

/** What a route of the authenticator says, or how it finds out. */
type GivenVerdict = RouteLogin['verdict']

export interface Login {
  /**
   * Runs the pipeline. Null for every kind of refusal: the reason is in the log, never in the answer.
   * With a `verdict`, from a route of the authenticator, nobody else is asked who this is.
   * @throws {HubError} `invalid_request` for fields that are too long; `unavailable` and
   * `too_many_requests` when nobody can be let in now.
   */
  attempt(request: LoginRequest, verdict?: GivenVerdict): Promise<LoggedIn | null>
  /** The same without a session: for credentials that come with the one request they are for. */
  identify(request: LoginRequest): Promise<User | null>
  /** Ends one session and every token that was issued through it. */
  end(user: User, session: Session, peer: string): Promise<void>
  /** Gives a session a new secret, for example when its user has got other rights. Null when it is gone. */
  renew(user: User, session: Session): Promise<LoggedIn | null>
  /** Whether somebody of this name would be let in who proves to be it, and the rule that says so. */
  explain(name: string): Promise<LoginExplanation>
}

/** Longest accepted fields, in bytes. */
const limits: Readonly<Record<string, number>> = { username: 255, password: 4096 }
const otherLimit = 4096

/** Milliseconds an authenticator may take. */
const patience = 30_000

export interface LoginDeps {
  readonly authenticator: Authenticator
  readonly provider: string
  readonly options: Pick<AuthenticatorOptions, 'postAuthHook'>
  readonly admission: Admission
  readonly accounts: LoginAccounts
  readonly records: IdentityRecords
  readonly guard: LoginGuard
  readonly users: UserStore
  readonly sessions: SessionStore
  readonly changes: Changes
  readonly events: Events
  readonly metrics: Pick<Metrics, 'loggedIn' | 'loggedOut'>
  readonly log: Log
  readonly clock: () => Date
  /** Told of every login. */
  readonly noteLogin: (user: User) => void
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

  constructor(deps: LoginDeps) {
    this.#deps = deps
  }

  async attempt(request: LoginRequest, verdict?: GivenVerdict): Promise<LoggedIn | null> {
    const { log, events, metrics } = this.#deps
    const seconds = stopwatch()
    const entered = await this.#enter(request, verdict)
    if (!entered) {
      metrics.loggedIn(seconds(), false)
      return null
    }
    const { user, identity } = entered
    const loggedIn = await this.#openSession(user, identity.providerSession)
    const peer = request.peerAddress
    log.info(`${user.name} logged in`, { peer })
    events.emit({ kind: 'login', user: user.name, peer })
    metrics.loggedIn(seconds(), true)
    return loggedIn
  }

  async identify(request: LoginRequest): Promise<User | null> {
    return (await this.#enter(request))?.user ?? null
  }

  /** Who this is, as a user of the hub; null after a refusal, which is in the log. */
  async #enter(
    request: LoginRequest,
    verdict?: GivenVerdict,
  ): Promise<{ readonly user: User; readonly identity: Identity } | null> {
    checkSizes(request.form)
    const { guard, noteLogin } = this.#deps
    const peer = request.peerAddress
    const typed = request.form['username'] ?? ''
    using attempt = guard.begin(typed, peer)
    const signal = AbortSignal.any([request.signal, AbortSignal.timeout(patience)])
    const entered = await this.#admit({ ...request, signal }, verdict).catch(reasonOf)
    if (typeof entered === 'string') {
      const isKnown = typeof verdict === 'object' && verdict.kind === 'identified'
      const said = isKnown ? verdict.identity.userName : typed
      this.#refuse(typed === '' ? said : typed, peer, entered)
      await attempt.refused(request.signal)
      return null
    }
    attempt.succeeded()
    noteLogin(entered.user)
    return entered
  }

  async #admit(
    request: LoginRequest,
    verdict?: GivenVerdict,
  ): Promise<{ readonly user: User; readonly identity: Identity } | string> {
    const identity = await this.#identify(request, verdict)
    if (typeof identity === 'string') return identity
    const user = await this.#ensureUser(identity)
    return typeof user === 'string' ? `${identity.userName}: ${user}` : { user, identity }
  }

  #refuse(userName: string, peer: string, reason: string): void {
    const user = shortName(userName)
    this.#deps.log.warn(`login failed for ${JSON.stringify(user)}`, { peer, reason })
    this.#deps.events.emit({ kind: 'login-failed', user, peer, reason })
  }

  async end(user: User, session: Session, peer: string): Promise<void> {
    const { sessions, changes, log, events, metrics } = this.#deps
    const seconds = stopwatch()
    await sessions.delete(session.id)
    changes.touchRights(user.id)
    log.info(`${user.name} logged out`, { peer })
    events.emit({ kind: 'logout', user: user.name, peer })
    metrics.loggedOut(seconds())
  }

  async renew(user: User, session: Session): Promise<LoggedIn | null> {
    const renewed = await this.#deps.sessions.renew(session.id, user.admin)
    this.#deps.changes.touchRights(user.id)
    return renewed && { user, ...renewed }
  }

  async explain(name: string): Promise<LoginExplanation> {
    const { admission, users, spawnerRefusal } = this.#deps
    const userName = admission.normalise(name)
    const exists = (await users.findByName(userName)) !== null
    const invalid = admission.invalid(userName)
    if (invalid !== null) return { allowed: false, rule: invalid, exists, userName }
    const decision = await admission.decide(userName)
    const refusal = decision.allowed ? await spawnerRefusal(userName) : null
    if (refusal !== null) return { allowed: false, rule: refusal, exists, userName }
    return { ...decision, exists, userName }
  }

  /** The identity under its name here, or why it may not come in. */
  async #identify(request: LoginRequest, given?: GivenVerdict): Promise<Identity | string> {
    const { authenticator, accounts, admission, options, spawnerRefusal } = this.#deps
    const verdict =
      typeof given === 'function'
        ? await given(request.signal)
        : (given ?? (await authenticator.authenticate(request)))
    if (verdict.kind === 'denied') return verdict.reason
    const userName =
      (await accounts.userOf(verdict.identity))?.name ??
      admission.normalise(verdict.identity.userName)
    const invalid = admission.invalid(userName)
    if (invalid !== null) return invalid
    const { allowed, rule } = await admission.decide(userName, verdict.identity)
    if (!allowed) return rule
    const refusal = await spawnerRefusal(userName)
    if (refusal !== null) return refusal
    const admin = await admission.adminOf(userName, verdict.identity)
    const { admin: _undecided, ...identity } = verdict.identity
    const decided = { ...identity, userName, ...(admin === undefined ? {} : { admin }) }
    if (!options.postAuthHook) return decided
    return (await options.postAuthHook(decided)) ?? 'refused by authenticator.postAuthHook'
  }

  async #ensureUser(identity: Identity): Promise<User | string> {
    const { users, accounts, records } = this.#deps
    const claimed = await accounts.claim(identity)
    if (typeof claimed === 'string') return claimed
    const { user, isNew } = claimed
    if (isNew) await this.#introduce(user)
    await records.recordLogin(user, identity)
    return (await users.findById(user.id)) ?? user
  }

  /** Whom the authenticator does not take is no user: the next login must ask it again. */
  async #introduce(user: User): Promise<void> {
    const { users, changes, events, authenticator } = this.#deps
    try {
      await authenticator.addUser?.(user.name)
    } catch (error) {
      await users.delete(user.id)
      changes.touchAll()
      throw error
    }
    events.emit({ kind: 'user-created', user: user.name, by: 'login' })
  }

  async #openSession(user: User, providerSession?: string): Promise<LoggedIn> {
    const { sessions, clock, sessionDays, cookieKeyId, provider } = this.#deps
    const now = clock()
    const { session, secret } = await sessions.create({
      userId: user.id,
      browserSessionId: randomBytes(16).toString('hex'),
      createdAt: now,
      expiresAt: new Date(now.getTime() + sessionDays * 86_400_000),
      admin: user.admin,
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

function checkSizes(form: Readonly<Record<string, string>>): void {
  for (const [field, value] of Object.entries(form))
    if (Buffer.byteLength(value) > (limits[field] ?? otherLimit))
      throw new HubError('invalid_request', `the field ${field.slice(0, 40)} is too long`)
}
