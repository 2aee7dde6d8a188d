import { escapeSegment } from '../../packages/core/slug.ts'

/** Paths and urls of this hub (JupyterHub's url space). Prefixes begin and end with `/`. */
export interface HubUrls {
  /** Prefix of everything, for example `/`. */
  readonly baseUrl: string
  /** `{baseUrl}hub/`: prefix of all pages and the API. */
  readonly hubPrefix: string
  /** Where servers and the proxy reach the hub: scheme, host and port, no path. */
  readonly connectOrigin: string
  /** The public url with the base url, or null when only requests know it. */
  readonly publicUrl: URL | null
  /** `{baseUrl}user/{user}/` or `{baseUrl}user/{user}/{server}/`: prefix of a server. */
  serverPrefix(userName: string, serverName: string): string
  /** `{baseUrl}services/{service}/` */
  servicePrefix(serviceName: string): string
  /** `{hubPrefix}{kind}/{user}[/{server}]`, for the pages about a server. */
  serverPage(kind: 'spawn' | 'spawn-pending' | 'user', userName: string, serverName: string): string
  /** The REST resource of a server, with the default server's own spelling. */
  serverApi(userName: string, serverName: string): string
}

export function hubUrls(options: {
  readonly baseUrl: string
  readonly connectOrigin: string
  readonly publicUrl: URL | null
}): HubUrls {
  const { baseUrl } = options
  const hubPrefix = `${baseUrl}hub/`
  const suffix = (user: string, server: string): string =>
    server === '' ? escapeSegment(user) : `${escapeSegment(user)}/${escapeSegment(server)}`
  return {
    ...options,
    hubPrefix,
    serverPrefix: (user, server) => `${baseUrl}user/${suffix(user, server)}/`,
    servicePrefix: (service) => `${baseUrl}services/${escapeSegment(service)}/`,
    serverPage: (kind, user, server) => `${hubPrefix}${kind}/${suffix(user, server)}`,
    serverApi: (user, server) =>
      server === ''
        ? `${hubPrefix}api/users/${escapeSegment(user)}/server`
        : `${hubPrefix}api/users/${escapeSegment(user)}/servers/${escapeSegment(server)}`,
  }
}
