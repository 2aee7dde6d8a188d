import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

/** What the platform calls itself. */
export const issuer = 'https://platform.test'
export const claim = 'https://purl.imsglobal.org/spec/lti/claim'
export const part = (value: object): string =>
  Buffer.from(JSON.stringify(value)).toString('base64url')
export const newKey = () => generateKeyPairSync('rsa', { modulusLength: 2_048 })

/** A learning platform with its keys; the options are those of a hub that knows it. */
export interface LtiPlatform {
  readonly options: Record<string, unknown>
  readonly key: KeyObject
  readonly kid: string
  readonly publicPem: string
  /** How often its keys were asked for. */
  readonly asked: () => number
}

/** Publishes its keys until the test ends. */
export async function startPlatform(t: TestContext): Promise<LtiPlatform> {
  const { publicKey, privateKey } = newKey()
  const kid = randomUUID()
  let asked = 0
  const server = createServer((_request, response) => {
    asked += 1
    const keys = [{ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' }]
    response.end(JSON.stringify({ keys }))
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    key: privateKey,
    kid,
    publicPem: publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    asked: () => asked,
    options: {
      issuer,
      clientId: 'hub',
      deploymentIds: ['7'],
      authorizeUrl: `${issuer}/authorize?x=1`,
      jwksEndpoint: `http://127.0.0.1:${port}/keys`,
    },
  }
}

/** A token that the platform has signed. */
export function tokenOf(platform: LtiPlatform, claims: object, header: object = {}): string {
  const input = `${part({ alg: 'RS256', kid: platform.kid, ...header })}.${part(claims)}`
  return `${input}.${sign('RSA-SHA256', Buffer.from(input), platform.key).toString('base64url')}`
}

/** The claims of a launch that is right, with changes. */
export function claimsOf(
  nonce: unknown,
  change: Record<string, unknown> = {},
): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1_000)
  return {
    iss: issuer,
    aud: 'hub',
    sub: 'u-1',
    email: 'zoe@platform.test',
    iat: now,
    exp: now + 300,
    nonce,
    [`${claim}/version`]: '1.3.0',
    [`${claim}/message_type`]: 'LtiResourceLinkRequest',
    [`${claim}/deployment_id`]: '7',
    [`${claim}/resource_link`]: { id: 'r-1' },
    [`${claim}/roles`]: [],
    [`${claim}/custom`]: { login: 'zoe' },
    ...change,
  }
}
