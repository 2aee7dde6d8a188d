import { HubError } from '../core/errors.ts'

/** Attributes a site may set on our cookies through `JUPYTERHUB_COOKIE_OPTIONS`. */
export interface CookieOptions {
  readonly sameSite?: 'Lax' | 'Strict' | 'None'
  readonly secure?: boolean
}

/**
 * What a server or service knows about its hub. Names follow the `JUPYTERHUB_*` variables that
 * JupyterHub hands to every process it starts.
 */
export interface HubAuthConfig {
  /** The hub's REST root, without a trailing slash. */
  readonly apiUrl: string
  /** Our own token: the OAuth client secret, and the key material of our cookies. */
  readonly apiToken: string
  readonly clientId: string
  /** Public origin of the hub; empty when it shares ours. */
  readonly host: string
  /** Prefix of the whole site, `/` at both ends. */
  readonly baseUrl: string
  /** Our own prefix, `/` at both ends. */
  readonly servicePrefix: string
  /** `redirect_uri` exactly as registered with the hub: a path, or a full URL with subdomains. */
  readonly callbackUrl: string
  /** Any one of these lets a user in. */
  readonly accessScopes: readonly string[]
  /** Owner of the server; empty for a service. */
  readonly user: string
  readonly serverName: string
  /** Where to report activity; absent for services. */
  readonly activityUrl?: string
  /** Our public URL; empty when the hub does not know it. */
  readonly publicUrl: string
  readonly cookieOptions: CookieOptions
}

export type Environment = Readonly<Record<string, string | undefined>>

/**
 * Reads the variables of JupyterHub's single-user and service environment. Throws
 * `invalid_request` naming every missing or malformed variable at once.
 */
export function hubAuthFromEnv(env: Environment): HubAuthConfig {
  const problems: string[] = []
  const required = (name: string): string => {
    const value = env[name] ?? ''
    if (value === '') problems.push(`${name} is not set`)
    return value
  }
  const apiUrl = required('JUPYTERHUB_API_URL').replace(/\/+$/, '')
  if (apiUrl !== '' && !/^https?:/.test(apiUrl)) problems.push('JUPYTERHUB_API_URL is not a URL')
  const apiToken = env['JUPYTERHUB_API_TOKEN'] ?? required('JUPYTERHUB_API_TOKEN')
  const service = env['JUPYTERHUB_SERVICE_NAME'] ?? ''
  const clientId =
    env['JUPYTERHUB_CLIENT_ID'] ??
    (service ? `service-${service}` : required('JUPYTERHUB_CLIENT_ID'))
  const servicePrefix = slashed(required('JUPYTERHUB_SERVICE_PREFIX'))
  const accessScopes = scopeList(env, problems)
  const cookieOptions = cookieOptionsFrom(env['JUPYTERHUB_COOKIE_OPTIONS'], problems)
  if (problems.length > 0) {
    const hint = 'a hub sets these when it starts a server'
    throw new HubError('invalid_request', `${problems.join('; ')} (${hint})`)
  }
  const activityUrl = env['JUPYTERHUB_ACTIVITY_URL'] ?? ''
  return {
    apiUrl,
    apiToken,
    clientId,
    host: (env['JUPYTERHUB_HOST'] ?? '').replace(/\/+$/, ''),
    baseUrl: slashed(env['JUPYTERHUB_BASE_URL'] ?? '/'),
    servicePrefix,
    callbackUrl: env['JUPYTERHUB_OAUTH_CALLBACK_URL'] || `${servicePrefix}oauth_callback`,
    accessScopes,
    user: env['JUPYTERHUB_USER'] ?? '',
    serverName: env['JUPYTERHUB_SERVER_NAME'] ?? '',
    ...(activityUrl !== '' && { activityUrl }),
    publicUrl: env['JUPYTERHUB_PUBLIC_URL'] ?? '',
    cookieOptions,
  }
}

function slashed(prefix: string): string {
  return `/${prefix.replace(/^\/+|\/+$/g, '')}/`.replace('//', '/')
}

function scopeList(env: Environment, problems: string[]): string[] {
  const name = 'JUPYTERHUB_OAUTH_ACCESS_SCOPES'
  const text = env[name] ?? env['JUPYTERHUB_OAUTH_SCOPES'] ?? ''
  const scopes = parseJson(text)
  if (Array.isArray(scopes) && scopes.length > 0 && scopes.every((s) => typeof s === 'string')) {
    return scopes
  }
  problems.push(`${name} is not a JSON list of scopes`)
  return []
}

/** Keys of tornado's cookies are case-insensitive here; those we do not know are left out. */
function cookieOptionsFrom(text: string | undefined, problems: string[]): CookieOptions {
  if (text === undefined || text === '') return {}
  const given = parseJson(text)
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    problems.push('JUPYTERHUB_COOKIE_OPTIONS is not a JSON object')
    return {}
  }
  const options = new Map(Object.entries(given).map(([key, value]) => [key.toLowerCase(), value]))
  const wanted = String(options.get('samesite') ?? '').toLowerCase()
  const sameSite = (['Lax', 'Strict', 'None'] as const).find((s) => s.toLowerCase() === wanted)
  const secure: unknown = options.get('secure')
  return {
    ...(sameSite !== undefined && { sameSite }),
    ...(typeof secure === 'boolean' && { secure }),
  }
}

/** The parsed value, or undefined when the text is not JSON. */
export function parseJson(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return value
  } catch {
    return undefined
  }
}
