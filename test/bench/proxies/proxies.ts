import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { packageRoot, programPath } from '../../../packages/process/index.ts'
import { freePorts } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'
import { BenchError } from '../contender.ts'

/** A proxy that is being measured: one process, on a core of its own. */
export interface BenchProxy {
  readonly name: string
  readonly pid: number
  readonly port: number
  /** Where routes are added; null for a proxy without such an API. */
  readonly api: URL | null
  stop(): Promise<void>
}

export interface ProxyPlan {
  readonly folder: string
  /** Where every request goes that no other route takes. */
  readonly target: URL
}

export const token = 'a-token-for-the-benchmark'

const chp = join(packageRoot(), 'node_modules/configurable-http-proxy/bin/configurable-http-proxy')
const nginx = '/usr/sbin/nginx'

/** Ours, then those that are installed. */
export function proxyContenders(): readonly ((plan: ProxyPlan) => Promise<BenchProxy>)[] {
  const [node, program] = programPath('proxy/main')
  return [
    (plan) => startConfigurable('Portico', [node, program], plan),
    ...(existsSync(chp)
      ? [(plan: ProxyPlan) => startConfigurable('CHP', [process.execPath, chp], plan)]
      : []),
    ...(existsSync(nginx) ? [startNginx] : []),
  ]
}

/** @throws {BenchError} where a proxy cannot have a core of its own. */
export function pinned(core: 0 | 1, command: readonly string[]): readonly [string, ...string[]] {
  try {
    execFileSync('taskset', ['-c', '1', 'true'])
  } catch (cause) {
    throw new BenchError('proxies are measured on two cores, with taskset of util-linux', { cause })
  }
  return ['taskset', '-c', String(core), ...command]
}

async function startConfigurable(
  name: string,
  command: readonly string[],
  { folder, target }: ProxyPlan,
): Promise<BenchProxy> {
  const [port = 0, apiPort = 0] = await freePorts(2)
  const flags = ['--ip=127.0.0.1', `--port=${port}`, '--api-ip=127.0.0.1', `--api-port=${apiPort}`]
  const rest = [`--default-target=${target.origin}`, '--log-level=error']
  const api = new URL(`http://127.0.0.1:${apiPort}/api/routes`)
  return started(name, [...command, ...flags, ...rest], { folder, port, api })
}

async function startNginx({ folder, target }: ProxyPlan): Promise<BenchProxy> {
  const [port = 0] = await freePorts(1)
  const file = join(folder, 'nginx.conf')
  mkdirSync(join(folder, 'tmp'))
  writeFileSync(file, nginxConfig(folder, port, target))
  return started('nginx', [nginx, '-c', file, '-p', folder], { folder, port, api: null })
}

async function started(
  name: string,
  command: readonly string[],
  { folder, port, api }: { folder: string; port: number; api: URL | null },
): Promise<BenchProxy> {
  const [file, ...args] = pinned(0, command)
  const log = openSync(join(folder, `${name}.log`), 'w')
  const env = { PATH: '/usr/bin:/bin', CONFIGPROXY_AUTH_TOKEN: token }
  const child = spawn(file, args, { env, stdio: ['ignore', log, log] })
  await once(child, 'spawn')
  const stop = () => ended(child)
  try {
    await until(`${name} listens`, () => child.exitCode === null && accepts(port), 30_000)
  } catch (cause) {
    await stop()
    throw new BenchError(`${name} did not come up`, { cause })
  }
  return { name, pid: child.pid ?? 0, port, api, stop }
}

export async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** One process, unbuffered, with kept connections: as close to the others as it comes. */
function nginxConfig(folder: string, port: number, target: URL): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  return `daemon off;
master_process off;
pid ${folder}/nginx.pid;
error_log ${folder}/nginx.log crit;
worker_rlimit_nofile 20000;
events { worker_connections 19000; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/tmp;`).join(' ')}
  keepalive_requests 100000000;
  client_max_body_size 0;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream target { server ${target.host}; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://target;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_request_buffering off;
      proxy_read_timeout 1h;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`
}
