import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import type { FlagName } from './flag-list.ts'
import { type LogLevel, logLevels } from './log.ts'
import { parseTarget } from './target.ts'
import { TrustedPeers, defaultTrustedPeers } from './trusted-peers.ts'

/** A flag or variable that cannot be followed. The message is one line for the person who set it. */
export class BadFlag extends Error {
  override readonly name: string = 'BadFlag'
}

export type Environment = Readonly<Record<string, string | undefined>>
export type Values = Partial<Record<FlagName, string | boolean | (string | boolean)[]>>

/**
 * The token of the API from `CONFIGPROXY_AUTH_TOKEN`, or from the file that
 * `CONFIGPROXY_AUTH_TOKEN_FILE` names, as in containers. Null when there is none.
 * @throws {BadFlag}
 */
export function authToken(env: Environment): string | null {
  const token = env['CONFIGPROXY_AUTH_TOKEN'] || null
  const file = env['CONFIGPROXY_AUTH_TOKEN_FILE']
  if (!file) return token
  if (token !== null) {
    throw new BadFlag('CONFIGPROXY_AUTH_TOKEN and CONFIGPROXY_AUTH_TOKEN_FILE exclude each other')
  }
  try {
    const read = readFileSync(file, 'utf8').trim()
    if (read !== '') return read
  } catch (error) {
    throw new BadFlag(`CONFIGPROXY_AUTH_TOKEN_FILE: ${(error as Error).message}`, { cause: error })
  }
  throw new BadFlag(`CONFIGPROXY_AUTH_TOKEN_FILE: ${file} is empty`)
}

/** Reads single flags; each method throws `BadFlag` for a value that it cannot use. */
export class FlagValues {
  readonly #values: Values

  constructor(values: Values) {
    this.#values = values
  }

  has(name: FlagName): boolean {
    return this.#values[name] !== undefined
  }

  isOn(name: FlagName): boolean {
    return this.#values[name] === true
  }

  text(name: FlagName): string | null {
    const value = this.#values[name]
    return typeof value === 'string' ? value : null
  }

  list(name: FlagName): string[] {
    const value = this.#values[name]
    return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []
  }

  port(name: FlagName, fallback: number): number {
    return this.number(name, fallback, 65_535)
  }

  /** Timers of Node hold 31 bits. */
  number(name: FlagName, fallback: number, most = 2 ** 31 - 1): number {
    const value = this.text(name)
    if (value === null) return fallback
    if (!/^\d+$/.test(value) || Number(value) > most) {
      throw new BadFlag(`--${name} must be a whole number up to ${most}, not "${value}"`)
    }
    return Number(value)
  }

  /** Empty stands for none, as a variable without a value leaves it. */
  url(name: FlagName): string | null {
    const value = this.text(name) || null
    if (value !== null && parseTarget(value) === null) {
      throw new BadFlag(`--${name} must be an http, https or http+unix URL, not "${value}"`)
    }
    return value
  }

  /** Null for all interfaces. */
  host(name: FlagName): string | null {
    const value = this.text(name)
    return value === '' || value === '*' ? null : value
  }

  logLevel(): LogLevel {
    const value = this.text('log-level') ?? 'info'
    const found = logLevels.find((each) => each === value.toLowerCase())
    if (found) return found
    throw new BadFlag(`--log-level must be one of ${logLevels.join(', ')}, not "${value}"`)
  }

  workers(): number {
    if (this.text('workers') === 'auto') return availableParallelism()
    const count = this.number('workers', 1, 1_000)
    if (count === 0) throw new BadFlag('--workers must be at least 1, or "auto"')
    return count
  }

  protocolRewrite(): string | null {
    const value = this.text('protocol-rewrite')
    if (value === null || /^[a-z][a-z0-9+.-]*$/i.test(value)) return value
    throw new BadFlag(`--protocol-rewrite must be a scheme such as https, not "${value}"`)
  }

  customHeaders(): [name: string, value: string][] {
    return this.list('custom-header').map(customHeader)
  }

  trustedProxies(env: Environment): readonly string[] {
    const given = this.list('trusted-proxies')
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
