import type { LogLevel } from './log.ts'

/** What a proxy needs to know to run, checked. Durations are milliseconds, 0 for no limit. */
export interface ProxySettings {
  readonly publicBind: Bind
  readonly apiBind: Bind
  /** Null opens the API to whoever reaches it. */
  readonly authToken: string | null
  readonly defaultTarget: string | null
  readonly errorTarget: string | null
  readonly errorPath: string | null
  readonly logLevel: LogLevel
  readonly xForward: boolean
  readonly customHeaders: readonly (readonly [name: string, value: string])[]
  /** Entries for `TrustedPeers`. */
  readonly trustedProxies: readonly string[]
  /** How long a client's connection may be silent while it is served. */
  readonly timeout: number
  /** How long a target may be silent while it serves. */
  readonly proxyTimeout: number
  readonly keepAliveTimeout: number
  /** Whether to answer 503 until the first route or table has come. */
  readonly waitForRoutes: boolean
  readonly pidFile: string | null
}

export interface Bind {
  /** Null for all interfaces. */
  readonly host: string | null
  /** 0 for any free port. */
  readonly port: number
}
