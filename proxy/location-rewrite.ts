import type { ProxySettings } from './settings.ts'

export type LocationRules = Pick<ProxySettings, 'autoRewrite' | 'protocolRewrite'>

/** Those that configurable-http-proxy rewrites: 303 is not among them. */
const rewritten = new Set([201, 301, 302, 307, 308])

/**
 * Puts the public origin in the place of the target's in a `Location`, as the flags say. Those that
 * name another host, or none, stay. `headers` are name, value, name, value, changed in place.
 */
export function rewriteLocation(
  headers: string[],
  status: number,
  targetHost: string,
  publicHost: string | undefined,
  rules: LocationRules,
): void {
  if (!rewritten.has(status)) return
  for (let i = 0; i < headers.length; i += 2) {
    const value = headers[i + 1] ?? ''
    if (headers[i]?.toLowerCase() !== 'location' || !URL.canParse(value)) continue
    const url = new URL(value)
    if (url.host !== targetHost) continue
    const scheme = rules.protocolRewrite ?? url.protocol.slice(0, -1)
    const host = rules.autoRewrite && publicHost !== undefined ? publicHost : url.host
    headers[i + 1] = value.replace(/^[^:]+:\/\/[^/?#]*/, `${scheme}://${host}`)
  }
}
