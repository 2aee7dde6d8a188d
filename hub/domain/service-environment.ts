import { escapeClientId } from '../../packages/core/slug.ts'
import type { StoredService } from '../store/services.ts'
import type { HubUrls } from './urls.ts'

/** How a service logs people in. */
export interface ServiceOauth {
  readonly clientId: string
  readonly redirectUri: string
  /** Raw; access to the service among them. */
  readonly allowedScopes: readonly string[]
}

type OauthSettings = Pick<
  StoredService,
  'name' | 'url' | 'oauthClientId' | 'oauthRedirectUri' | 'oauthClientAllowedScopes'
>

/** Null for a service that browsers cannot come back to (wire section 7.1). */
export function oauthOf(service: OauthSettings, urls: HubUrls): ServiceOauth | null {
  const { name, url, oauthClientId, oauthRedirectUri, oauthClientAllowedScopes } = service
  if (url === null && oauthRedirectUri === null) return null
  return {
    clientId: oauthClientId ?? `service-${escapeClientId(name)}`,
    redirectUri: oauthRedirectUri ?? `${urls.servicePrefix(name)}oauth_callback`,
    allowedScopes: [`access:services!service=${name}`, ...oauthClientAllowedScopes],
  }
}

export interface ServiceEnvironmentOptions {
  readonly service: OauthSettings
  readonly urls: HubUrls
  readonly apiToken: string
  /** Account under which it runs; empty for the hub's own. */
  readonly userName: string
  /** Variables of the hub and of the account. */
  readonly kept: Readonly<Record<string, string>>
  /** The service's own `environment`. */
  readonly own: Readonly<Record<string, string>>
  readonly cookieHostPrefixEnabled: boolean
}

/**
 * The environment of a managed service (wire section 10.2): as for servers, without what is about
 * servers. Its own variables win, but for those that say which service it is.
 */
export function serviceEnvironment(options: ServiceEnvironmentOptions): Record<string, string> {
  const { service, urls, apiToken, userName, kept, own } = options
  const { publicUrl } = urls
  const oauth = oauthOf(service, urls)
  const prefix = urls.servicePrefix(service.name)
  const scopes = JSON.stringify(['access:services', `access:services!service=${service.name}`])
  const isServed = service.url !== null
  return {
    ...kept,
    JUPYTERHUB_API_TOKEN: apiToken,
    JPY_API_TOKEN: apiToken,
    JUPYTERHUB_HOST: '',
    JUPYTERHUB_OAUTH_ACCESS_SCOPES: scopes,
    JUPYTERHUB_OAUTH_SCOPES: scopes,
    JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES: JSON.stringify(service.oauthClientAllowedScopes),
    ...(oauth
      ? {
          JUPYTERHUB_CLIENT_ID: oauth.clientId,
          JUPYTERHUB_OAUTH_CALLBACK_URL: oauth.redirectUri,
        }
      : {}),
    JUPYTERHUB_USER: userName,
    JUPYTERHUB_SERVER_NAME: '',
    JUPYTERHUB_API_URL: `${urls.connectOrigin}${urls.hubPrefix}api`,
    JUPYTERHUB_BASE_URL: urls.baseUrl,
    JUPYTERHUB_PUBLIC_URL: publicUrl && isServed ? `${publicUrl.origin}${prefix}` : '',
    JUPYTERHUB_PUBLIC_HUB_URL: publicUrl ? `${publicUrl.origin}${urls.hubPrefix}` : '',
    JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED: options.cookieHostPrefixEnabled ? '1' : '0',
    ...own,
    JUPYTERHUB_SERVICE_NAME: service.name,
    ...(isServed ? { JUPYTERHUB_SERVICE_URL: service.url, JUPYTERHUB_SERVICE_PREFIX: prefix } : {}),
  }
}
