/** Where this hub is, to tell its own urls from others. */
export interface Site {
  /** Prefix of everything; begins and ends with `/`. */
  readonly baseUrl: string
  /** Host and port that the browser used. */
  readonly host: string
}

/**
 * The `next` of a login or start as a path of this site, or null when it leads anywhere else
 * (JupyterHub's validation, wire section 8.7). Absolute urls of our own host are reduced to their
 * path; what two parsers could read differently is refused.
 */
export function safeNext(next: unknown, { baseUrl, host }: Site): string | null {
  if (typeof next !== 'string' || next === '' || next.length > 4096) return null
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f]/.test(next)) return null
  const text = next.replaceAll('\\', '%5C')
  const path = text.startsWith('/') ? text : ownPath(text, host)
  if (path === null || path.startsWith('//')) return null
  const resolved = parse(path)
  if (!resolved || resolved.pathname.startsWith('//')) return null
  return resolved.pathname.startsWith(baseUrl) || `${resolved.pathname}/` === baseUrl ? path : null
}

function ownPath(text: string, host: string): string | null {
  if (!/^https?:\/\/[^/]/i.test(text)) return null
  const url = parse(text)
  if (!url || url.host !== host || url.username !== '' || url.password !== '') return null
  return `/${url.pathname.replace(/^\/+/, '')}${url.search}${url.hash}`
}

function parse(text: string): URL | null {
  try {
    return new URL(text, 'http://site.invalid')
  } catch {
    return null
  }
}
