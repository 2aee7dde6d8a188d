/** What a request target says, read once from its raw bytes. */
export type RequestPath =
  | { readonly kind: 'path'; readonly path: string; readonly segments: readonly string[] }
  | { readonly kind: 'refused'; readonly reason: string }

/** Bytes that a request target never holds unescaped (RFC 3986 2), and the fragment's mark. */
const forbidden = /[^\x21-\x7e]|#/
/** Cheap sign that a path needs a closer look. */
const suspicious = /[%\\]|\/\./
const badEscape = /%(?![0-9a-f]{2})/i
/** What another reader could take for a separator, or for the end of the text. */
const ambiguous = /\\|%(?:2f|5c|00)/i

/**
 * Judges the raw request target, and decodes its segments once, for matching only: what is forwarded
 * are the bytes that came. Refused is whatever two readers could understand differently:
 * - a leading `//`, a fragment, bytes that must be escaped, invalid percent-encoding;
 * - `.` and `..` segments anywhere, also percent-encoded, also between encoded separators;
 * - `\`, `%2f`, `%5c` and `%00` in the first `routeDepth` segments, which decide about the route.
 *
 * `routeDepth` is the depth of the deepest route. At most that many segments are returned.
 */
export function readRequestPath(url: string, routeDepth: number): RequestPath {
  if (!url.startsWith('/')) return refused('the path must begin with a slash')
  if (url.startsWith('//')) return refused('the path begins with two slashes')
  if (forbidden.test(url)) return refused('the path holds a character that must be escaped')
  const query = url.indexOf('?')
  const path = query < 0 ? url : url.slice(0, query)
  const segments = path.slice(1).split('/', routeDepth)
  if (!suspicious.test(path)) return { kind: 'path', path, segments }
  return judge(path, segments)
}

function judge(path: string, raw: readonly string[]): RequestPath {
  if (badEscape.test(path)) return refused('the path holds invalid percent-encoding')
  if (raw.some((segment) => ambiguous.test(segment))) {
    return refused('the path holds an escaped separator')
  }
  if (hasDotSegment(path)) return refused('the path holds a "." or ".." segment')
  try {
    return { kind: 'path', path, segments: raw.map((segment) => decodeURIComponent(segment)) }
  } catch {
    return refused('the path is not UTF-8')
  }
}

function hasDotSegment(path: string): boolean {
  const separated = path.replace(/\\|%2f|%5c/gi, '/').replace(/%2e/gi, '.')
  return /\/\.{1,2}(?:\/|$)/.test(separated)
}

function refused(reason: string): RequestPath {
  return { kind: 'refused', reason }
}
