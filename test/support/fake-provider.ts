import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { TestContext } from 'node:test'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

type Json = Record<string, unknown>

/** A request as the provider has got it. */
export interface Asked {
  readonly method: string
  readonly url: URL
  readonly headers: IncomingMessage['headers']
  readonly form: URLSearchParams
}

type Answer = {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

/** A provider that says whatever the test wants, and signs it. */
export interface FakeProvider {
  readonly issuer: string
  /** Every request, in order. */
  readonly asked: Asked[]
  /** Claims of the next ID tokens, over `iss`, `sub`, `aud`, `exp`, `iat` and `nonce`; undefined takes one away. */
  claims: Json
  /** What userinfo says besides; null: there is no such endpoint. */
  userinfo: Json | null
  /** Changes the metadata. */
  metadata: Json
  /** Changes what comes back in the browser's url. */
  answerUrl: (url: URL) => void
  /** Changes the token endpoint's answer. */
  tokens: (answer: Json, asked: Asked) => Json | Answer
  /** Signs an ID token in another way. */
  sign: (claims: Json) => Promise<string>
  /** Endpoints of its own, by path; they come first. */
  readonly routes: Map<string, (asked: Asked) => unknown>
  readonly key: { readonly kid: string; readonly privateKey: CryptoKey; readonly jwk: JWK }
}

/** An answer with another status than 200, or headers. */
export function answering(answer: Answer): object {
  return { [special]: answer }
}
const special = Symbol('answer')

export const clientId = 'the-hub'
export const clientSecret = 'a client secret of the hub'

/** One pair for all: making it is slow. */
let keys: ReturnType<typeof generateKeyPair> | null = null

/** An OpenID Connect and OAuth 2.0 provider of one answer for everybody, on a free port. */
export async function startFakeProvider(t: TestContext): Promise<FakeProvider> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const { privateKey, publicKey } = await (keys ??= generateKeyPair('RS256', { extractable: true }))
  const kid = 'the-key'
  const jwk = { ...(await exportJWK(publicKey)), kid, alg: 'RS256', use: 'sig' }
  const codes = new Map<string, string | null>()
  const provider: FakeProvider = {
    issuer,
    asked: [],
    claims: {},
    userinfo: {},
    metadata: {},
    answerUrl: () => {},
    tokens: (answer) => answer,
    sign: (claims) =>
      new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid }).sign(privateKey),
    routes: new Map(),
    key: { kid, privateKey, jwk },
  }
  const idToken = (nonce: string | null): Promise<string> => {
    const now = Math.floor(Date.now() / 1000)
    const claims: Json = {
      iss: provider.metadata['issuer'] ?? issuer,
      sub: 'subject-1',
      aud: clientId,
      iat: now,
      exp: now + 300,
      nonce: nonce ?? undefined,
      ...provider.claims,
    }
    return provider.sign(JSON.parse(JSON.stringify(claims)) as Json)
  }
  const answerTo = async (asked: Asked): Promise<unknown> => {
    const own = provider.routes.get(asked.url.pathname)
    if (own) return own(asked)
    switch (asked.url.pathname) {
      case '/.well-known/openid-configuration':
        return metadataOf(provider)
      case '/jwks':
        return { keys: [jwk] }
      case '/authorize': {
        const code = `code-${codes.size + 1}`
        codes.set(code, asked.url.searchParams.get('nonce'))
        const back = new URL(asked.url.searchParams.get('redirect_uri') ?? '')
        back.searchParams.set('code', code)
        back.searchParams.set('state', asked.url.searchParams.get('state') ?? '')
        back.searchParams.set('iss', issuer)
        provider.answerUrl(back)
        return answering({ status: 302, headers: { Location: back.href } })
      }
      case '/token': {
        const code = asked.form.get('code') ?? ''
        if (asked.form.get('grant_type') === 'authorization_code' && !codes.has(code))
          return answering({ status: 400, body: { error: 'invalid_grant' } })
        const nonce = codes.get(code) ?? null
        codes.delete(code)
        return provider.tokens(
          {
            access_token: 'an-access-token',
            token_type: 'Bearer',
            expires_in: 300,
            id_token: await idToken(nonce),
          },
          asked,
        )
      }
      case '/userinfo':
        return { sub: provider.claims['sub'] ?? 'subject-1', ...provider.userinfo }
      default:
        return answering({ status: 404, body: {} })
    }
  }
  server.on('request', (req, res) => {
    void (async () => {
      const asked: Asked = {
        method: req.method ?? '',
        url: new URL(req.url ?? '', issuer),
        headers: req.headers,
        form: new URLSearchParams(await text(req)),
      }
      provider.asked.push(asked)
      const answer = await answerTo(asked)
      const { status = 200, headers = {}, body = '' } = specialOf(answer) ?? { body: answer }
      const isText = typeof body === 'string'
      res.writeHead(status, {
        'Content-Type': isText ? 'text/plain' : 'application/json',
        ...headers,
      })
      res.end(isText ? body : JSON.stringify(body))
    })()
  })
  return provider
}

function specialOf(answer: unknown): Answer | undefined {
  return typeof answer === 'object' && answer !== null && special in answer
    ? (answer[special] as Answer)
    : undefined
}

function metadataOf({ issuer, metadata, userinfo }: FakeProvider): Json {
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    ...(userinfo === null ? {} : { userinfo_endpoint: `${issuer}/userinfo` }),
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    ...metadata,
  }
}
