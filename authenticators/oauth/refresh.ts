import { refreshTokenGrant, type TokenEndpointResponse } from 'openid-client'
import type { Identity } from 'portico/authenticator'
import { isOutage } from './errors.ts'
import { identify, type IdentifyDeps, NoProfile } from './identify.ts'
import { type Claims, textAt, valueAt } from './provider.ts'

/**
 * Asks the provider who this is now. Null when it does not know them any more, says that they are
 * somebody else, or gives no valid answer. Without auth state there is nothing to ask with: the
 * identity stays.
 * @throws when the provider does not answer: nobody is logged out for that.
 */
export async function refresh(deps: IdentifyDeps, identity: Identity): Promise<Identity | null> {
  const said = await deps.options.refreshUserHook?.(identity)
  if (said === true) return identity
  if (said === false) return null
  if (said) return said
  const state = identity.authState
  const accessToken = textAt(state, 'access_token')
  if (accessToken === undefined) return identity
  const refreshToken = textAt(state, 'refresh_token')
  const old = { access_token: accessToken, token_type: 'bearer' as const }
  const kept = keep(identity, refreshToken)
  try {
    // Plain OAuth 2.0 answers everything for the access token, as long as it is good.
    if (refreshToken === undefined || deps.provider.server.kind === 'oauth2') {
      const current = await judged(deps, identity, { ...kept, ...old })
      if (current !== 'expired') return current
      if (refreshToken === undefined) return null
    }
    const tokens = await refreshTokenGrant(await deps.configuration(), refreshToken)
    const current = await judged(
      deps,
      identity,
      { ...kept, ...(tokens as TokenEndpointResponse) },
      tokens.claims(),
    )
    return current === 'expired' ? null : current
  } catch (error) {
    if (isOutage(error)) throw error
    deps.context.log.warn(`a refresh of ${identity.userName} failed: ${String(error)}`)
    return null
  }
}

/** What an answer may leave out: refresh tokens that are not rotated, and the ID token. */
function keep({ authState }: Identity, refreshToken: string | undefined) {
  const idToken = textAt(authState, 'id_token')
  const scopes = valueAt(authState, 'scope')
  return {
    ...(refreshToken === undefined ? {} : { refresh_token: refreshToken }),
    ...(idToken === undefined ? {} : { id_token: idToken }),
    ...(Array.isArray(scopes) ? { scope: scopes.join(' ') } : {}),
  }
}

async function judged(
  deps: IdentifyDeps,
  before: Identity,
  tokens: TokenEndpointResponse,
  fresh?: Claims,
): Promise<Identity | null | 'expired'> {
  try {
    const verdict = await identify(deps, tokens, fresh ?? claimsBefore(before))
    if (verdict.kind === 'denied') {
      deps.context.log.info(`a refresh of ${before.userName} is refused: ${verdict.reason}`)
      return null
    }
    const { identity } = verdict
    const isSame = identity.issuer === before.issuer && identity.subject === before.subject
    if (!isSame) deps.context.log.warn(`a refresh of ${before.userName} names another account`)
    return isSame ? identity : null
  } catch (error) {
    if (error instanceof NoProfile && error.status < 500) return 'expired'
    throw error
  }
}

/** The claims of the login, from the ID token that was verified then. */
function claimsBefore({ authState }: Identity): Claims {
  const [, payload = ''] = (textAt(authState, 'id_token') ?? '').split('.')
  if (payload === '') return {}
  return JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')) as Claims
}
