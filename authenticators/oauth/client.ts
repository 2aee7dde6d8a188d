import { createPrivateKey, type KeyObject, webcrypto } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import {
  allowInsecureRequests,
  type ClientAuth,
  ClientSecretBasic,
  ClientSecretPost,
  Configuration,
  customFetch,
  discovery,
  enableNonRepudiationChecks,
  None,
  PrivateKeyJwt,
} from 'openid-client'
import { boundedFetch, fetchWithoutIdTokens, patience } from './http.ts'
import { isThisMachine, type OauthOptions } from './options.ts'
import type { Provider } from './provider.ts'

/** Milliseconds for which a provider's metadata are believed. */
const metadataLifetime = 3600_000

/** This hub as the provider knows it, and the provider as its metadata describe it. */
export interface ProviderClient {
  /** Fetched when first needed, so that a hub starts while its provider is down. */
  configuration(): Promise<Configuration>
}

/** @throws {Error} a plain sentence when key or secret cannot be read. */
export async function createClient(
  options: OauthOptions,
  { server }: Provider,
): Promise<ProviderClient> {
  const authentication = await clientAuthentication(options)
  let known: { readonly configuration: Promise<Configuration>; readonly since: number } | null =
    null

  const load = async (): Promise<Configuration> => {
    if (server.kind === 'oidc') {
      const insecure = isPlain(server.issuer) ? [allowInsecureRequests] : []
      const configuration = await discovery(server.issuer, options.clientId, {}, authentication, {
        execute: [...insecure, enableNonRepudiationChecks],
        timeout: patience / 1000,
        [customFetch]: boundedFetch,
      })
      configuration.timeout = patience / 1000
      return configuration
    }
    const { endpoints } = server
    const metadata = typeof endpoints === 'function' ? await endpoints() : endpoints
    const configuration = new Configuration({ ...metadata }, options.clientId, {}, authentication)
    configuration.timeout = patience / 1000
    configuration[customFetch] = fetchWithoutIdTokens
    if (isPlain(new URL(metadata.token_endpoint))) allowInsecureRequests(configuration)
    return configuration
  }

  return {
    configuration() {
      const now = performance.now()
      if (known && now - known.since < metadataLifetime) return known.configuration
      const configuration = load()
      const entry = { configuration, since: now }
      known = entry
      configuration.catch(() => {
        if (known === entry) known = null
      })
      return configuration
    },
  }
}

const isPlain = ({ protocol, hostname }: URL): boolean =>
  protocol === 'http:' && isThisMachine(hostname)

async function clientAuthentication(options: OauthOptions): Promise<ClientAuth> {
  const { clientSecretFile, clientKeyFile, clientKeyId, basicAuth } = options
  if (clientKeyFile !== undefined) {
    const key = await signingKey(createPrivateKey(await readFile(clientKeyFile)))
    return PrivateKeyJwt(clientKeyId === undefined ? key : { key, kid: clientKeyId })
  }
  const secret =
    options.clientSecret ??
    (clientSecretFile === undefined ? undefined : (await readFile(clientSecretFile, 'utf8')).trim())
  if (secret === undefined) return None()
  return basicAuth ? ClientSecretBasic(secret) : ClientSecretPost(secret)
}

/** The key for the algorithm that goes with it: RS256, ES256, ES384, ES512 or Ed25519. */
async function signingKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const curve = { prime256v1: 'P-256', secp384r1: 'P-384', secp521r1: 'P-521' }[
    key.asymmetricKeyDetails?.namedCurve ?? ''
  ]
  const algorithm =
    key.asymmetricKeyType === 'rsa'
      ? { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
      : key.asymmetricKeyType === 'ec' && curve !== undefined
        ? { name: 'ECDSA', namedCurve: curve }
        : key.asymmetricKeyType === 'ed25519'
          ? { name: 'Ed25519' }
          : null
  if (algorithm === null)
    throw new Error('authenticator.clientKeyFile must hold an RSA, EC or Ed25519 key')
  const bytes = key.export({ format: 'der', type: 'pkcs8' })
  return webcrypto.subtle.importKey('pkcs8', bytes, algorithm, false, ['sign'])
}
