import { createHmac, randomBytes } from 'node:crypto'

/** What OAuth 1.0a signs with (RFC 5849). */
export interface Consumer {
  readonly key: string
  readonly secret: string
}

/** A request token or an access token. */
export interface TokenPair {
  readonly key: string
  readonly secret: string
}

/** A signed request: the url with its query as given, and the header that goes with it. */
export interface SignedRequest {
  readonly url: URL
  readonly headers: { readonly Authorization: string }
  readonly nonce: string
}

/** Signs a GET by HMAC-SHA1 (RFC 5849 section 3.4). `extra` are more `oauth_` parameters. */
export function signed(
  given: URL,
  consumer: Consumer,
  options: { readonly token?: TokenPair; readonly extra?: Readonly<Record<string, string>> } = {},
): SignedRequest {
  const { token, extra = {} } = options
  const nonce = randomBytes(16).toString('hex')
  const oauth: Record<string, string> = {
    ...extra,
    oauth_consumer_key: consumer.key,
    oauth_nonce: nonce,
    oauth_signature_method: 'HMAC-SHA1',
    oauth_timestamp: String(Math.floor(Date.now() / 1000)),
    oauth_version: '1.0',
    ...(token ? { oauth_token: token.key } : {}),
  }
  const parameters = [...Object.entries(oauth), ...given.searchParams]
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&')
  const base = ['GET', `${given.origin}${given.pathname}`, parameters].map(encode).join('&')
  const key = `${encode(consumer.secret)}&${encode(token?.secret ?? '')}`
  const signature = createHmac('sha1', key).update(base).digest('base64')
  const header = Object.entries({ ...oauth, oauth_signature: signature })
    .map(([name, value]) => `${encode(name)}="${encode(value)}"`)
    .join(', ')
  return { url: given, headers: { Authorization: `OAuth ${header}` }, nonce }
}

/** Percent-encodes everything but unreserved characters (RFC 5849 section 3.6). */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
