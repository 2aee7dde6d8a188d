import { createPublicKey, type JsonWebKey, type KeyObject, verify } from 'node:crypto'
import { z } from 'zod'
import { boundedFetch } from './oauth/http.ts'

/** How long keys are kept, and how soon an unknown one may be asked for again, in ms. */
const keepFor = 10 * 60_000
const askAgainAfter = 30_000

/** Signature algorithms (RFC 7518): RSA only, as the standard of the platforms says. */
const hashOf: Readonly<Record<string, string>> = {
  RS256: 'RSA-SHA256',
  RS384: 'RSA-SHA384',
  RS512: 'RSA-SHA512',
}
export const algorithms = ['RS256', 'RS384', 'RS512'] as const

const header = z.looseObject({ alg: z.string(), kid: z.string(), crit: z.undefined().optional() })
const claims = z.looseObject({})
const keySet = z.looseObject({
  keys: z.array(z.looseObject({ kid: z.string().optional() })).max(100),
})

/** The public keys of a platform (RFC 7517), fetched when they are needed. */
export class PlatformKeys {
  readonly #url: string
  #keys = new Map<string, KeyObject>()
  #fetchedAt = -Infinity

  constructor(url: string) {
    this.#url = url
  }

  /** Null when the platform has no such key. */
  async find(kid: string): Promise<KeyObject | null> {
    const age = performance.now() - this.#fetchedAt
    if (age > keepFor || (!this.#keys.has(kid) && age > askAgainAfter)) await this.#fetch()
    return this.#keys.get(kid) ?? null
  }

  async #fetch(): Promise<void> {
    const answer = await boundedFetch(this.#url, { headers: { Accept: 'application/json' } })
    if (answer.status !== 200)
      throw new Error(`the keys of the platform could not be fetched: ${answer.status}`)
    const { keys } = keySet.parse(await answer.json())
    this.#keys = new Map(
      keys.flatMap((key) => {
        const isForSigning = key['kty'] === 'RSA' && (key['use'] ?? 'sig') === 'sig'
        if (!isForSigning || key.kid === undefined) return []
        return [[key.kid, createPublicKey({ key: key as JsonWebKey, format: 'jwk' })]]
      }),
    )
    this.#fetchedAt = performance.now()
  }
}

/**
 * The claims of a signed token (RFC 7515, RFC 8725): an allowed algorithm, a key of the platform, a
 * right signature. Nothing in the claims is checked here.
 * @throws {Error} what is wrong with it, for the log.
 */
export async function verifiedClaims(
  token: string,
  keys: PlatformKeys,
  allowed: readonly string[],
): Promise<Readonly<Record<string, unknown>>> {
  const [head = '', body = '', signature = '', ...more] = token.split('.')
  if (more.length > 0 || ![head, body, signature].every((part) => /^[\w-]+$/.test(part)))
    throw new Error('it is no signed token')
  const { alg, kid } = header.parse(decoded(head))
  const hash = allowed.includes(alg) ? hashOf[alg] : undefined
  if (hash === undefined) throw new Error(`its algorithm is ${JSON.stringify(alg.slice(0, 20))}`)
  const key = await keys.find(kid)
  if (!key) throw new Error('its key is not one of the platform')
  if (key.asymmetricKeyType !== 'rsa' || (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2_048)
    throw new Error('its key is too weak')
  if (!verify(hash, Buffer.from(`${head}.${body}`), key, Buffer.from(signature, 'base64url')))
    throw new Error('its signature is wrong')
  return claims.parse(decoded(body))
}

function decoded(part: string): unknown {
  return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'))
}
