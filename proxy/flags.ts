import { parseArgs } from 'node:util'
import { type LogLevel, logLevels } from './log.ts'
import type { ProxySettings } from './settings.ts'
import { parseTarget } from './target.ts'
import { TrustedPeers, defaultTrustedPeers } from './trusted-peers.ts'

/** What the command line asks for. */
export type Invocation =
  | { readonly kind: 'run'; readonly settings: ProxySettings }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }

/** A flag or variable that cannot be followed. The message is one line for the person who set it. */
export class BadFlag extends Error {
  override readonly name: string = 'BadFlag'
}

interface Flag {
  readonly short?: string
  /** What stands after the flag in the help; absent for a switch. */
  readonly value?: string
  readonly multiple?: boolean
  readonly help: string
}

const flags = {
  ip: { value: 'ADDRESS', help: 'public address (default: all interfaces)' },
  port: { value: 'N', help: 'public port, 0 for any free one (default: 8000)' },
  'api-ip': { value: 'ADDRESS', help: 'address of the REST API (default: localhost)' },
  'api-port': { value: 'N', help: 'port of the REST API (default: the public port + 1)' },
  'default-target': { value: 'URL', help: 'where requests go that no other route matches' },
  'error-target': { value: 'URL', help: 'server that renders error pages at URL/<status>?url=' },
  'error-path': { value: 'FOLDER', help: 'folder with <status>.html and error.html' },
  'trusted-proxies': {
    value: 'LIST',
    multiple: true,
    help: 'peers whose X-Forwarded-* headers are believed: addresses, networks, "loopback", "unix" (default: loopback,unix)',
  },
  'no-x-forward': {
    help: 'add no X-Forwarded-* headers; those of untrusted peers are still dropped',
  },
  'custom-header': {
    value: '"NAME: VALUE"',
    multiple: true,
    help: 'header set on each forwarded request; may be repeated',
  },
  timeout: { value: 'MS', help: 'end client connections that are silent for so long' },
  'proxy-timeout': { value: 'MS', help: 'give up targets that are silent for so long' },
  'keep-alive-timeout': {
    value: 'MS',
    help: 'keep idle client connections for so long (default: 5000)',
  },
  'wait-for-routes': {
    help: 'answer 503 until the first route has been set; needs CONFIGPROXY_AUTH_TOKEN',
  },
  'log-level': { value: 'LEVEL', help: `one of ${logLevels.join(', ')} (default: info)` },
  'pid-file': { value: 'FILE', help: 'write the process id to a file, removed at the end' },
  version: { short: 'V', help: 'print the version' },
  help: { short: 'h', help: 'print this help' },
} as const satisfies Record<string, Flag>

type FlagName = keyof typeof flags
type Values = Partial<Record<FlagName, string | boolean | (string | boolean)[]>>

/**
 * Reads the flags, which are those of configurable-http-proxy 5.3, and `CONFIGPROXY_AUTH_TOKEN` and
 * `CONFIGPROXY_TRUSTED_PROXIES`. Of a flag that is given twice the last one counts.
 * @throws {BadFlag}
 */
export function readFlags(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Invocation {
  const values = parse(argv)
  if (values.help === true) return { kind: 'help' }
  if (values.version === true) return { kind: 'version' }
  const settings = settingsFrom(values, env)
  if (settings.errorTarget !== null && settings.errorPath !== null) {
    throw new BadFlag('--error-target and --error-path exclude each other')
  }
  if (settings.waitForRoutes && settings.authToken === null) {
    throw new BadFlag('--wait-for-routes needs a token in CONFIGPROXY_AUTH_TOKEN')
  }
  return { kind: 'run', settings }
}

export function helpText(): string {
  const rows = Object.entries<Flag>(flags).map(([name, { short, value, help }]) => {
    const spelled = `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`
    return `  ${spelled.padEnd(34)} ${help}`
  })
  return `Usage: portico-proxy [flags]

An HTTP and WebSocket proxy whose routes are set over a REST API.

${rows.join('\n')}

Environment:
  CONFIGPROXY_AUTH_TOKEN             token of the REST API; without it the API is open to anyone
  CONFIGPROXY_TRUSTED_PROXIES        same as --trusted-proxies
`
}

function parse(argv: readonly string[]): Values {
  const options = Object.fromEntries(
    Object.entries<Flag>(flags).map(([name, { short, value, multiple = false }]) => [
      name,
      { type: value ? 'string' : 'boolean', multiple, ...(short && { short }) } as const,
    ]),
  )
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    const [line = ''] = (error as Error).message.split(/\. |\.?\n/)
    throw new BadFlag(`${line.replace(/\.$/, '')} (see --help)`, { cause: error })
  }
}

function settingsFrom(
  values: Values,
  env: Readonly<Record<string, string | undefined>>,
): ProxySettings {
  const port = number(values, 'port', 8000, 65_535)
  return {
    publicBind: { host: publicHost(text(values, 'ip')), port },
    apiBind: {
      host: text(values, 'api-ip') || 'localhost',
      port: number(values, 'api-port', port === 0 ? 0 : port + 1, 65_535),
    },
    authToken: env['CONFIGPROXY_AUTH_TOKEN'] || null,
    defaultTarget: url(values, 'default-target'),
    errorTarget: url(values, 'error-target'),
    errorPath: text(values, 'error-path') ?? null,
    logLevel: level(text(values, 'log-level') ?? 'info'),
    xForward: values['no-x-forward'] !== true,
    customHeaders: list(values, 'custom-header').map(customHeader),
    trustedProxies: trustedProxies(values, env),
    timeout: number(values, 'timeout', 0),
    proxyTimeout: number(values, 'proxy-timeout', 0),
    keepAliveTimeout: number(values, 'keep-alive-timeout', 5_000),
    waitForRoutes: values['wait-for-routes'] === true,
    pidFile: text(values, 'pid-file') ?? null,
  }
}

function text(values: Values, name: FlagName): string | undefined {
  const value = values[name]
  return typeof value === 'string' ? value : undefined
}

function list(values: Values, name: FlagName): string[] {
  const value = values[name]
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []
}

/** Timers of Node hold 31 bits. */
function number(values: Values, name: FlagName, fallback: number, most = 2 ** 31 - 1): number {
  const value = text(values, name)
  if (value === undefined) return fallback
  if (!/^\d+$/.test(value) || Number(value) > most) {
    throw new BadFlag(`--${name} must be a whole number up to ${most}, not "${value}"`)
  }
  return Number(value)
}

function url(values: Values, name: FlagName): string | null {
  const value = text(values, name)
  if (value === undefined) return null
  if (parseTarget(value) === null) {
    throw new BadFlag(`--${name} must be an http, https or http+unix URL, not "${value}"`)
  }
  return value
}

function publicHost(value: string | undefined): string | null {
  return value === undefined || value === '' || value === '*' ? null : value
}

function level(value: string): LogLevel {
  const found = logLevels.find((each) => each === value.toLowerCase())
  if (!found)
    throw new BadFlag(`--log-level must be one of ${logLevels.join(', ')}, not "${value}"`)
  return found
}

function customHeader(value: string): [name: string, value: string] {
  const at = value.indexOf(':')
  if (at < 0) {
    throw new BadFlag(`a colon was expected in --custom-header "NAME: VALUE", got "${value}"`)
  }
  const name = value.slice(0, at).trim()
  const content = value.slice(at + 1).trim()
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name) || /[^\t\x20-\x7e\x80-\xff]/.test(content)) {
    throw new BadFlag(`--custom-header "${value}" is no valid header`)
  }
  return [name, content]
}

function trustedProxies(
  values: Values,
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const given = list(values, 'trusted-proxies')
  const fromEnv = env['CONFIGPROXY_TRUSTED_PROXIES']
  if (given.length === 0 && fromEnv === undefined) return defaultTrustedPeers
  const entries = (given.length > 0 ? given.join(',') : (fromEnv ?? ''))
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '')
  try {
    void new TrustedPeers(entries)
    return entries
  } catch (error) {
    throw new BadFlag(`--trusted-proxies: ${(error as Error).message}`, { cause: error })
  }
}
