import { HubError } from '../core/errors.ts'
import { hubAuthFromEnv, type HubAuthConfig } from '../hub-auth/index.ts'

export interface SingleUserConfig {
  readonly hub: HubAuthConfig
  /** Address to listen on; empty means all interfaces. */
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  /** The folder that the file view shows and never leaves; absolute. */
  readonly rootDir: string
  /** Seconds between activity reports. */
  readonly activityInterval: number
  /** Environment and shell of the terminals. */
  readonly terminalEnv: Readonly<Record<string, string>>
  readonly homeDir: string
}

/** The version of JupyterHub's protocol that we speak; sent as `X-JupyterHub-Version`. */
export const protocolVersion = '6.0.0'

/**
 * Reads the environment that a hub hands to a single-user server. `cwd` is absolute. Throws
 * `invalid_request` with a line that says what is missing or malformed.
 */
export function singleUserFromEnv(env: NodeJS.ProcessEnv, cwd: string): SingleUserConfig {
  const hub = hubAuthFromEnv(env)
  const homeDir = env['HOME'] || cwd
  return {
    hub,
    ...listenAddress(env['JUPYTERHUB_SERVICE_URL'] ?? ''),
    rootDir: rootDirFrom(env['JUPYTERHUB_ROOT_DIR'] ?? '', homeDir, cwd),
    activityInterval: positive(env['JUPYTERHUB_ACTIVITY_INTERVAL'], 300),
    terminalEnv: definedOf(env),
    homeDir,
  }
}

/** `http://ip:port/prefix`, where an empty ip means every interface: not a URL to `new URL`. */
function listenAddress(url: string): { host: string; port: number } {
  const parts = /^(https?):\/\/(\[[\da-f:.]+\]|[^:/[\]]*):(\d{1,5})(?:\/|$)/i.exec(url)
  const [, scheme, host = '', port = ''] = parts ?? []
  if (scheme === undefined || Number(port) > 65_535) {
    const example = 'http://127.0.0.1:8888/user/ada/'
    throw new HubError('invalid_request', `JUPYTERHUB_SERVICE_URL must look like ${example}`)
  }
  if (scheme.toLowerCase() === 'https') {
    const advice = 'start it with an http:// JUPYTERHUB_SERVICE_URL'
    throw new HubError('invalid_request', `the embedded server speaks no TLS itself; ${advice}`)
  }
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
}

function rootDirFrom(given: string, homeDir: string, cwd: string): string {
  if (given === '') return cwd
  if (given === '~' || given.startsWith('~/')) return `${homeDir}${given.slice(1)}`
  return given.startsWith('/') ? given : `${cwd}/${given}`
}

function positive(text: string | undefined, otherwise: number): number {
  const value = Number(text)
  return Number.isFinite(value) && value > 0 ? value : otherwise
}

function definedOf(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(env)
  return Object.fromEntries(entries.filter((e): e is [string, string] => e[1] !== undefined))
}
