import { parseArgs } from 'node:util'
import { type FlagName, flagOptions } from './flag-list.ts'
import { BadFlag, type Environment, FlagValues, type Values, authToken } from './flag-values.ts'
import type { Bind, ClientTls, ProxySettings, Redirect, ServerTls } from './settings.ts'

/** What the command line asks for. */
export type Invocation =
  | {
      readonly kind: 'run'
      readonly settings: ProxySettings
      /** What was asked for and has no effect. */
      readonly warnings: readonly string[]
    }
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }

/**
 * Reads the flags, which are those of configurable-http-proxy 5.3 and ours, and the variables
 * `CONFIGPROXY_*`. Of a flag that is given twice the last one counts.
 * @throws {BadFlag}
 */
export function readFlags(argv: readonly string[], env: Environment): Invocation {
  const flags = new FlagValues(parse(argv))
  if (flags.isOn('help')) return { kind: 'help' }
  if (flags.isOn('version')) return { kind: 'version' }
  refuseContradictions(flags)
  const settings = settingsFrom(flags, env)
  if (settings.waitForRoutes && settings.authToken === null) {
    throw new BadFlag('--wait-for-routes needs a token in CONFIGPROXY_AUTH_TOKEN')
  }
  if (settings.storageBackend !== null && settings.workers > 1) {
    throw new BadFlag('--storage-backend and more than one of --workers exclude each other')
  }
  return { kind: 'run', settings, warnings: warningsFor(flags) }
}

function parse(argv: readonly string[]): Values {
  try {
    const options = flagOptions()
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    const [line = ''] = (error as Error).message.split(/\. |\.?\n/)
    throw new BadFlag(`${line.replace(/\.$/, '')} (see --help)`, { cause: error })
  }
}

function refuseContradictions(flags: FlagValues): void {
  const exclusive: readonly (readonly [FlagName, FlagName])[] = [
    ['socket', 'ip'],
    ['socket', 'port'],
    ['api-socket', 'api-ip'],
    ['api-socket', 'api-port'],
    ['metrics-socket', 'metrics-ip'],
    ['metrics-socket', 'metrics-port'],
    ['error-target', 'error-path'],
    ['storage-backend', 'persist-routes'],
  ]
  for (const [one, other] of exclusive) {
    if (flags.has(one) && flags.has(other)) {
      throw new BadFlag(`--${one} and --${other} exclude each other`)
    }
  }
}

function warningsFor(flags: FlagValues): string[] {
  const warnings: string[] = []
  if (flags.text('ip') === '*') warnings.push('--ip * is taken for all interfaces')
  if (flags.isOn('ssl-allow-rc4')) warnings.push('--ssl-allow-rc4 has no effect: RC4 is gone')
  if (flags.isOn('insecure')) warnings.push('--insecure: certificates of targets are not verified')
  return warnings
}

function settingsFrom(flags: FlagValues, env: Environment): ProxySettings {
  const publicTls = serverTls(flags, '', env['CONFIGPROXY_SSL_KEY_PASSPHRASE'])
  return {
    ...bindsFrom(flags),
    redirect: redirectFrom(flags, publicTls !== null),
    publicTls,
    apiTls: serverTls(flags, 'api-', env['CONFIGPROXY_API_SSL_KEY_PASSPHRASE']),
    clientTls: clientTls(flags),
    authToken: authToken(env),
    defaultTarget: flags.url('default-target'),
    errorTarget: flags.url('error-target'),
    errorPath: flags.text('error-path'),
    logLevel: flags.logLevel(),
    accessLog: flags.text('access-log'),
    xForward: !flags.isOn('no-x-forward'),
    customHeaders: flags.customHeaders(),
    trustedProxies: flags.trustedProxies(env),
    hostRouting: flags.isOn('host-routing'),
    prependPath: !flags.isOn('no-prepend-path'),
    includePrefix: !flags.isOn('no-include-prefix'),
    changeOrigin: flags.isOn('change-origin'),
    autoRewrite: flags.isOn('auto-rewrite'),
    protocolRewrite: flags.protocolRewrite(),
    timeout: flags.number('timeout', 0),
    proxyTimeout: flags.number('proxy-timeout', 0),
    keepAliveTimeout: flags.number('keep-alive-timeout', 5_000),
    headerTimeout: flags.number('header-timeout', 20_000),
    uploadTimeout: flags.number('upload-timeout', 120_000),
    webSocketTimeout: flags.number('websocket-timeout', 0),
    // JupyterHub kills a proxy of an earlier run about two seconds after it has asked it to end.
    drainTimeout: flags.number('drain-timeout', 1_500),
    limits: {
      clientConcurrency: flags.number('client-concurrency', 0),
      clientRate: flags.number('client-rate', 0),
      routeConcurrency: flags.number('route-concurrency', 0),
    },
    persistRoutes: flags.text('persist-routes'),
    storageBackend: flags.text('storage-backend') || null,
    waitForRoutes: flags.isOn('wait-for-routes'),
    workers: flags.workers(),
    pidFile: flags.text('pid-file'),
  }
}

function bindsFrom(
  flags: FlagValues,
): Pick<ProxySettings, 'publicBind' | 'apiBind' | 'metricsBind'> {
  const port = flags.port('port', 8000)
  const socketPath = flags.text('socket')
  const apiSocket = flags.text('api-socket')
  const besides = socketPath !== null ? 8001 : port === 0 ? 0 : port + 1
  const apiPort = flags.port('api-port', besides)
  return {
    publicBind: socketPath === null ? { host: flags.host('ip'), port } : { socketPath },
    apiBind:
      apiSocket === null
        ? { host: flags.text('api-ip') || 'localhost', port: apiPort }
        : { socketPath: apiSocket },
    metricsBind: metricsBind(flags),
  }
}

function metricsBind(flags: FlagValues): Bind | null {
  const socketPath = flags.text('metrics-socket')
  if (socketPath !== null) return { socketPath }
  if (!flags.has('metrics-port')) return null
  return { host: flags.host('metrics-ip'), port: flags.port('metrics-port', 0) }
}

/** Browsers of a unix socket's front end, and those of port 80 itself, need none. */
function redirectFrom(flags: FlagValues, isSecure: boolean): Redirect | null {
  if (!flags.has('redirect-port')) return null
  if (!isSecure) throw new BadFlag('--redirect-port needs --ssl-key and --ssl-cert')
  const publicPort = flags.port('port', 8000)
  if (flags.has('socket') || publicPort === 80) return null
  return {
    port: flags.port('redirect-port', 0),
    to: flags.port('redirect-to', publicPort),
  }
}

function serverTls(
  flags: FlagValues,
  side: '' | 'api-',
  passphrase: string | undefined,
): ServerTls | null {
  const [key, cert] = [flags.text(`${side}ssl-key`), flags.text(`${side}ssl-cert`)]
  if (key === null && cert === null) return null
  if (key === null || cert === null) {
    throw new BadFlag(`--${side}ssl-key and --${side}ssl-cert are needed together`)
  }
  return {
    key,
    cert,
    ca: flags.text(`${side}ssl-ca`),
    passphrase: passphrase || null,
    requestCert: flags.isOn(`${side}ssl-request-cert`),
    ...commonTls(flags),
  }
}

function clientTls(flags: FlagValues): ClientTls {
  return {
    key: flags.text('client-ssl-key'),
    cert: flags.text('client-ssl-cert'),
    ca: flags.text('client-ssl-ca'),
    insecure: flags.isOn('insecure'),
    ...commonTls(flags),
  }
}

function commonTls(flags: FlagValues): Pick<ClientTls, 'ciphers' | 'protocol' | 'dhparam'> {
  const protocol = flags.text('ssl-protocol')
  return {
    ciphers: flags.text('ssl-ciphers'),
    protocol: protocol === null ? null : `${protocol.replace(/_method$/, '')}_method`,
    dhparam: flags.text('ssl-dhparam'),
  }
}
