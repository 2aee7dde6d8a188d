/**
 * The path of a route as the proxy keeps it: decoded, without a slash at the end but for `/` itself.
 * `/user/a%40b/` becomes `/user/a@b`.
 */
export function pathOfRoutespec(routespec: string): string {
  const path = decodeURIComponent(routespec)
  return path.endsWith('/') && path !== '/' ? path.slice(0, -1) : path
}

/** The way back, in JupyterHub's spelling: all but `@/~` and what never needs it is escaped. */
export function routespecOfPath(path: string): string {
  const escaped = escapePath(path)
  return escaped.endsWith('/') ? escaped : `${escaped}/`
}

/** Percent-encodes a decoded path as Python's `quote(path, safe='@/~')`. */
export function escapePath(path: string): string {
  return encodeURIComponent(path)
    .replace(/%(?:40|2F)/g, decodeURIComponent)
    .replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** How many segments a decoded path has. */
export function depthOfPath(path: string): number {
  return path === '/' ? 0 : path.split('/').length - 1
}
