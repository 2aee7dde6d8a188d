import { depthOfPath } from './routespec.ts'
import type { Route } from './routes.ts'
import type { ProxySettings } from './settings.ts'
import { pathAtTarget } from './target.ts'

export type PathRules = Pick<ProxySettings, 'hostRouting' | 'includePrefix' | 'prependPath'>

/**
 * The request target that the server of a route gets, byte for byte but for whole segments that
 * `--no-include-prefix` leaves out, and the target's own path and query.
 */
export function targetPath({ path, target }: Route, url: string, rules: PathRules): string {
  const rest = rules.includePrefix ? url : withoutPrefix(url, segmentsIn(path, rules.hostRouting))
  if (!rules.prependPath) return slashed(rest)
  // `/foo` is `/foo` when nothing is left of the request's path.
  return pathAtTarget(target, target.pathPrefix === '' ? slashed(rest) : rest)
}

/** The host of a host-routed path is no part of a request's path. */
function segmentsIn(path: string, hostRouting: boolean): number {
  return Math.max(0, depthOfPath(path) - (hostRouting ? 1 : 0))
}

/** Segments are counted, not letters: an escaped letter is longer than the one in the route. */
function withoutPrefix(url: string, count: number): string {
  if (count === 0) return url
  const query = url.indexOf('?')
  const end = query < 0 ? url.length : query
  let at = 0
  for (let i = 0; i < count; i += 1) {
    const next = url.indexOf('/', at + 1)
    if (next < 0 || next >= end) return url.slice(end)
    at = next
  }
  return url.slice(at)
}

function slashed(path: string): string {
  return path.startsWith('/') ? path : `/${path}`
}
