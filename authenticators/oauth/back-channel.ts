import type { AuthenticatorRoute, ProviderAccount } from 'portico/authenticator'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import type { Configuration } from 'openid-client'
import { patience } from './http.ts'
import { textAt } from './provider.ts'

/** Seconds by which clocks may differ, and after which a logout token is too old. */
const tolerance = 30
const oldest = 150

const event = 'http://schemas.openid.net/event/backchannel-logout'

export interface BackChannelDeps {
  readonly configuration: () => Promise<Configuration>
  readonly endSessions: (account: ProviderAccount) => Promise<number>
  readonly warn: (message: string) => void
}

/**
 * The endpoint to which the provider posts when somebody has logged out there (OpenID Connect
 * Back-Channel Logout 1.0). Every check of section 2.6 must pass before anything ends.
 */
export function backChannelLogout(deps: BackChannelDeps): AuthenticatorRoute {
  const keys = createKeys()
  const seen = new SeenTokens()
  return {
    method: 'POST',
    path: '/oauth_backchannel_logout',
    crossSite: true,
    async handle(_request, { form }) {
      try {
        const token = await verify(await deps.configuration(), form['logout_token'] ?? '', keys)
        const { id, ...account } = token
        if (!seen.isNew(id)) throw new Error('it was used before')
        await deps.endSessions(account)
        return answer(200, {})
      } catch (error) {
        deps.warn(
          `a logout token was refused: ${error instanceof Error ? error.message : 'unknown'}`,
        )
        return answer(400, { error: 'invalid_request' })
      }
    },
  }
}

type Keys = (url: string) => ReturnType<typeof createRemoteJWKSet>

/** The provider's keys, fetched when one is missing and at most every half minute. */
function createKeys(): Keys {
  const sets = new Map<string, ReturnType<typeof createRemoteJWKSet>>()
  return (url) => {
    const set = sets.get(url) ?? createRemoteJWKSet(new URL(url), { timeoutDuration: patience })
    sets.set(url, set)
    return set
  }
}

/** Ids of the logout tokens of the last minutes: one that comes again would end a new login. */
class SeenTokens {
  readonly #until = new Map<string, number>()

  /** True once for each id, for as long as its token is good. */
  isNew(id: string): boolean {
    const now = performance.now()
    for (const [known, until] of this.#until) {
      if (until > now) break
      this.#until.delete(known)
    }
    if (this.#until.has(id)) return false
    this.#until.set(id, now + (oldest + 2 * tolerance) * 1_000)
    return true
  }
}

async function verify(
  config: Configuration,
  token: string,
  keys: Keys,
): Promise<ProviderAccount & { readonly id: string }> {
  const { issuer, jwks_uri } = config.serverMetadata()
  if (jwks_uri === undefined) throw new Error('the provider has no keys')
  const { payload, protectedHeader } = await jwtVerify(token, keys(jwks_uri), {
    issuer,
    audience: config.clientMetadata().client_id,
    algorithms: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512'],
    clockTolerance: tolerance,
    maxTokenAge: oldest,
    requiredClaims: ['iat', 'jti', 'events'],
  })
  const { typ } = protectedHeader
  if (typ !== undefined && !/^(?:application\/)?(?:logout\+)?jwt$/i.test(typ))
    throw new Error(`it is of the type ${typ}`)
  if ('nonce' in payload) throw new Error('it holds a nonce, as an ID token does')
  const events: unknown = payload['events']
  if (typeof events !== 'object' || events === null || !Object.hasOwn(events, event))
    throw new Error('it is no logout token')
  const [id, subject, providerSession] = ['jti', 'sub', 'sid'].map((name) => textAt(payload, name))
  if (id === undefined) throw new Error('its jti is no text')
  if (subject === undefined && providerSession === undefined)
    throw new Error('it names neither an account nor a session')
  return {
    id,
    issuer,
    ...(subject === undefined ? {} : { subject }),
    ...(providerSession === undefined ? {} : { providerSession }),
  }
}

function answer(status: number, body: object): Response {
  return Response.json(body, { status, headers: { 'Cache-Control': 'no-store' } })
}
