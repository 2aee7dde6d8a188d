import type { z } from 'zod'
import type { Json } from './spawner.ts'

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
  /** True or false sets the admin mark, absent leaves it as it is. */
  readonly admin?: boolean
  /** Replaces the user's groups when groups are managed by the authenticator; absent leaves them alone. */
  readonly groups?: readonly string[]
  /** Encrypted at rest, handed back to `refresh`. */
  readonly authState?: Json
  /** Profile data in clear: name, display_name, initials, avatar_url, color. */
  readonly userInfo?: { readonly [key: string]: Json }
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
  /** Filled from the url's fragment by a same-origin script, which then submits the form. */
  readonly fromFragment?: true
}

/** What the login page shows instead of user name and password. */
export interface LoginForm {
  readonly title: string
  /** Plain text above the fields. */
  readonly help: string
  readonly fields: readonly LoginField[]
}

/** A page or endpoint an authenticator needs under the hub's prefix. */
export interface AuthenticatorRoute {
  readonly method: 'GET' | 'POST'
  /** Below `/hub`, beginning with `/`. */
  readonly path: string
  handle(request: Request): Response | Promise<Response>
}

/**
 * Answers one question: who is this? Whether they may come in is the hub's decision
 * (JupyterHub's login pipeline: normalise, validate, block, allow, admin, hook).
 */
export interface Authenticator {
  /** Must end when `signal` aborts. A throw is a failed login and a log line. */
  authenticate(request: LoginRequest): Promise<Verdict>
  /** Text of a "Sign in with ..." button; replaces the form. */
  readonly loginService?: string
  readonly loginForm?: LoginForm
  /** A passport strategy, for logins that leave the site and come back. */
  readonly strategy?: unknown
  readonly routes?: readonly AuthenticatorRoute[]
  /** Asks the provider again: the current identity, or null when the user must log in again. */
  refresh?(identity: Identity): Promise<Identity | null>
  /** Where logout continues, for example at the provider. */
  readonly logoutUrl?: string
  /** Called for every new user; must be idempotent. */
  addUser?(userName: string): Promise<void>
  deleteUser?(userName: string): Promise<void>
  /** Mints a one-time login link's secret (quick start). */
  issueLink?(): { readonly path: string; readonly expiresAt: Date }
}

/** An authenticator as the hub sees it. */
export interface AuthenticatorDriver<Schema extends z.ZodObject = z.ZodObject> {
  readonly name: string
  readonly config: Schema
  /** True when the provider posts back across sites and its attempt cookie needs `SameSite=None`. */
  readonly crossSitePost?: boolean
  /** True for test authenticators that let anybody in: refused on a routable address without an override. */
  readonly insecure?: boolean
  readonly create: (config: z.output<Schema>) => Authenticator | Promise<Authenticator>
}

export function defineAuthenticator<Schema extends z.ZodObject>(
  driver: AuthenticatorDriver<Schema>,
): AuthenticatorDriver {
  return driver as unknown as AuthenticatorDriver
}
