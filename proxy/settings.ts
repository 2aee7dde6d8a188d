import type { LogLevel } from './log.ts'

/** What a proxy needs to know to run, checked. Durations are milliseconds, 0 for no limit. */
export interface ProxySettings {
  readonly publicBind: Bind
  readonly apiBind: Bind
  /** Null for no metrics. */
  readonly metricsBind: Bind | null
  /** Where plain HTTP is sent to https, or null. */
  readonly redirect: Redirect | null
  /** Null for plain HTTP. */
  readonly publicTls: ServerTls | null
  readonly apiTls: ServerTls | null
  /** How https targets and an https error target are spoken to. */
  readonly clientTls: ClientTls
  /** Null opens the API to whoever reaches it. */
  readonly authToken: string | null
  readonly defaultTarget: string | null
  readonly errorTarget: string | null
  readonly errorPath: string | null
  readonly logLevel: LogLevel
  /** A file for one line of JSON per request, `-` for the standard output, null for none. */
  readonly accessLog: string | null
  readonly xForward: boolean
  readonly customHeaders: readonly (readonly [name: string, value: string])[]
  /** Entries for `TrustedPeers`. */
  readonly trustedProxies: readonly string[]
  /** Whether the first segment of a route's path is the host that it serves. */
  readonly hostRouting: boolean
  /** Whether a target's own path comes before that of the request. */
  readonly prependPath: boolean
  /** Whether the target sees the path of the route. */
  readonly includePrefix: boolean
  /** Whether the target gets its own name as `Host`. */
  readonly changeOrigin: boolean
  readonly autoRewrite: boolean
  /** The scheme of a rewritten `Location`, or null. */
  readonly protocolRewrite: string | null
  /** How long a client's connection may be silent while it is served. */
  readonly timeout: number
  /** How long a target may be silent while it serves. */
  readonly proxyTimeout: number
  readonly keepAliveTimeout: number
  /** How long a client may take for the head of a request, and for its TLS handshake. */
  readonly headerTimeout: number
  /** How long a client may be silent within the body of its request. */
  readonly uploadTimeout: number
  /** How long an open WebSocket may be silent, both ways. */
  readonly webSocketTimeout: number
  /** How long requests under way may go on when the proxy ends. */
  readonly drainTimeout: number
  readonly limits: Limits
  /** Where the table survives a restart, or null. */
  readonly persistRoutes: string | null
  /** A module with a class that holds the table, or null. */
  readonly storageBackend: string | null
  /** Whether to answer 503 until the first route or table has come. */
  readonly waitForRoutes: boolean
  /** How many processes serve the public side; with one it is this one. */
  readonly workers: number
  readonly pidFile: string | null
}

export type Bind =
  | {
      /** Null for all interfaces. */
      readonly host: string | null
      /** 0 for any free port. */
      readonly port: number
    }
  | { readonly socketPath: string }

export interface Redirect {
  readonly port: number
  /** The port of the https side as browsers see it. */
  readonly to: number
}

/** What bounds a single client and a single route; 0 for no limit. */
export interface Limits {
  /** Requests and WebSockets of one client address under way at once. */
  readonly clientConcurrency: number
  /** Requests of one client address each second, with bursts of as many. */
  readonly clientRate: number
  /** Requests and WebSockets of one route under way at once. */
  readonly routeConcurrency: number
}

/** What every TLS context shares. */
interface TlsCommon {
  /** The cipher list of OpenSSL, or null for that of Node. */
  readonly ciphers: string | null
  /** A method of OpenSSL, such as `TLSv1_2_method`, or null. */
  readonly protocol: string | null
  readonly dhparam: string | null
}

/** TLS of a listener: PEM files. */
export interface ServerTls extends TlsCommon {
  readonly key: string
  readonly cert: string
  /** Who may sign client certificates. */
  readonly ca: string | null
  readonly passphrase: string | null
  /** Whether a client without a certificate that verifies is refused. */
  readonly requestCert: boolean
}

/** TLS towards targets: PEM files. */
export interface ClientTls extends TlsCommon {
  readonly key: string | null
  readonly cert: string | null
  readonly ca: string | null
  /** Whether any certificate of a target will do. */
  readonly insecure: boolean
}
