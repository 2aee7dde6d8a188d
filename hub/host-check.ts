import type { IncomingMessage } from 'node:http'
import { HubError } from '../packages/core/errors.ts'
import type { HubUrls } from './domain/urls.ts'

/** @throws {HubError} `invalid_request` for a host that this hub does not answer to. */
export type HostCheck = (req: IncomingMessage, path: string) => void

/**
 * Refuses a host this hub does not answer to, so that no other name can be pointed at it (DNS
 * rebinding). Servers and the proxy, which come without `X-Forwarded-Host`, may use any name when
 * only the public url is known. Health checks may use any.
 */
export function hostCheck({
  hosts,
  urls,
}: {
  /** Hosts that browsers may use, or null when any will do. */
  readonly hosts: ReadonlySet<string> | null
  readonly urls: HubUrls
}): HostCheck {
  const { publicUrl } = urls
  if (publicUrl === null && hosts === null) return () => {}
  const isOurs = (name: string): boolean =>
    publicUrl === null
      ? (hosts?.has(name.replace(/:\d+$/, '').toLowerCase()) ?? true)
      : hostOf(name, publicUrl) === publicUrl.host
  return ({ headers }, path) => {
    if (/(?:^|\/hub|\/hub\/api)\/health$/.test(path)) return
    const [forwarded = ''] = String(headers['x-forwarded-host'] ?? '').split(',')
    const names = forwarded === '' ? [] : [forwarded.trim()]
    if (publicUrl === null) names.push(headers.host ?? '')
    const foreign = names.find((name) => !isOurs(name))
    if (foreign === undefined) return
    const shown = JSON.stringify(foreign.slice(0, 100))
    throw new HubError('invalid_request', `this hub does not answer to the name ${shown}`)
  }
}

/** The host in its normal form, without the port that its scheme implies. */
function hostOf(host: string, { protocol }: URL): string {
  const text = `${protocol}//${host}`
  return URL.canParse(text) ? new URL(text).host : ''
}
