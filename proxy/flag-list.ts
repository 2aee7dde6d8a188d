import { logLevels } from './log.ts'

interface Flag {
  readonly short?: string
  /** What stands after the flag in the help; absent for a switch. */
  readonly value?: string
  readonly multiple?: boolean
  readonly help: string
}

/** All flags of configurable-http-proxy 5.3, then ours. */
export const flags = {
  ip: { value: 'ADDRESS', help: 'public address (default: all interfaces)' },
  port: { value: 'N', help: 'public port, 0 for any free one (default: 8000)' },
  socket: { value: 'PATH', help: 'public unix socket, in the place of --ip and --port' },
  'ssl-key': { value: 'FILE', help: 'key of the public side, PEM' },
  'ssl-cert': { value: 'FILE', help: 'certificate of the public side with its chain, PEM' },
  'ssl-ca': { value: 'FILE', help: 'who may sign certificates of clients, PEM' },
  'ssl-request-cert': {
    help: 'ask clients for a certificate, and refuse those without one that verifies',
  },
  'ssl-reject-unauthorized': { help: 'accepted without effect: who is asked, is verified' },
  'ssl-protocol': { value: 'NAME', help: 'a single version for all TLS, such as TLSv1_2' },
  'ssl-ciphers': { value: 'LIST', help: 'ciphers for all TLS, as OpenSSL lists them' },
  'ssl-allow-rc4': { help: 'accepted without effect: RC4 is gone' },
  'ssl-dhparam': { value: 'FILE', help: 'Diffie-Hellman parameters for all TLS, PEM' },
  'api-ip': { value: 'ADDRESS', help: 'address of the REST API (default: localhost)' },
  'api-port': { value: 'N', help: 'port of the REST API (default: the public port + 1)' },
  'api-socket': { value: 'PATH', help: 'unix socket of the REST API' },
  'api-ssl-key': { value: 'FILE', help: 'key of the REST API, PEM' },
  'api-ssl-cert': { value: 'FILE', help: 'certificate of the REST API, PEM' },
  'api-ssl-ca': { value: 'FILE', help: 'who may sign certificates of its clients, PEM' },
  'api-ssl-request-cert': {
    help: 'ask its clients for a certificate, and refuse those without one that verifies',
  },
  'api-ssl-reject-unauthorized': { help: 'accepted without effect: who is asked, is verified' },
  'client-ssl-key': { value: 'FILE', help: 'key that https targets are shown, PEM' },
  'client-ssl-cert': { value: 'FILE', help: 'certificate that https targets are shown, PEM' },
  'client-ssl-ca': { value: 'FILE', help: 'who may sign certificates of targets, PEM' },
  'client-ssl-request-cert': { help: 'accepted without effect' },
  'client-ssl-reject-unauthorized': { help: 'accepted without effect: targets are verified' },
  'default-target': { value: 'URL', help: 'where requests go that no other route matches' },
  'error-target': {
    value: 'URL',
    help: 'server that renders error pages at URL/<status>?url=&reason=',
  },
  'error-path': { value: 'FOLDER', help: 'folder with <status>.html and error.html' },
  'redirect-port': { value: 'N', help: 'port where plain HTTP is redirected to https' },
  'redirect-to': { value: 'N', help: 'port to redirect to (default: the public port)' },
  'pid-file': { value: 'FILE', help: 'write the process id to a file, removed at the end' },
  'no-x-forward': {
    help: 'add no X-Forwarded-* headers; those of untrusted peers are still dropped',
  },
  'no-prepend-path': { help: "leave out the target's own path" },
  'no-include-prefix': { help: "leave out the route's path" },
  'auto-rewrite': { help: 'rewrite host and port of a Location that names the target' },
  'change-origin': { help: 'send the target its own name as Host' },
  'protocol-rewrite': { value: 'SCHEME', help: 'rewrite the scheme of such a Location' },
  'custom-header': {
    value: '"NAME: VALUE"',
    multiple: true,
    help: 'header set on each forwarded request; may be repeated',
  },
  insecure: { help: 'do not verify certificates of targets' },
  'host-routing': { help: 'the first segment of a route is the host it serves' },
  'metrics-ip': { value: 'ADDRESS', help: 'address of the metrics (default: all interfaces)' },
  'metrics-port': { value: 'N', help: 'port of the metrics, at /metrics (default: none)' },
  'metrics-socket': { value: 'PATH', help: 'unix socket of the metrics' },
  'log-level': { value: 'LEVEL', help: `one of ${logLevels.join(', ')} (default: info)` },
  timeout: {
    value: 'MS',
    help: 'end client connections that are silent for so long (default: never)',
  },
  'proxy-timeout': {
    value: 'MS',
    help: 'give up targets that are silent for so long (default: never; 15000 to connect, 120000 to answer a WebSocket handshake)',
  },
  'storage-backend': {
    value: 'MODULE',
    help: 'CommonJS module with a class that holds the routes, as an absolute path or a name that is looked up from the working folder',
  },
  'keep-alive-timeout': {
    value: 'MS',
    help: 'keep idle client connections for so long (default: 5000)',
  },
  'header-timeout': {
    value: 'MS',
    help: 'end clients that take longer for the head of a request or a TLS handshake (default: 20000)',
  },
  'upload-timeout': {
    value: 'MS',
    help: 'end clients that are silent for so long within the body of a request (default: 120000)',
  },
  'websocket-timeout': {
    value: 'MS',
    help: 'end WebSockets that are silent for so long both ways (default: never)',
  },
  'trusted-proxies': {
    value: 'LIST',
    multiple: true,
    help: 'peers whose X-Forwarded-* headers are believed: addresses, networks, "loopback", "unix" (default: loopback,unix)',
  },
  'wait-for-routes': {
    help: 'answer 503 until the first route has been set; needs CONFIGPROXY_AUTH_TOKEN',
  },
  workers: {
    value: 'N',
    help: 'processes that serve the public side, "auto" for one per core (default: 1)',
  },
  'persist-routes': {
    value: 'FILE',
    help: 'keep the routes and their activity over a restart (default: forget)',
  },
  'drain-timeout': {
    value: 'MS',
    help: 'how long requests may go on after SIGTERM (default: 1500)',
  },
  'access-log': { value: 'FILE', help: 'one line of JSON per request, "-" for standard output' },
  'client-concurrency': {
    value: 'N',
    help: 'requests of one client address at once, counted by each worker',
  },
  'client-rate': {
    value: 'N',
    help: 'requests of one client address per second, counted by each worker',
  },
  'route-concurrency': {
    value: 'N',
    help: 'requests of one route at once, counted by each worker',
  },
  version: { short: 'V', help: 'print the version' },
  help: { short: 'h', help: 'print this help' },
} as const satisfies Record<string, Flag>

export type FlagName = keyof typeof flags

/** As `parseArgs` wants them. */
export function flagOptions(): Record<
  string,
  { type: 'string' | 'boolean'; multiple: boolean; short?: string }
> {
  return Object.fromEntries(
    Object.entries<Flag>(flags).map(([name, { short, value, multiple = false }]) => [
      name,
      { type: value ? 'string' : 'boolean', multiple, ...(short && { short }) } as const,
    ]),
  )
}

export function helpText(): string {
  const rows = Object.entries<Flag>(flags).map(([name, flag]) => row(name, flag))
  const firstOfOurs = Object.keys(flags).indexOf('header-timeout')
  return `Usage: portico-proxy [flags]

An HTTP and WebSocket proxy whose routes are set over a REST API.

Flags of configurable-http-proxy:
${rows.slice(0, firstOfOurs).join('\n')}

More flags:
${rows.slice(firstOfOurs).join('\n')}

Environment:
  CONFIGPROXY_AUTH_TOKEN             token of the REST API; without it the API is open to anyone
  CONFIGPROXY_AUTH_TOKEN_FILE        file that holds it, in its place
  CONFIGPROXY_SSL_KEY_PASSPHRASE     passphrase of --ssl-key
  CONFIGPROXY_API_SSL_KEY_PASSPHRASE passphrase of --api-ssl-key
  CONFIGPROXY_TRUSTED_PROXIES        same as --trusted-proxies

SIGHUP reads certificates again and opens the access log anew.
`
}

const helpColumn = 37
const lineWidth = 100

function row(name: string, { short, value, help }: Flag): string {
  const spelled = `  ${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`
  const lines = ['']
  for (const word of help.split(' ')) {
    const line = `${lines.at(-1)} ${word}`.trimStart()
    if (line.length > lineWidth - helpColumn) lines.push(word)
    else lines[lines.length - 1] = line
  }
  return `${spelled.padEnd(helpColumn)}${lines.join(`\n${' '.repeat(helpColumn)}`)}`
}
