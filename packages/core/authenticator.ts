import type { z } from 'zod'
import type { Json } from './spawner.ts'

/** The form under which names are one: authenticators that check a name before the hub does use it too. */
export { nameKey } from './slug.ts'

/**
 * Who logged in, as the authenticator says it (`authenticate` in JupyterHub's words; the names of
 * the fields follow its auth model).
 */
export interface Identity {
  /** As the provider spells it; the hub normalises and validates it. */
  readonly userName: string
  /** For federated logins: the account key. One (issuer, subject) is one user for ever. */
  readonly issuer?: string
  readonly subject?: string
  /** The provider's own session (`sid`), so that a logout there can end this login. */
  readonly providerSession?: string
  /** True or false sets the admin mark, absent leaves it as it is. `adminUsers` of the config wins over false. */
  readonly admin?: boolean
  /**
   * The authenticator's own allow rule that lets this person in, such as `authenticator.allowedGroups
   * (staff)`. Absent: only the hub's rules decide. A block always wins.
   */
  readonly allowedBy?: string
  /** Replaces the user's groups when groups are managed by the authenticator; absent leaves them alone. */
  readonly groups?: readonly string[]
  /**
   * Replaces the roles that the user has from the authenticator, when roles are managed by it; absent
   * leaves them alone.
   */
  readonly roles?: readonly IdentityRole[]
  /** Encrypted at rest, handed back to `refresh`. */
  readonly authState?: Json
  /** Profile data in clear: name, display_name, initials, avatar_url, color. */
  readonly userInfo?: { readonly [key: string]: Json }
}

/** A role that the authenticator gives. One that does not exist is made, with these scopes. */
export interface IdentityRole {
  readonly name: string
  readonly description?: string
  /** Of a role that the authenticator has made; those of other roles are the config's. */
  readonly scopes?: readonly string[]
}

/** Such a role with all who have it, by name; users and groups come to be by being named. */
export interface ManagedRole extends IdentityRole {
  readonly users?: readonly string[]
  readonly groups?: readonly string[]
}

export type Verdict =
  | { readonly kind: 'identified'; readonly identity: Identity }
  /** `reason` goes to the log, never to the browser. */
  | { readonly kind: 'denied'; readonly reason: string }

/** One login attempt. Field values are single strings; names and sizes are bounded by the hub. */
export interface LoginRequest {
  readonly form: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly peerAddress: string
  readonly signal: AbortSignal
}

/** One field of the login form. */
export interface LoginField {
  readonly name: string
  readonly label: string
  readonly type: 'text' | 'password'
  readonly autocomplete: string
  /** Default: true. */
  readonly required?: boolean
  /** Filled from the url's fragment by a same-origin script, which on the login page submits the form too. */
  readonly fromFragment?: true
}

/**
 * The fields for name and password, as the hub shows them where an authenticator has no form of its
 * own, and one for a one-time password, `otp`, where its prompt is not null.
 */
export function passwordFields(otpPrompt: string | null): readonly LoginField[] {
  const fields: readonly LoginField[] = [
    { name: 'username', label: 'Username', type: 'text', autocomplete: 'username' },
    { name: 'password', label: 'Password', type: 'password', autocomplete: 'current-password' },
  ]
  return otpPrompt === null ? fields : [...fields, otpField(otpPrompt)]
}

/** For a one-time password, of those who have one. */
export function otpField(label: string): LoginField {
  const autocomplete = 'one-time-code'
  return { name: 'otp', label, type: 'password', autocomplete, required: false }
}

/** What the login page shows instead of user name and password. */
export interface LoginForm {
  readonly title: string
  /** Plain text above the fields. Empty: none. */
  readonly help: string
  readonly fields: readonly LoginField[]
  /** The one text for every refused login. Default: `Invalid username or password`. */
  readonly failure?: string
  /** True when nobody can log in here: the page has no button then. */
  readonly isClosed?: boolean
  /** Other places to go from the login page. */
  readonly links?: readonly PageLink[]
}

/** A link to another page of the authenticator, `path` below `/hub`. */
export interface PageLink {
  readonly label: string
  readonly path: string
}

/** A form that posts to a route of the authenticator; the hub adds its XSRF token. */
export interface PageForm {
  /** Path below `/hub` that receives the fields. */
  readonly action: string
  readonly submit: string
  readonly fields: readonly LoginField[]
  /** Sent along unchanged. */
  readonly hidden?: Readonly<Record<string, string>>
}

/** A page that the hub shows in its own layout. All texts are plain and are escaped. */
export interface AuthenticatorPage {
  readonly kind: 'page'
  /** Default: 200. */
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly title: string
  /** Paragraphs. */
  readonly text?: readonly string[]
  readonly error?: string
  readonly form?: PageForm
  /** Rows of a list, each with its own buttons. */
  readonly entries?: readonly {
    readonly title: string
    readonly detail: string
    readonly buttons: readonly PageForm[]
  }[]
  readonly links?: readonly PageLink[]
}

/** The end of a login that came through a route: the hub runs its pipeline and opens the session. */
export interface RouteLogin {
  readonly kind: 'login'
  /**
   * Who it is, or how to find out: that is then asked for and timed as at the login page, and not at all
   * while this address must wait.
   */
  readonly verdict: Verdict | ((signal: AbortSignal) => Promise<Verdict>)
  /** The name that wrong logins are counted under. Default: what was posted as `username`. */
  readonly userName?: string
  /** Where to go afterwards; the hub checks that it is its own. */
  readonly next?: string
  /** Headers of the answer, such as `WWW-Authenticate`. */
  readonly headers?: Readonly<Record<string, string>>
  /**
   * Shown when the login is refused, or must wait: then with the reason as its `error`. Default: the
   * login page.
   */
  readonly refusal?: AuthenticatorPage
}

/** Who asks for a route, beside the request itself. */
export interface RouteVisit {
  /** Whoever is logged in in this browser, or null. */
  readonly userName: string | null
  readonly admin: boolean
  readonly peerAddress: string
  /** Posted fields as single strings, without `_xsrf`; empty for GET. */
  readonly form: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

/** A request as a strategy sees it: Node's own, with what the hub has parsed. */
export interface StrategyRequest {
  readonly method: string
  /** Path and query as the browser asked for them. */
  readonly originalUrl: string
  readonly query: Readonly<Record<string, unknown>>
  readonly body: unknown
  /**
   * The record of this one attempt, in the database for ten minutes and bound to this browser: what
   * is put here at the start is there at the callback, once. JSON only.
   */
  readonly session: Record<string, unknown>
}

/**
 * A passport strategy (https://www.passportjs.org): `redirect(url)` leaves for the provider, with
 * `state` (or `oauth_token`) in the url naming the attempt; `success(identity)` takes an
 * {@link Identity}; `fail(reason)` is a refusal, the reason goes to the log; `error(error)` shows a
 * `HubError` with its status, and anything else as a fault of the hub.
 */
export interface LoginStrategy {
  authenticate(request: unknown, options?: unknown): unknown
}

/** A page or endpoint an authenticator needs under the hub's prefix. */
export interface AuthenticatorRoute {
  readonly method: 'GET' | 'POST'
  /** Below `/hub`, beginning with `/`. */
  readonly path: string
  /** Who may call it; the hub sends others to the login page, or answers 403. Default: `anyone`. */
  readonly access?: 'anyone' | 'user' | 'admin'
  /**
   * True for POST routes that other sites call, and that prove by themselves who calls (a signature).
   * All others are refused without the hub's XSRF token.
   */
  readonly crossSite?: boolean
  handle(
    request: Request,
    visit: RouteVisit,
  ): Response | AuthenticatorPage | RouteLogin | Promise<Response | AuthenticatorPage | RouteLogin>
}

/**
 * Answers one question: who is this? Whether they may come in is the hub's decision
 * (JupyterHub's login pipeline: normalise, validate, block, allow, admin, hook).
 */
export interface Authenticator {
  /**
   * Must end when `signal` aborts. A throw is a failed login and a log line; the exception are
   * `HubError`s `unavailable` and `too_many_requests`, which are shown with their `Retry-After`.
   */
  authenticate(request: LoginRequest): Promise<Verdict>
  /** Text of a "Sign in with ..." button; replaces the form. */
  readonly loginService?: string
  readonly loginForm?: LoginForm
  /** For logins that leave the site and come back: `/oauth_login` starts it, `/oauth_callback` ends it. */
  readonly strategy?: LoginStrategy
  /** Several of them, by prefix: `/github` has `/github/oauth_login` and `/github/oauth_callback`. */
  readonly strategies?: Readonly<Record<string, LoginStrategy>>
  /** What somebody reads whom the provider knows and this hub does not let in. */
  readonly refusalText?: string
  readonly routes?: readonly AuthenticatorRoute[]
  /**
   * Pages of the authenticator's own that the home page leads to, such as to change a password.
   * `userName` is null for somebody whom another authenticator has let in.
   */
  accountLinks?(visitor: Pick<RouteVisit, 'userName' | 'admin'>): readonly PageLink[]
  /** Asks the provider again: the current identity, or null when the user must log in again. */
  refresh?(identity: Identity): Promise<Identity | null>
  /**
   * Which own allow rule would let this user in, or null; undefined when only a login can tell. For
   * `portico explain login`, and for refreshes that bring nothing new.
   */
  allowedBy?(userName: string): Promise<string | null | undefined>
  /**
   * All roles that the authenticator gives, with their members: asked at each start of the hub where
   * roles are managed by it (JupyterHub: `load_managed_roles`).
   */
  loadManagedRoles?(): Promise<readonly ManagedRole[]>
  /** Where logout continues, for example at the provider; `authState` is what was stored at login. */
  readonly logoutUrl?:
    string | ((authState: Json | undefined) => string | undefined | Promise<string | undefined>)
  /**
   * Called at logout with what was stored at login, before `logoutUrl` is asked; may make tokens
   * worthless. A throw is a line in the log.
   */
  logOut?(authState: Json | undefined): Promise<void>
  /** Called for every new user; must be idempotent. */
  addUser?(userName: string): Promise<void>
  deleteUser?(userName: string): Promise<void>
  /** Mints a one-time link's secret (quick start: to log in; native: to sign up approved). */
  issueLink?(): { readonly path: string; readonly expiresAt: Date }
  /** Ends what the authenticator has started (processes, connections); safe to call twice. */
  close?(): Promise<void>
}

/** A password that the hub keeps for an authenticator. */
export interface StoredPassword {
  readonly userName: string
  readonly passwordHash: string
  /** False while nobody has approved it. */
  readonly approved: boolean
  readonly createdAt: Date
  readonly changedAt: Date | null
  /** True when there was a user of this name before there was a password. */
  readonly userExisted: boolean
  /** Decrypted; null when there is no second factor. */
  readonly totpSecret: Buffer | null
}

/**
 * Passwords that the hub keeps for authenticators without a provider. Names are compared by
 * `nameKey`; an entry goes when its user is deleted, and follows when the user is renamed.
 */
export interface PasswordStore {
  /** Whether the hub has a key to encrypt second factors with. */
  readonly keepsSecrets: boolean
  find(userName: string): Promise<StoredPassword | null>
  /**
   * Makes an entry, and the user where there is none; false when the name has an entry already.
   * `if-new` approves it only when there was no such user, whose rights a stranger would get.
   */
  add(
    userName: string,
    entry: { readonly passwordHash: string; readonly approved: boolean | 'if-new' },
  ): Promise<boolean>
  /** Entries that wait for approval, oldest first. */
  pending(limit: number): Promise<readonly StoredPassword[]>
  countPending(): Promise<number>
  /** False when there is no such entry. */
  approve(userName: string): Promise<boolean>
  /** False when there is no such entry. */
  setPassword(userName: string, passwordHash: string): Promise<boolean>
  /**
   * Sets or, with null, removes the second factor; false when there is no such entry.
   * @throws {HubError} `unavailable` when the hub has no key to encrypt it.
   */
  setTotpSecret(userName: string, secret: Buffer | null): Promise<boolean>
  /** Removes the entry, and the user when it was made together with it and has not been used. */
  remove(userName: string): Promise<boolean>
  /** Takes a TOTP step for good; false when it or a later one was taken before. Atomic. */
  takeTotpStep(userName: string, step: number): Promise<boolean>
}

/** An account as a provider names it; at least one of `subject` and `providerSession`. */
export interface ProviderAccount {
  readonly issuer: string
  readonly subject?: string
  readonly providerSession?: string
}

/** One attempt to prove who somebody is; disposing of it ends it. */
export interface GuardedAttempt extends Disposable {
  succeeded(): void
  /** Counts the attempt as wrong. Resolves when that may be answered, or the browser has gone. */
  refused(signal: AbortSignal): Promise<void>
}

/** What the hub gives an authenticator besides its options. */
export interface AuthenticatorContext {
  /** Lines of the hub's log. Never secrets. */
  readonly log: {
    debug(message: string): void
    info(message: string): void
    warn(message: string): void
    error(message: string): void
  }
  /** True when `Identity.groups` becomes the user's groups: only then it need be complete. */
  readonly manageGroups: boolean
  /**
   * What stands beside the field `otp` that the config wants on the login form; null: there is no such
   * field. The hub adds it to its own form; a `loginForm` of the authenticator should have it too.
   */
  readonly otpPrompt: string | null
  readonly passwords: PasswordStore
  /**
   * The address of a path below `/hub` as browsers and providers see it; null when `hub.publicUrl`
   * is not set, so that only requests know it.
   */
  publicUrl(path: string): URL | null
  /**
   * Ends logins of one account at its provider: those of one provider session, or all. Resolves to
   * how many there were (OpenID Connect Back-Channel Logout 1.0).
   */
  endSessions(account: ProviderAccount): Promise<number>
  /** Names that the config gives rights to (allowed, admin, blocked): a stranger must not claim them. */
  isReserved(userName: string): boolean
  /** Ends every login of a user, with all that hangs on them; for a changed password. */
  endLogins(userName: string): Promise<void>
  /**
   * Begins an attempt on a page of the authenticator's own, such as a change of password, where
   * somebody could guess as well as at the login page: all are counted together. Null for `userName`
   * counts for the address alone. Logins are guarded by the hub.
   * @throws {HubError} `too_many_requests` with the seconds to wait, `unavailable`.
   */
  attempt(userName: string | null, peerAddress: string): GuardedAttempt
  /** Whether the config names this user as an admin. */
  isAdmin(userName: string): boolean
}

/** An authenticator as the hub sees it. */
export interface AuthenticatorDriver<Schema extends z.ZodObject = z.ZodObject> {
  readonly name: string
  readonly config: Schema
  /** True when the provider posts back across sites and its attempt cookie needs `SameSite=None`. */
  readonly crossSitePost?: boolean
  /** True for test authenticators that let anybody in: refused on a routable address without an override. */
  readonly insecure?: boolean
  /**
   * Whether options of its own let somebody in. Default: a list or a `true` under a name that begins
   * with `allow`.
   */
  readonly allows?: (config: z.output<Schema>) => boolean
  /** Called once at start. Throws a plain sentence when these options cannot work here (library or program missing). */
  readonly create: (
    config: z.output<Schema>,
    context: AuthenticatorContext,
  ) => Authenticator | Promise<Authenticator>
}

export function defineAuthenticator<Schema extends z.ZodObject>(
  driver: AuthenticatorDriver<Schema>,
): AuthenticatorDriver {
  return driver as unknown as AuthenticatorDriver
}
