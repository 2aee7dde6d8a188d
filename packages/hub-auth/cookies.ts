import type { CookieOptions } from './config.ts'

/**
 * Every value of one cookie name, in the order sent. A browser sends several when paths overlap,
 * and other servers of the same origin may have planted some: none may be trusted unverified.
 */
export function cookieValues(header: string | undefined, name: string): string[] {
  return cookiePairs(header)
    .filter(([key]) => key === name)
    .map(([, value]) => value)
}

/** Names of all cookies sent that begin with `prefix`. */
export function cookieNames(header: string | undefined, prefix: string): string[] {
  return cookiePairs(header)
    .map(([key]) => key)
    .filter((key) => key.startsWith(prefix))
}

function cookiePairs(header: string | undefined): [string, string][] {
  if (header === undefined) return []
  return header.split(';').flatMap((part): [string, string][] => {
    const at = part.indexOf('=')
    if (at < 1) return []
    const value = part.slice(at + 1).trim()
    return [[part.slice(0, at).trim(), value.replace(/^"(.*)"$/, '$1')]]
  })
}

export interface CookieAttributes extends CookieOptions {
  readonly path: string
  /** Seconds; 0 removes the cookie. Absent: until the browser closes. */
  readonly maxAge?: number
}

/** A `Set-Cookie` value: always HttpOnly, `SameSite=Lax` unless told otherwise, never `Domain`. */
export function setCookie(name: string, value: string, attributes: CookieAttributes): string {
  const { path, maxAge, sameSite = 'Lax', secure = false } = attributes
  return [
    `${name}=${value}`,
    `Path=${path}`,
    'HttpOnly',
    `SameSite=${sameSite}`,
    ...(secure ? ['Secure'] : []),
    ...(maxAge === undefined ? [] : [`Max-Age=${maxAge}`]),
  ].join('; ')
}

/** A client id as cookie name: what RFC 6265 does not allow in a name is percent-encoded. */
export function cookieNameOf(clientId: string): string {
  return clientId.replace(/[^\w.~%!#$&'*+^`|-]/g, (character) => encodeURIComponent(character))
}
