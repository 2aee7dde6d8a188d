import { randomUUID } from 'node:crypto'
import { sameText, signValue, verifyValue } from './signed-values.ts'

/**
 * Cross-site request forgery tokens on JupyterHub's wire: the `_xsrf` cookie, presented again as the
 * `_xsrf` argument or `X-XSRFToken` header. The cookie is the unpadded url-safe base64 of a signed
 * value that names its session, or a random anonymous id; unlike JupyterHub's, it does not depend
 * on the address of the client.
 */
export interface Xsrf {
  /** The token of this browser, and whether its cookie must be (re)set. `session` is null before login. */
  tokenFor(
    cookies: readonly string[],
    session: string | null,
  ): { readonly token: string; readonly isNew: boolean }
  /** Whether `presented` is the token of this browser and session. */
  matches(cookies: readonly string[], session: string | null, presented: string): boolean
}

/** Days after which a token is worthless, as in JupyterHub. */
const maxAgeDays = 31

export function createXsrf(key: Buffer, clock: () => Date = () => new Date()): Xsrf {
  const idOf = (cookie: string): string | null => {
    if (cookie.length > 1024 || !/^[A-Za-z0-9_-]+$/.test(cookie)) return null
    const bytes = Buffer.from(cookie, 'base64url')
    const signed = bytes.toString('latin1')
    // Decoding forgives odd ends, and one token has one spelling.
    if (bytes.toString('base64url') !== cookie) return null
    return verifyValue(key, '_xsrf', signed, { maxAgeDays, now: clock() })
  }
  const belongs = (cookie: string, session: string | null): boolean => {
    const id = idOf(cookie)
    if (id === null) return false
    return session === null ? id.startsWith('anonymous:') : id === `session:${session}`
  }
  const create = (session: string | null): string => {
    const id = session === null ? `anonymous:${randomUUID()}` : `session:${session}`
    return Buffer.from(signValue(key, '_xsrf', id, clock())).toString('base64url')
  }

  return {
    tokenFor(cookies, session) {
      const known = cookies.find((cookie) => belongs(cookie, session))
      return known === undefined
        ? { token: create(session), isNew: true }
        : { token: known, isNew: false }
    },
    matches(cookies, session, presented) {
      const known = cookies.find((cookie) => belongs(cookie, session))
      if (known !== undefined && sameText(known, presented)) return true
      return session !== null && presented !== '' && belongs(presented, session)
    },
  }
}

/** What a browser says about where a request comes from. */
export interface Provenance {
  readonly method: string
  /** `Sec-Fetch-Site`, `Sec-Fetch-Mode`, `Origin`, or null when absent. */
  readonly site: string | null
  readonly mode: string | null
  readonly origin: string | null
  /** Host names (with port) under which this hub was reached. */
  readonly hosts: readonly string[]
}

/**
 * Why a request that changes something cannot be meant by the user, or null. Browsers that send
 * `Sec-Fetch-Site` are believed; for others `Origin`, when present, must be ours.
 */
export function crossSiteReason({ site, origin, hosts }: Provenance): string | null {
  if (site !== null)
    return site === 'same-origin' || site === 'none'
      ? null
      : `the browser says it was sent by another site (Sec-Fetch-Site: ${site})`
  if (origin === null) return null
  const host = /^https?:\/\/([^/]+)$/.exec(origin)?.[1]
  return host !== undefined && hosts.includes(host)
    ? null
    : `its Origin is not this hub; if a front end changes Host, set hub.publicUrl or keep the original Host`
}

/**
 * Whether a cookie-authenticated API request needs the token (JupyterHub's table, wire section
 * 8.4): every change does; reads do unless the browser navigates, does not say, or stays same-origin.
 */
export function apiNeedsToken({ method, mode, site }: Provenance): boolean {
  if (method === 'HEAD' || method === 'OPTIONS') return false
  if (method !== 'GET') return true
  if (mode === null || mode === 'navigate' || mode === 'websocket') return false
  return !(mode === 'no-cors' && site === 'same-origin')
}
