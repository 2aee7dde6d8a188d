import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Framing } from './request-passes.ts'

/** A request that may be looked at further: its target in origin form, and how its body is framed. */
export interface Admitted {
  readonly kind: 'admitted'
  readonly url: string
  readonly framing: Framing
}

export interface Refused {
  readonly kind: 'refused'
  readonly status: number
  readonly reason: string
}

/** As many as configurable-http-proxy reads; it drops the others silently. */
const maxHeaders = 2_000

const oddHost = /[\s/?#@\\,]/

/**
 * Refuses requests that two parsers could read differently, beyond what node:http refuses itself
 * (RFC 9112 3.2, 6.1, 11.2): other versions, several or odd Host headers, absolute-form to another
 * host, unusual transfer codings. Also TRACE, which would show a page the headers it may not read.
 */
export function admit(request: IncomingMessage): Admitted | Refused {
  const { method = '', httpVersion, rawHeaders, headers } = request
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return refused(400, 'unknown version of HTTP')
  if (method === 'TRACE' || method === 'CONNECT') return refused(405, `${method} is not supported`)
  if (rawHeaders.length > maxHeaders * 2) return refused(431, 'too many headers')
  if (hasTwo(rawHeaders, 'host')) return refused(400, 'there is more than one Host header')
  if (oddHost.test(headers.host ?? '')) return refused(400, 'the Host header is invalid')
  const url = originForm(request.url ?? '', headers.host ?? '')
  if (url === null) return refused(400, 'the request is for another host')
  const framing = framingOf(headers, httpVersion)
  if (framing === null) return refused(400, 'the body is framed in an unknown way')
  return { kind: 'admitted', url, framing }
}

/** Null when the absolute form names another host than the Host header (RFC 9112 3.2.2). */
function originForm(url: string, host: string): string | null {
  if (url.startsWith('/')) return url
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/is.exec(url)
  if (!absolute) return url
  const [, authority = '', rest = ''] = absolute
  if (authority.toLowerCase() !== host.toLowerCase()) return null
  return rest.startsWith('/') ? rest : `/${rest}`
}

function hasTwo(rawHeaders: readonly string[], wanted: string): boolean {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] ?? ''
    if (name.length === wanted.length && name.toLowerCase() === wanted) count += 1
  }
  return count > 1
}

const none: Framing = { kind: 'none' }
const chunked: Framing = { kind: 'chunked' }
/** Without zeros before it, and small enough for every reader to know it exactly. */
const wholeNumber = /^0*(\d{1,15})$/

/** A length of 0 is no body. node:http has checked already that there are not both or two of them, and that a length is a number. */
function framingOf(headers: IncomingHttpHeaders, version: string): Framing | null {
  const codings = headers['transfer-encoding']
  const length = headers['content-length']
  if (codings !== undefined) {
    const isPlain = codings.toLowerCase() === 'chunked' && version === '1.1' && length === undefined
    return isPlain ? chunked : null
  }
  if (length === undefined) return none
  const [, digits] = wholeNumber.exec(length) ?? []
  if (digits === undefined) return null
  return digits === '0' ? none : { kind: 'length', length: digits }
}

function refused(status: number, reason: string): Refused {
  return { kind: 'refused', status, reason }
}
