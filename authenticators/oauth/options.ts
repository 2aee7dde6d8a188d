import type { Identity } from 'portico/authenticator'
import type { Json } from 'portico/spawner'
import { z } from 'zod'
import type { Claims } from './provider.ts'

type AuthState = Readonly<Record<string, Json>>

const exact = (what: string) =>
  z.string().refine((text) => text !== '' && text === text.trim(), {
    error: `must not be empty, or begin or end with a space: copy the ${what} again`,
  })

/** An https url, or http on this machine. */
export const providerUrl = z
  .string()
  .refine(isProviderUrl, { error: 'must be an https url (http only for this machine)' })

export function isProviderUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password } = new URL(text)
  if (username !== '' || password !== '') return false
  return protocol === 'https:' || (protocol === 'http:' && isThisMachine(hostname))
}

export function isThisMachine(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(hostname)
}

const callable = <Signature extends (...args: never[]) => unknown>() =>
  z.custom<Signature>((value) => typeof value === 'function', { error: 'must be a function' })

/** Parameters that protect a login. */
const ownParameters = [
  'client_id',
  'redirect_uri',
  'response_type',
  'response_mode',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
]

export interface Defaults {
  readonly loginService: string
  readonly scope: readonly string[]
  readonly usernameClaim: string
  readonly authStateGroupsKey: string
}

/** Options of every OAuth and OpenID Connect provider (JupyterHub's `OAuthenticator`). */
export const oauthOptions = (defaults: Defaults) => ({
  /** What this hub is called at the provider. */
  clientId: exact('client id'),
  /** Its secret there. */
  clientSecret: exact('client secret').optional(),
  /** File that holds the secret. */
  clientSecretFile: z.string().min(1).optional(),
  /** File with a private key (PKCS #8, PEM), by which this hub proves itself instead of a secret. */
  clientKeyFile: z.string().min(1).optional(),
  /** The key's `kid`, where the provider knows several. */
  clientKeyId: z.string().min(1).optional(),
  /** Sends the secret in a header rather than in the body. */
  basicAuth: z.boolean().default(false),
  /** Where the provider sends browsers back: `.../hub/oauth_callback`. */
  oauthCallbackUrl: z
    .string()
    .refine((text) => URL.canParse(text), { error: 'is not a url' })
    .optional(),
  scope: z.array(z.string().min(1)).default([...defaults.scope]),
  extraAuthorizeParams: z
    .record(z.string(), z.string())
    .refine((given) => !ownParameters.some((name) => name in given), {
      error: `must not hold what the hub sets itself: ${ownParameters.join(', ')}`,
    })
    .default({}),
  tokenParams: z.record(z.string(), z.string()).default({}),
  /** The claim that is the user's name, or a function of the profile. */
  usernameClaim: z
    .union([z.string().min(1), callable<(user: Claims) => string>()])
    .default(defaults.usernameClaim),
  /** Takes an e-mail address for a name even when the provider has not checked it. */
  allowUnverifiedEmail: z.boolean().default(false),
  /** Groups whose members may come in. */
  allowedGroups: z.array(z.string().min(1)).default([]),
  /** Groups whose members are admins; others are not, unless `adminUsers` names them. */
  adminGroups: z.array(z.string().min(1)).default([]),
  /** Where groups lie in auth state, or a function of it. They must be an array of texts. */
  authStateGroupsKey: z
    .union([z.string(), callable<(state: AuthState) => unknown>()])
    .default(defaults.authStateGroupsKey),
  /** Whoever grants all these scopes may come in. */
  allowedScopes: z.array(z.string().min(1)).default([]),
  modifyAuthStateHook: callable<(state: AuthState) => AuthState | Promise<AuthState>>().optional(),
  /** `true`: still right; `false`: log in again; an identity: take this; null: go on as usual. */
  refreshUserHook:
    callable<
      (identity: Identity) => boolean | Identity | null | Promise<boolean | Identity | null>
    >().optional(),
  /** Ends the login at the provider too. */
  logoutAtProvider: z.boolean().default(false),
  /** Where logout leads in the end; the provider must know it when `logoutAtProvider` is on. */
  logoutRedirectUrl: z
    .string()
    .refine((text) => URL.canParse(text), { error: 'is not a url' })
    .optional(),
  /** What somebody reads whom the provider knows and this hub does not let in. */
  custom403Message: z.string().default(''),
  /** The text after "Sign in with". */
  loginService: z.string().min(1).default(defaults.loginService),
})

const base = z.strictObject(
  oauthOptions({ loginService: '', scope: [], usernameClaim: '', authStateGroupsKey: '' }),
)

export type OauthOptions = z.output<typeof base>
