import http from 'node:http'
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net'
import { lineLog } from '../../proxy/log.ts'
import { type RunningProxy, startProxy } from '../../proxy/server.ts'
import type { ProxySettings } from '../../proxy/settings.ts'

export const token = 'a-token-for-tests'

const loopback = { host: '127.0.0.1', port: 0 }

/** A proxy in this process, with its REST API at hand. */
export interface TestProxy extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly apiPort: number
  /** What it has written so far. */
  readonly lines: string[]
  api(method: string, path: string, body?: unknown): Promise<Response>
  /** Adds a route and fails unless that worked. */
  route(path: string, target: string, data?: object): Promise<void>
}

export async function testProxy(overrides: Partial<ProxySettings> = {}): Promise<TestProxy> {
  const lines: string[] = []
  const log = lineLog('debug', (line) => void lines.push(line))
  const proxy = await startProxy({ ...defaults, ...overrides }, log)
  return { ...viewOf(proxy), lines, [Symbol.asyncDispose]: () => proxy.close(0) }
}

const tls = { key: null, cert: null, ca: null, ciphers: null, protocol: null, dhparam: null }

const defaults: ProxySettings = {
  publicBind: loopback,
  apiBind: loopback,
  metricsBind: null,
  redirect: null,
  publicTls: null,
  apiTls: null,
  clientTls: { ...tls, insecure: false },
  accessLog: null,
  hostRouting: false,
  prependPath: true,
  includePrefix: true,
  changeOrigin: false,
  autoRewrite: false,
  protocolRewrite: null,
  drainTimeout: 1_500,
  limits: { clientConcurrency: 0, clientRate: 0, routeConcurrency: 0 },
  persistRoutes: null,
  storageBackend: null,
  workers: 1,
  authToken: token,
  defaultTarget: null,
  errorTarget: null,
  errorPath: null,
  logLevel: 'debug',
  xForward: true,
  customHeaders: [],
  trustedProxies: ['loopback', 'unix'],
  timeout: 0,
  proxyTimeout: 0,
  keepAliveTimeout: 5_000,
  headerTimeout: 20_000,
  uploadTimeout: 120_000,
  webSocketTimeout: 0,
  waitForRoutes: false,
  pidFile: null,
}

function viewOf(proxy: RunningProxy): Omit<TestProxy, 'lines' | typeof Symbol.asyncDispose> {
  const port = portOf(proxy.publicAddress)
  const apiPort = portOf(proxy.apiAddress)
  const api = (method: string, path: string, body?: unknown) =>
    callApi(`http://127.0.0.1:${apiPort}`, method, path, body)
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    apiPort,
    api,
    route: async (path, target, data = {}) => {
      const { status } = await api('POST', `/api/routes${path}`, { target, ...data })
      if (status !== 201) throw new Error(`the route ${path} was not added: ${status}`)
    },
  }
}

function portOf(address: AddressInfo | string): number {
  if (typeof address === 'string') throw new Error(`${address} has no port`)
  return address.port
}

export function callApi(base: string, method: string, path: string, body?: unknown) {
  return fetch(`${base}${path}`, {
    method,
    headers: { authorization: `token ${token}` },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
}

/** A target: any server, closed with all its connections at the end. */
export interface TestTarget extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly sockets: Set<Socket>
}

export async function httpTarget(
  handle: http.RequestListener = echo,
): Promise<TestTarget & { server: http.Server }> {
  const server = http.createServer(handle)
  return { server, ...(await listening(server)) }
}

/** A target that speaks bytes. */
export function rawTarget(handle: (socket: Socket) => void): Promise<TestTarget> {
  return listening(createServer(handle))
}

/** Answers with what it got, as JSON. */
export const echo: http.RequestListener = (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const { method, url, rawHeaders, headers, rawTrailers } = request
    const body = Buffer.concat(chunks).toString()
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ method, url, headers, rawHeaders, rawTrailers, body }))
  })
}

/** What `echo` has seen. */
export interface Echoed {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly rawHeaders: readonly string[]
  readonly rawTrailers: readonly string[]
  readonly body: string
}

export async function echoed(answer: Promise<Response>): Promise<Echoed> {
  return (await (await answer).json()) as Echoed
}

async function listening(server: Server): Promise<TestTarget> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    sockets,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A client that speaks bytes. */
export interface RawClient extends Disposable {
  readonly socket: Socket
  /** Resolves with all that has come once it matches. Fails when the connection ends before. */
  until(pattern: RegExp): Promise<string>
  /** Resolves with all that has come when the connection has ended, by FIN or reset. */
  ended(): Promise<string>
}

/** Sends bytes (latin1) at once. Every wait is over after five seconds. */
export function rawClient(port: number, bytes: string | Buffer = ''): RawClient {
  const socket = connect({ port, host: '127.0.0.1' })
  let text = ''
  let hasEnded = false
  const changed = new EventTarget()
  const change = () => changed.dispatchEvent(new Event('change'))
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    text += chunk
    change()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    hasEnded = true
    change()
  })
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  const when = (isDone: () => boolean) =>
    new Promise<string>((resolve, reject) => {
      const fail = () => reject(new Error(`still waiting, got ${JSON.stringify(text)}`))
      const timer = setTimeout(fail, 5_000)
      const look = () => {
        if (!isDone() && !hasEnded) return
        clearTimeout(timer)
        changed.removeEventListener('change', look)
        if (isDone()) resolve(text)
        else reject(new Error(`the connection ended after ${JSON.stringify(text)}`))
      }
      changed.addEventListener('change', look)
      look()
    })
  return {
    socket,
    until: (pattern) => when(() => pattern.test(text)),
    ended: () => when(() => hasEnded),
    [Symbol.dispose]: () => socket.destroy(),
  }
}

/** The whole conversation: sends, waits for the end of the connection. */
export async function exchange(port: number, bytes: string): Promise<string> {
  using client = rawClient(port, bytes)
  return await client.ended()
}

export function get(path: string, ...headers: string[]): string {
  return ['GET ' + path + ' HTTP/1.1', 'Host: hub.test', ...headers, '', ''].join('\r\n')
}

export function handshake(path: string, ...headers: string[]): string {
  return get(
    path,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  )
}
