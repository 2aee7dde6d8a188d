import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { programPath } from 'portico/process'
import { until } from '../support/until.ts'
import { callApi, token } from './support.ts'

const manifest = fileURLToPath(import.meta.resolve('configurable-http-proxy/package.json'))

/** Ours, and the program that it takes the place of. */
export const programs = {
  'portico-proxy': programPath('proxy/main'),
  'configurable-http-proxy': [
    process.execPath,
    join(dirname(manifest), 'bin/configurable-http-proxy'),
  ],
} as const satisfies Record<string, readonly string[]>

export type ProgramName = keyof typeof programs

export interface StartOptions {
  readonly flags?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** With `--ip`, `--port`, `--api-ip` and `--api-port`; off where sockets take their place. */
  readonly withPorts?: boolean
  /** Of the public side and the API. */
  readonly schemes?: readonly [publicSide: string, api: string]
}

/** A proxy as a process, ended after the test. */
export interface ProxyProgram {
  readonly child: ChildProcess
  readonly url: string
  readonly apiUrl: string
  readonly port: number
  readonly output: () => string
  api(method: string, path: string, body?: unknown): Promise<Response>
  /** Adds a route and fails unless that worked. */
  route(path: string, target: string, data?: object): Promise<void>
}

/** Resolves when it says that its API listens. */
export async function startProgram(
  t: TestContext,
  name: ProgramName,
  { flags = [], env = {}, withPorts = true, schemes = ['http', 'http'] }: StartOptions = {},
): Promise<ProxyProgram> {
  const [port = 0, apiPort = 0] = await freePorts(2)
  const ports = [
    '--ip',
    '127.0.0.1',
    '--port',
    port,
    '--api-ip',
    '127.0.0.1',
    '--api-port',
    apiPort,
  ]
  const [command = '', ...args] = [
    ...programs[name],
    ...(withPorts ? ports.map(String) : []),
    ...flags,
  ]
  const child = spawn(command, args, { env: { CONFIGPROXY_AUTH_TOKEN: token, ...env } })
  t.after(() => child.kill('SIGKILL'))
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (text += part))
  await until(
    'it listens',
    () => {
      assert.equal(child.exitCode, null, text)
      return /Proxy API at /.test(text)
    },
    30_000,
  )
  // configurable-http-proxy says so a little earlier than it does.
  const listening = withPorts ? [port, apiPort] : []
  for (const each of listening) await until('it accepts', () => accepts(each))
  const url = `${schemes[0]}://127.0.0.1:${port}`
  const apiUrl = `${schemes[1]}://127.0.0.1:${apiPort}`
  const api: ProxyProgram['api'] = (method, path, body) => callApi(apiUrl, method, path, body)
  const route: ProxyProgram['route'] = async (path, target, data = {}) => {
    const { status } = await api('POST', `/api/routes${path}`, { target, ...data })
    assert.equal(status, 201, path)
  }
  return { child, url, apiUrl, port, output: () => text, api, route }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

/** Runs it to its end. */
export function runProgram(name: ProgramName, flags: readonly string[], env = {}) {
  const [command = '', ...args] = [...programs[name], ...flags]
  return spawnSync(command, args, { env, encoding: 'utf8', timeout: 20_000 })
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
