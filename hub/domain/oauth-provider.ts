import { createHash } from 'node:crypto'
import {
  covers,
  describeScope,
  expandScopes,
  holdsAny,
  isScope,
  type ScopeCatalogue,
} from '../../packages/core/scopes.ts'
import type { Events } from '../events.ts'
import type { OauthClient, OauthCode, OauthStore } from '../store/oauth.ts'
import type { RoleStore } from '../store/roles.ts'
import type { Session } from '../store/sessions.ts'
import { matchesHash, newSecret, type TokenStore } from '../store/tokens.ts'
import type { User, UserStore } from '../store/users.ts'
import { type Access, type Caller, userOf } from './access.ts'
import type { Changes } from './changes.ts'
import {
  grantableScopes,
  impliedScopes,
  opens,
  requestedScopes,
  scopeOwner,
} from './oauth-scopes.ts'
import { sameText } from './signed-values.ts'

/** Parameters of one request, each with all its values: a repeated one is an error (RFC 6749 section 3.1). */
export type Parameters = ReadonlyMap<string, readonly string[]>

/** What the authorize endpoint answers. */
export type Authorization =
  /** Nothing may be sent to the client: the user sees why. */
  | { readonly kind: 'refused'; readonly status: 400 | 403; readonly message: string }
  /** Back to the client, with a code or an error. */
  | { readonly kind: 'redirect'; readonly location: string }
  | {
      readonly kind: 'consent'
      readonly client: OauthClient
      readonly scopes: readonly ConsentScope[]
    }

export interface ConsentScope {
  readonly raw: string
  readonly description: string
  readonly filter: string | null
  /** Comes with every login: who the user is, and access to this one client. */
  readonly isImplied: boolean
}

/** What the token endpoint answers (RFC 6749 sections 5.1 and 5.2). */
export type TokenAnswer =
  | {
      readonly kind: 'token'
      readonly accessToken: string
      readonly expiresInSeconds: number
      readonly scope: string
    }
  | {
      readonly kind: 'error'
      readonly status: 400 | 401
      readonly error: string
      readonly description: string
    }

/** The authorization-code grant for single-user servers and services (RFC 6749, 7636, 9700). */
export interface OauthProvider {
  /** `consented`: the raw scopes of a posted consent form, null for a first visit. */
  authorize(
    query: Parameters,
    caller: Caller,
    consented: readonly string[] | 'denied' | null,
  ): Promise<Authorization>
  token(body: Parameters): Promise<TokenAnswer>
  /** Where this client gets its browsers back, when that is another site; null for all others. */
  returnOrigin(clientId: string): Promise<string | null>
}

/** Milliseconds a code is good for. */
const codeLifetime = 60_000

/** Names that one request may use in place of scopes. */
const mostRoles = 50

interface AuthorizeRequest {
  readonly client: OauthClient
  readonly redirectUri: string
  readonly state: string | null
  readonly codeChallenge: string | null
  readonly codeChallengeMethod: 'S256' | 'plain' | null
  readonly scopes: readonly string[]
}

export interface OauthProviderDeps {
  readonly oauth: OauthStore
  readonly tokens: TokenStore
  readonly users: UserStore
  readonly roles: Pick<RoleStore, 'scopesOf'>
  readonly access: Access
  readonly changes: Changes
  readonly events: Events
  readonly clock: () => Date
  readonly tokenSeconds: number
  readonly requirePkce: boolean
  /** Sent as `iss` (RFC 9207) when the public url is known. */
  readonly issuer: string | null
}

export function createOauthProvider(deps: OauthProviderDeps): OauthProvider {
  return new CodeGrant(deps)
}

type Target = Pick<AuthorizeRequest, 'redirectUri' | 'state'>

class CodeGrant implements OauthProvider {
  readonly #deps: OauthProviderDeps

  constructor(deps: OauthProviderDeps) {
    this.#deps = deps
  }

  async authorize(
    query: Parameters,
    caller: Caller,
    consented: readonly string[] | 'denied' | null,
  ): Promise<Authorization> {
    const { oauth, requirePkce, access } = this.#deps
    const { catalogue } = access
    const { proof } = caller
    const user = userOf(caller)
    if (!user || proof.kind !== 'session')
      return refused(403, 'log in with a browser to authorize an application')
    const client = await oauth.findClient(single(query, 'client_id') ?? '')
    const wanted = await this.#wantedScopes(query)
    const request = readRequest(query, client, { requirePkce, wanted, catalogue })
    if ('kind' in request) return request
    if ('error' in request)
      return this.#back(request, { error: request.error, error_description: request.description })
    if (!(await this.#mayOpen(request.client, caller.scopes)))
      return refused(403, `You do not have access to ${request.client.description}`)
    const granted = grantableScopes(request.scopes, caller, { client: request.client, catalogue })
    if (consented === 'denied')
      return this.#back(request, { error: 'access_denied', error_description: 'the user refused' })
    if (consented === null && (await this.#needsConsent(request.client, user, granted))) {
      const implied = impliedScopes(request.client)
      const scopes = granted.map((raw) => {
        return { raw, ...describeScope(raw, catalogue), isImplied: implied.includes(raw) }
      })
      return { kind: 'consent', client: request.client, scopes }
    }
    const agreed = consented && [...consented, ...impliedScopes(request.client)]
    const scopes = agreed ? granted.filter((scope) => agreed.includes(scope)) : granted
    return this.#issueCode(request, user, proof.session, scopes)
  }

  async token(body: Parameters): Promise<TokenAnswer> {
    const { oauth, clock } = this.#deps
    for (const [name, values] of body)
      if (values.length > 1) return failure('invalid_request', `${name} is given more than once`)
    const client = await this.#authenticateClient(body)
    if (!client)
      return failure('invalid_client', 'unknown client, or wrong client_secret in the body')
    if (single(body, 'grant_type') !== 'authorization_code')
      return failure('unsupported_grant_type', 'only authorization_code is supported')
    const secret = single(body, 'code')
    if (!secret) return failure('invalid_request', 'code is missing')
    const code = await oauth.findCode(secret)
    if (!code || code.clientId !== client.id) return failure('invalid_grant', 'unknown code')
    if (code.consumed) return this.#replayed(code)
    if (code.expiresAt <= clock()) return failure('invalid_grant', 'the code has expired')
    return verifyCode(body, code) ?? this.#exchange(client, code)
  }

  async returnOrigin(clientId: string): Promise<string | null> {
    const client = await this.#deps.oauth.findClient(clientId)
    return client && URL.canParse(client.redirectUri) ? new URL(client.redirectUri).origin : null
  }

  /** The raw scopes of the `scope` parameter, in which names of roles stand for their scopes; null when it is empty. */
  async #wantedScopes(query: Parameters): Promise<readonly string[] | null> {
    const names = (single(query, 'scope') ?? '').split(' ').filter((name) => name !== '')
    if (names.length === 0) return null
    const { roles, access } = this.#deps
    const others = names.filter((name) => !isScope(name, access.catalogue)).slice(0, mostRoles)
    const found = await Promise.all(others.map((name) => roles.scopesOf(name)))
    const meant = new Map(others.map((name, index) => [name, found[index]]))
    return names.filter((name) => name !== 'identify').flatMap((name) => meant.get(name) ?? [name])
  }

  async #mayOpen(client: OauthClient, scopes: ReadonlySet<string>): Promise<boolean> {
    if (opens(client, scopes)) return true
    if (!client.server || !holdsAny(scopes, 'access:servers')) return false
    return opens(client, scopes, await this.#deps.access.groupsOf(client.server.userName))
  }

  /** Back to the client, which is known to own this redirect URI. */
  #back({ redirectUri, state }: Target, values: Record<string, string>): Authorization {
    const { issuer } = this.#deps
    const query = new URLSearchParams(values)
    if (state !== null) query.set('state', state)
    if (issuer !== null) query.set('iss', issuer)
    const separator = redirectUri.includes('?') ? '&' : '?'
    return { kind: 'redirect', location: `${redirectUri}${separator}${query.toString()}` }
  }

  async #issueCode(
    request: AuthorizeRequest,
    user: User,
    session: Session,
    scopes: readonly string[],
  ): Promise<Authorization> {
    const { oauth, clock } = this.#deps
    const code = newSecret()
    await oauth.saveCode(code, {
      clientId: request.client.id,
      userId: user.id,
      sessionId: session.id,
      browserSessionId: session.browserSessionId,
      redirectUri: request.redirectUri,
      scopes,
      codeChallenge: request.codeChallenge,
      codeChallengeMethod: request.codeChallengeMethod,
      expiresAt: new Date(clock().getTime() + codeLifetime),
    })
    return this.#back(request, { code })
  }

  /** Own servers and services of the no-confirm kind need none, nor does what this client was granted before. */
  async #needsConsent(
    client: OauthClient,
    user: User,
    scopes: readonly string[],
  ): Promise<boolean> {
    const { oauth, clock } = this.#deps
    if (client.server?.userId === user.id || client.service?.noConfirm) return false
    const owner = scopeOwner(client, user.name)
    const { catalogue } = this.#deps.access
    const earlier = await oauth.grantedScopes(user.id, client.id, clock())
    const granted = expandScopes(earlier, owner, catalogue)
    return ![...expandScopes(scopes, owner, catalogue)].every((scope) => covers(granted, scope))
  }

  async #authenticateClient(body: Parameters): Promise<OauthClient | null> {
    const secret = single(body, 'client_secret') ?? ''
    const client = await this.#deps.oauth.findClient(single(body, 'client_id') ?? '')
    return client && secret !== '' && matchesHash(secret, client.secretHash) ? client : null
  }

  /** Somebody else may have the code: what it gave is taken back (RFC 9700 section 2.1.1). */
  async #replayed(code: OauthCode): Promise<TokenAnswer> {
    const { tokens, users, changes, events } = this.#deps
    const [revoked, user] = [await tokens.revokeOfCode(code.id), await users.findById(code.userId)]
    changes.touchRights(code.userId)
    for (const id of user ? revoked : [])
      events.emit({ kind: 'token-revoked', user: user?.name ?? '', token: `a${id}`, by: 'hub' })
    return failure('invalid_grant', 'the code was used before; its tokens are revoked')
  }

  async #exchange(client: OauthClient, code: OauthCode): Promise<TokenAnswer> {
    const { oauth, tokens, users, access, events, clock, tokenSeconds } = this.#deps
    const user = await users.findById(code.userId)
    const owner = user && !user.blocked ? ({ kind: 'user', user } as const) : null
    const scopes = owner && (await access.rightsOf(owner)).scopes
    if (!user || !scopes || !(await this.#mayOpen(client, scopes)))
      return failure('invalid_grant', 'the user has no access any more')
    if (!(await oauth.consumeCode(code.id, clock())))
      return failure('invalid_grant', 'the code was used before')
    const { id, secret } = await tokens.issue(
      {
        userId: user.id,
        clientId: client.id,
        sessionId: code.sessionId,
        browserSessionId: code.browserSessionId,
        codeId: code.id,
        scopes: code.scopes,
        note: '',
        expiresAt: new Date(clock().getTime() + tokenSeconds * 1000),
      },
      clock(),
    )
    const by = client.identifier
    events.emit({ kind: 'token-issued', user: user.name, token: `a${id}`, by })
    const scope = code.scopes.join(' ')
    return { kind: 'token', accessToken: secret, expiresInSeconds: tokenSeconds, scope }
  }
}

type Refusal = Extract<Authorization, { kind: 'refused' }>
type RedirectError = Pick<AuthorizeRequest, 'redirectUri' | 'state'> & {
  readonly error: string
  readonly description: string
}

interface AuthorizeRules {
  readonly requirePkce: boolean
  readonly wanted: readonly string[] | null
  readonly catalogue: ScopeCatalogue
}

/** Errors before client and redirect URI are known to be right never leave the hub (RFC 6749 section 4.1.2.1). */
function readRequest(
  query: Parameters,
  client: OauthClient | null,
  { requirePkce, wanted, catalogue }: AuthorizeRules,
): AuthorizeRequest | Refusal | RedirectError {
  const refuse = (message: string): Refusal => refused(400, message)
  for (const [name, values] of query)
    if (values.length > 1) return refuse(`The parameter ${name} is given more than once`)
  if (!client)
    return refuse(
      'Unknown client_id: the server may have been stopped or restarted. Open it again from the home page',
    )
  const redirectUri = single(query, 'redirect_uri') ?? client.redirectUri
  if (redirectUri !== client.redirectUri)
    return refuse('The redirect_uri is not the registered one')
  const state = single(query, 'state')
  const fail = (error: string, description: string): RedirectError => ({
    redirectUri,
    state,
    error,
    description: plainDescription(description),
  })
  const responseType = single(query, 'response_type')
  if (responseType === null) return fail('invalid_request', 'response_type is missing')
  if (responseType !== 'code') return fail('unsupported_response_type', 'only code is supported')
  const pkce = readPkce(query, client.requirePkce || requirePkce)
  if (typeof pkce === 'string') return fail('invalid_request', pkce)
  const scopes = requestedScopes(wanted, client, catalogue)
  if (typeof scopes === 'string') return fail('invalid_scope', scopes)
  return { client, redirectUri, state, ...pkce, scopes }
}

function readPkce(
  query: Parameters,
  required: boolean,
): Pick<AuthorizeRequest, 'codeChallenge' | 'codeChallengeMethod'> | string {
  const codeChallenge = single(query, 'code_challenge')
  const method = single(query, 'code_challenge_method')
  if (codeChallenge === null) {
    if (required) return 'code_challenge is required (PKCE, S256)'
    return method === null
      ? { codeChallenge, codeChallengeMethod: null }
      : 'code_challenge is missing'
  }
  if (!/^[A-Za-z0-9._~-]{43,128}$/.test(codeChallenge)) return 'code_challenge is malformed'
  if (method !== null && method !== 'S256' && method !== 'plain')
    return 'unknown code_challenge_method'
  if (required && method !== 'S256') return 'code_challenge_method must be S256'
  return { codeChallenge, codeChallengeMethod: method ?? 'plain' }
}

/** Redirect URI and PKCE verifier of the exchange; null when they are right. A wrong one does not use up the code. */
function verifyCode(body: Parameters, code: OauthCode): TokenAnswer | null {
  const redirectUri = single(body, 'redirect_uri')
  if (redirectUri !== null && redirectUri !== code.redirectUri)
    return failure('invalid_request', 'redirect_uri is not the one of the authorization')
  const verifier = single(body, 'code_verifier')
  if (code.codeChallenge === null)
    return verifier === null
      ? null
      : failure('invalid_grant', 'a code_verifier without a code_challenge')
  if (verifier === null) return failure('invalid_request', 'code_verifier is missing')
  const challenge =
    code.codeChallengeMethod === 'S256'
      ? createHash('sha256').update(verifier).digest('base64url')
      : verifier
  return sameText(challenge, code.codeChallenge)
    ? null
    : failure('invalid_grant', 'wrong code_verifier')
}

function single(parameters: Parameters, name: string): string | null {
  return parameters.get(name)?.[0] ?? null
}

function failure(error: string, description: string): TokenAnswer {
  const status = error === 'invalid_client' ? 401 : 400
  return { kind: 'error', status, error, description: plainDescription(description) }
}

/** Descriptions quote what was sent, and may have no other characters than these (RFC 6749 sections 4.1.2.1 and 5.2). */
function plainDescription(text: string): string {
  return text.slice(0, 200).replaceAll(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, "'")
}

function refused(status: 400 | 403, message: string): Refusal {
  return { kind: 'refused', status, message }
}
