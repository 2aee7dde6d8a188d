import { type Configuration, fetchUserInfo, type TokenEndpointResponse } from 'openid-client'
import type { Identity, Verdict } from 'portico/authenticator'
import type { Json } from 'portico/spawner'
import { getJson } from './http.ts'
import type { OauthOptions } from './options.ts'
import {
  type Claims,
  type Facts,
  isEmailVerified,
  type OauthContext,
  type Provider,
  ProviderFailure,
  textAt,
  textsOf,
  valueAt,
} from './provider.ts'

export interface IdentifyDeps {
  readonly options: OauthOptions
  readonly provider: Provider
  readonly context: OauthContext
  readonly configuration: () => Promise<Configuration>
}

/** The provider's user API has not said who this is. */
export class NoProfile extends ProviderFailure {
  constructor(status: number) {
    super('the profile cannot be read', status)
  }
}

/** Gathers everything that is known about a login, and says who it is. */
export async function identify(
  deps: IdentifyDeps,
  tokens: TokenEndpointResponse,
  claims: Claims,
): Promise<Verdict> {
  const facts = await gather(deps, tokens, claims)
  const { provider } = deps
  const refusal = await provider.refusal?.(facts)
  if (refusal) return { kind: 'denied', reason: refusal }
  const account = provider.account?.(facts) ?? openIdAccount(claims)
  if ('refusal' in account) return { kind: 'denied', reason: account.refusal }
  const name = nameOf(deps, facts)
  if (typeof name !== 'string') return { kind: 'denied', reason: name.refusal }
  const state = await stateOf(deps, facts)
  const groups = await groupsOf(deps, facts, state)
  const needsGroups =
    deps.options.allowedGroups.length > 0 ||
    deps.options.adminGroups.length > 0 ||
    deps.context.manageGroups
  if (groups === null && needsGroups)
    return { kind: 'denied', reason: 'the provider does not say which groups they are in' }
  const rights = await rightsOf(deps, facts, groups ?? [])
  const providerSession = textAt(claims, 'sid')
  const displayName = textAt(facts.user, 'name')
  const identity: Identity = {
    userName: name,
    ...account,
    ...rights,
    authState: state,
    ...(providerSession === undefined ? {} : { providerSession }),
    ...(deps.context.manageGroups ? { groups: [...new Set(groups)] } : {}),
    ...(displayName === undefined ? {} : { userInfo: { display_name: displayName.slice(0, 200) } }),
  }
  return { kind: 'identified', identity }
}

async function gather(
  deps: IdentifyDeps,
  tokens: TokenEndpointResponse,
  claims: Claims,
): Promise<Facts> {
  const { access_token: accessToken } = tokens
  const get: Facts['get'] = (url, headers = { Authorization: `Bearer ${accessToken}` }) =>
    getJson(url, headers)
  const scope = (tokens.scope ?? deps.options.scope.join(' ')).split(/[\s,]+/)
  const user = await profile(deps, accessToken, claims, get)
  return { claims, user, accessToken, scope, tokens: { ...tokens }, get }
}

/** What is signed counts more than what is not. */
async function profile(
  { provider, configuration }: IdentifyDeps,
  accessToken: string,
  claims: Claims,
  get: Facts['get'],
): Promise<Claims> {
  const { server } = provider
  if (server.kind === 'oauth2') {
    const { status, body } = await get(server.userUrl)
    if (status !== 200 || typeof body !== 'object' || body === null) throw new NoProfile(status)
    return { ...body }
  }
  const config = await configuration()
  if (config.serverMetadata().userinfo_endpoint === undefined) return claims
  const info = await fetchUserInfo(config, accessToken, textAt(claims, 'sub') ?? '')
  return { ...info, ...claims }
}

function openIdAccount(claims: Claims) {
  const [issuer, subject] = [textAt(claims, 'iss'), textAt(claims, 'sub')]
  if (issuer === undefined || subject === undefined)
    return { refusal: 'the ID token names no account' }
  return { issuer, subject }
}

function nameOf({ options, provider }: IdentifyDeps, facts: Facts): string | { refusal: string } {
  const { usernameClaim, allowUnverifiedEmail } = options
  if (typeof usernameClaim === 'function') {
    const name: unknown = usernameClaim(facts.user)
    return typeof name === 'string' ? name : { refusal: 'usernameClaim gives no text' }
  }
  if (provider.userName) {
    const name = provider.userName(facts)
    return name ?? { refusal: 'the provider gives them no name that can be used' }
  }
  const name = textAt(facts.user, usernameClaim)
  if (name === undefined) return { refusal: `the profile has no text in ${usernameClaim}` }
  if (usernameClaim === 'email' && !allowUnverifiedEmail && !isEmailVerified(facts.user))
    return { refusal: 'the provider has not verified their e-mail address' }
  return name
}

/** Auth state as JupyterHub's `OAuthenticator` has it. */
async function stateOf(
  { options, provider }: IdentifyDeps,
  facts: Facts,
): Promise<Readonly<Record<string, Json>>> {
  const { tokens, user, scope } = facts
  const state = {
    access_token: facts.accessToken,
    refresh_token: textAt(tokens, 'refresh_token') ?? null,
    id_token: textAt(tokens, 'id_token') ?? null,
    scope: [...scope],
    token_response: asJson(tokens),
    [provider.userKey]: asJson(user),
    ...(await provider.extraState?.(facts)),
  }
  return (await options.modifyAuthStateHook?.(state)) ?? state
}

async function groupsOf(
  { options, provider }: IdentifyDeps,
  facts: Facts,
  state: Readonly<Record<string, Json>>,
): Promise<readonly string[] | null> {
  const { authStateGroupsKey: key } = options
  if (typeof key === 'function') return textsOf(await key(state))
  if (provider.groups) return provider.groups(facts)
  if (key === '') return []
  const value = valueAt(state, key)
  // No claim means no groups; a claim of another type means that nothing is known.
  return value === undefined || value === null ? [] : textsOf(value)
}

async function rightsOf(
  { options, provider }: IdentifyDeps,
  facts: Facts,
  groups: readonly string[],
): Promise<Pick<Identity, 'allowedBy' | 'admin'>> {
  const { allowedGroups, adminGroups, allowedScopes } = options
  const group = allowedGroups.find((wanted) => groups.includes(wanted))
  const hasScopes =
    allowedScopes.length > 0 && allowedScopes.every((wanted) => facts.scope.includes(wanted))
  const allowedBy =
    group !== undefined
      ? `authenticator.allowedGroups (${group})`
      : hasScopes
        ? 'authenticator.allowedScopes'
        : await provider.allowedBy?.(facts)
  const isAdmin = adminGroups.some((wanted) => groups.includes(wanted))
  const decided = await provider.admin?.(facts)
  const admin =
    adminGroups.length > 0 || decided !== undefined ? isAdmin || decided === true : undefined
  return {
    ...(allowedBy === undefined ? {} : { allowedBy }),
    ...(admin === undefined ? {} : { admin }),
  }
}

/** What JSON can hold of it. */
function asJson(value: unknown): Json {
  return JSON.parse(JSON.stringify(value)) as Json
}
