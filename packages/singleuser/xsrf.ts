import { createHmac, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { HubError } from '../core/errors.ts'
import { cookieValues, setCookie, type Caller, type HubAuth } from '../hub-auth/index.ts'

const safeMethods: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Keeps other sites, and other servers of the same origin, from acting with a browser's cookie:
 * what changes state must come from our own pages, and repeat in `X-XSRFToken` a value of our
 * `_xsrf` cookie that we signed for this user and session. Requests with a token header are exempt.
 */
export class Xsrf {
  readonly #auth: HubAuth
  readonly #key: Buffer

  constructor(auth: HubAuth) {
    this.#auth = auth
    this.#key = Buffer.from(hkdfSync('sha256', auth.config.apiToken, '', 'portico _xsrf', 32))
  }

  /** The value for a page, and the cookie to set with it when the browser has none that is valid. */
  issue(request: IncomingMessage, caller: Caller): { value: string; cookies: string[] } {
    const current = this.#valid(request, caller)[0]
    if (current !== undefined) return { value: current, cookies: [] }
    const nonce = randomBytes(16).toString('base64url')
    const value = `${nonce}.${this.#sign(nonce, caller)}`
    const { servicePrefix: path, cookieOptions } = this.#auth.config
    const secure = this.#auth.isSecure(request)
    return { value, cookies: [setCookie('_xsrf', value, { ...cookieOptions, secure, path })] }
  }

  /** Throws `xsrf_failed`. */
  check(request: IncomingMessage, caller: Caller): void {
    if (caller.via === 'header' || safeMethods.has(request.method ?? '')) return
    if (!fromOurPages(request, this.#auth)) {
      throw new HubError('xsrf_failed', 'this request comes from a page of another origin')
    }
    const given = String(request.headers['x-xsrftoken'] ?? '')
    if (this.#valid(request, caller).includes(given)) return
    throw new HubError('xsrf_failed', 'the X-XSRFToken header is missing or old: reload the page')
  }

  /** Several `_xsrf` cookies may arrive from other paths; only those we signed count. */
  #valid(request: IncomingMessage, caller: Caller): string[] {
    return cookieValues(request.headers.cookie, '_xsrf').filter((value) => {
      const [nonce = '', signature = ''] = value.split('.')
      const expected = Buffer.from(this.#sign(nonce, caller))
      const given = Buffer.from(signature)
      return given.length === expected.length && timingSafeEqual(given, expected)
    })
  }

  #sign(nonce: string, { user, sessionId }: Caller): string {
    const subject = JSON.stringify([nonce, user.kind, user.name, sessionId])
    return createHmac('sha256', this.#key).update(subject).digest('base64url')
  }
}

function fromOurPages(request: IncomingMessage, auth: HubAuth): boolean {
  const site = request.headers['sec-fetch-site']
  return site === undefined ? hasOurOrigin(request, auth) : site === 'same-origin'
}

/**
 * Whether `Origin` is exactly ours: the public URL's when the hub told it, else the host that the
 * browser asked for. False without an `Origin`. A front end may change `Host`, so the host it
 * forwards counts too; no page can make a browser send either falsely.
 */
export function hasOurOrigin(request: IncomingMessage, auth: HubAuth): boolean {
  const origin = request.headers.origin
  if (origin === undefined || !URL.canParse(origin)) return false
  const { publicUrl } = auth.config
  if (publicUrl !== '') return origin === new URL(publicUrl).origin
  const schemes = auth.isSecure(request) ? ['https'] : ['http', 'https']
  return hostsOf(request).some((host) =>
    schemes.some((scheme) => origin === originOf(`${scheme}://${host}`)),
  )
}

function hostsOf({ headers }: IncomingMessage): string[] {
  const forwarded = String(headers['x-forwarded-host'] ?? '').split(',')
  return [headers.host ?? '', ...forwarded].map((host) => host.trim()).filter((host) => host !== '')
}

function originOf(url: string): string | null {
  return URL.canParse(url) ? new URL(url).origin : null
}
