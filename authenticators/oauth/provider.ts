import type { AuthenticatorContext } from 'portico/authenticator'
import type { Json } from 'portico/spawner'

/** What a provider says about somebody, as it came: nothing in it has been checked for its type. */
export type Claims = Readonly<Record<string, unknown>>

/** The answer of a provider's API. */
export interface ApiAnswer {
  readonly status: number
  /** Parsed JSON, or null. */
  readonly body: unknown
  /** The next page, from a `Link` header, when it is on the same origin (RFC 8288). */
  readonly next: URL | null
}

/** Everything known about a login when it is judged. */
export interface Facts {
  /** Claims of the ID token, all verified; empty for plain OAuth 2.0. */
  readonly claims: Claims
  /** The profile: claims with those of userinfo, or the answer of the provider's user API. */
  readonly user: Claims
  readonly accessToken: string
  /** Scopes that were granted. */
  readonly scope: readonly string[]
  /** The token endpoint's whole answer. */
  readonly tokens: Claims
  /** Asks the provider's API with the access token. `null` for another token or none. */
  readonly get: (
    url: URL | string,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<ApiAnswer>
}

/** Who somebody is at the provider, for ever, or why that cannot be said. */
export type Account =
  { readonly issuer: string; readonly subject: string } | { readonly refusal: string }

/** Endpoints of a provider that has no metadata, or whose metadata must be fetched in its own way. */
export interface Endpoints {
  readonly issuer: string
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  readonly revocation_endpoint?: string
}

/**
 * What one provider does differently. `kind: 'oidc'` logs in by a verified ID token from a
 * discovered issuer; `kind: 'oauth2'` by what the provider's user API answers.
 */
export interface Provider {
  /** The profile's name in auth state, such as `github_user`. */
  readonly userKey: string
  readonly server:
    | { readonly kind: 'oidc'; readonly issuer: URL }
    | {
        readonly kind: 'oauth2'
        readonly endpoints: Endpoints | (() => Promise<Endpoints>)
        readonly userUrl: string
      }
  readonly authorizeParams?: Readonly<Record<string, string>>
  /** Scopes that are asked for besides those of the config. */
  readonly scope?: readonly string[]
  /** Default for `oidc`: issuer and `sub` of the ID token. */
  account?(facts: Facts): Account
  /** The name that the user is to have; absent: what `usernameClaim` says. */
  userName?(facts: Facts): string | undefined
  /** Why this person may not come in whatever else allows them, or null. */
  refusal?(facts: Facts): Promise<string | null> | string | null
  /** The provider's own allow rule that lets this person in. */
  allowedBy?(facts: Facts): Promise<string | undefined> | string | undefined
  /** What is stored besides tokens and profile. */
  extraState?(facts: Facts): Promise<Readonly<Record<string, Json>>>
  /** Replaces the groups that `authStateGroupsKey` finds. Null: they cannot be known. */
  groups?(facts: Facts): Promise<readonly string[] | null> | readonly string[] | null
  /** True or false decides; absent leaves it to `adminGroups`. */
  admin?(facts: Facts): Promise<boolean | undefined> | boolean | undefined
  /** Where logout continues when the provider's metadata name no place. */
  readonly logoutUrl?: string
}

export type OauthContext = Pick<
  AuthenticatorContext,
  'log' | 'manageGroups' | 'publicUrl' | 'endSessions'
>

/** The provider's API did not answer what was asked. */
export class ProviderFailure extends Error {
  override readonly name = 'ProviderFailure'
  /** The status of its answer, or 0. */
  readonly status: number

  constructor(what: string, status = 0) {
    super(`${what}: the provider answered ${status === 0 ? 'something else' : status}`)
    this.status = status
  }
}

/** The text at a dotted path, or undefined for anything that is no text. */
export function textAt(claims: unknown, path: string): string | undefined {
  const value = valueAt(claims, path)
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** What lies at a dotted path of own properties. A whole name with dots in it counts first. */
export function valueAt(claims: unknown, path: string): unknown {
  if (typeof claims !== 'object' || claims === null) return undefined
  if (Object.hasOwn(claims, path)) return (claims as Record<string, unknown>)[path]
  const [first = '', ...rest] = path.split('.')
  if (rest.length === 0 || !Object.hasOwn(claims, first)) return undefined
  return valueAt((claims as Record<string, unknown>)[first], rest.join('.'))
}

/** The texts of an array; null when it is none or holds anything else: half a list is no list. */
export function textsOf(value: unknown): readonly string[] | null {
  if (!Array.isArray(value)) return null
  return value.every((entry) => typeof entry === 'string') ? value : null
}

/** A number or text that names an account; other values name nobody. */
export function idOf(value: unknown): string | null {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value)
  return typeof value === 'string' && value !== '' ? value : null
}

/** Whether the provider says that it has checked the address. Silence is a no. */
export function isEmailVerified(user: Claims): boolean {
  const said = user['email_verified'] ?? user['verified_email']
  return said === true || said === 'true'
}

/** The account of an API's own id. */
export function accountOf(issuer: string, id: unknown): Account {
  const subject = idOf(id)
  return subject === null
    ? { refusal: 'the provider names no account that stays the same' }
    : { issuer, subject }
}
