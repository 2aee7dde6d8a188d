/** Where the requests of a route go, taken apart once. */
export interface Target {
  /** As it was given, returned verbatim by the API. */
  readonly url: string
  readonly secure: boolean
  /** The value of a `Host` header: the port is left out when it is the default one. */
  readonly host: string
  readonly connect:
    { readonly host: string; readonly port: number } | { readonly socketPath: string }
  /** Prepended to each path, without a slash at the end; mostly empty. */
  readonly pathPrefix: string
  /** Prepended to each query, without the question mark; mostly empty. */
  readonly query: string
}

/**
 * Reads `http://`, `https://` and `http+unix://<percent-encoded socket path>` (also `unix+http`).
 * Null for anything else.
 */
export function parseTarget(url: string): Target | null {
  return plainTarget(url) ?? otherTarget(url)
}

/** What nearly all routes have, an IPv4 address and a port: to read it as any other URL costs several times as much. */
function plainTarget(url: string): Target | null {
  const [, host, digits] = plainUrl.exec(url) ?? []
  if (host === undefined) return null
  const port = Number(digits)
  return {
    url,
    secure: false,
    host: port === 80 ? host : `${host}:${port}`,
    connect: { host, port },
    pathPrefix: '',
    query: '',
  }
}

const octet = '(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)'
const port = '(?:6553[0-5]|655[0-2]\\d|65[0-4]\\d\\d|6[0-4]\\d{3}|[1-5]\\d{4}|[1-9]\\d{0,3})'
const plainUrl = new RegExp(`^http://(${octet}(?:\\.${octet}){3}):(${port})$`)

function otherTarget(url: string): Target | null {
  if (/[^\x21-\x7e]/.test(url)) return null
  const unix = /^(?:http\+unix|unix\+http):\/\/([^/?#]+)(.*)$/is.exec(url)
  if (unix) return unixTarget(url, unix[1] ?? '', unix[2] ?? '')
  const parsed = /^https?:\/\//i.test(url) ? readUrl(url) : null
  if (parsed === null) return null
  const secure = parsed.protocol === 'https:'
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = parsed.port === '' ? (secure ? 443 : 80) : Number(parsed.port)
  return { url, secure, host: parsed.host, connect: { host, port }, ...pathOf(parsed) }
}

/** The request target that the server behind `target` gets for `path`, which keeps its bytes. */
export function pathAtTarget(target: Target, path: string): string {
  if (target.query === '') return target.pathPrefix + path
  const at = path.indexOf('?')
  return at < 0
    ? `${target.pathPrefix}${path}?${target.query}`
    : `${target.pathPrefix}${path.slice(0, at)}?${target.query}&${path.slice(at + 1)}`
}

function readUrl(url: string): URL | null {
  try {
    return new URL(url)
  } catch {
    return null
  }
}

function unixTarget(url: string, encodedPath: string, rest: string): Target | null {
  const parsed = new URL(`http://localhost${rest}`)
  try {
    const socketPath = decodeURIComponent(encodedPath)
    if (!socketPath.startsWith('/') || socketPath.includes('\0')) return null
    return { url, secure: false, host: 'localhost', connect: { socketPath }, ...pathOf(parsed) }
  } catch {
    return null
  }
}

function pathOf(url: URL): Pick<Target, 'pathPrefix' | 'query'> {
  return { pathPrefix: url.pathname.replace(/\/$/, ''), query: url.search.slice(1) }
}
