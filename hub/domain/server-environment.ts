import { escapeClientId, escapeSegment } from '../../packages/core/slug.ts'
import type { HubUrls } from './urls.ts'

/** Whose server it is, and the secret of this run. */
export interface ServerIdentity {
  readonly userName: string
  readonly serverName: string
  readonly apiToken: string
  /** Of its OAuth client. */
  readonly clientId: string
}

/** The parts of the config that show in a server's environment. */
export interface EnvironmentOptions {
  /** Variables kept from the hub's own environment, already filtered. */
  readonly kept: Readonly<Record<string, string>>
  readonly notebookDir: string
  readonly defaultUrl: string
  readonly debug: boolean
  readonly disableUserConfig: boolean
  readonly oauthClientAllowedScopes: readonly string[]
  readonly cookieHostPrefixEnabled: boolean
  /** Where servers reach the hub, when not at the usual place. */
  readonly hubConnectUrl: URL | null
}

/** The OAuth client id of a server, which is also the name of its cookie. */
export function oauthClientId(userName: string, serverName: string): string {
  const parts = serverName === '' ? [userName] : [userName, serverName]
  return `jupyterhub-user-${parts.map(escapeClientId).join('-')}`
}

/**
 * The environment every single-user server gets (wire section 10.1), without the configured
 * `environment`, which comes last. `bind` is where the server listens.
 */
export function serverEnvironment(
  { userName, serverName, apiToken, clientId }: ServerIdentity,
  urls: HubUrls,
  options: EnvironmentOptions,
  bind: URL,
): Record<string, string> {
  const prefix = urls.serverPrefix(userName, serverName)
  const apiUrl = `${options.hubConnectUrl?.origin ?? urls.connectOrigin}${urls.hubPrefix}api`
  const scopes = JSON.stringify([
    `access:servers!server=${userName}/${serverName}`,
    `access:servers!user=${userName}`,
  ])
  const { publicUrl } = urls
  const expand = (template: string): string =>
    template.replaceAll('{username}', userName).replaceAll('{base_url}', urls.baseUrl)
  return {
    ...options.kept,
    JUPYTERHUB_API_TOKEN: apiToken,
    JPY_API_TOKEN: apiToken,
    JUPYTERHUB_CLIENT_ID: clientId,
    JUPYTERHUB_HOST: '',
    JUPYTERHUB_OAUTH_CALLBACK_URL: `${prefix}oauth_callback`,
    JUPYTERHUB_OAUTH_ACCESS_SCOPES: scopes,
    JUPYTERHUB_OAUTH_SCOPES: scopes,
    JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES: JSON.stringify(options.oauthClientAllowedScopes),
    JUPYTERHUB_USER: userName,
    JUPYTERHUB_SERVER_NAME: serverName,
    JUPYTERHUB_API_URL: apiUrl,
    JUPYTERHUB_ACTIVITY_URL: `${apiUrl}/users/${escapeSegment(userName)}/activity`,
    JUPYTERHUB_BASE_URL: urls.baseUrl,
    JUPYTERHUB_SERVICE_PREFIX: prefix,
    JUPYTERHUB_SERVICE_URL: `${bind.origin}${prefix}`,
    JUPYTERHUB_PUBLIC_URL: publicUrl ? `${publicUrl.origin}${prefix}` : '',
    JUPYTERHUB_PUBLIC_HUB_URL: publicUrl ? `${publicUrl.origin}${urls.hubPrefix}` : '',
    JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED: options.cookieHostPrefixEnabled ? '1' : '0',
    ...(options.notebookDir === '' ? {} : { JUPYTERHUB_ROOT_DIR: expand(options.notebookDir) }),
    ...(options.defaultUrl === '' ? {} : { JUPYTERHUB_DEFAULT_URL: expand(options.defaultUrl) }),
    ...(options.debug ? { JUPYTERHUB_DEBUG: '1' } : {}),
    ...(options.disableUserConfig ? { JUPYTERHUB_DISABLE_USER_CONFIG: '1' } : {}),
  }
}
