import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openSqlite } from '../../hub/store/sqlite.ts'
import { socketFetch } from '../../hub/commands/socket-fetch.ts'
import { type Client, createClient } from '../../packages/client/index.ts'
import { identityOf, programPath } from '../../packages/process/index.ts'
import { until } from './until.ts'

/** How long a hub may take to be ready, and a program to end, in ms: tests share two cores. */
const patience = 60_000

export interface HubProcessOptions {
  /** JavaScript for options of `spawner` besides command and driver, such as `startTimeout: 5,`. */
  readonly spawner?: string
  readonly hub?: string
  readonly proxy?: string
  /** Put before the command of the servers, such as a shell that waits. */
  readonly before?: readonly string[]
  /** Flags of the tiny single-user server. */
  readonly flags?: readonly string[]
  /** An existing folder for the data, such as a small file system. */
  readonly dataDir?: string
  /** Names of managed services with a url, each run by the tiny single-user server. */
  readonly services?: readonly string[]
}

/** A row of the `servers` table, as far as these tests look at it. */
export interface ServerRow {
  readonly id: number
  readonly user: string
  readonly state: 'stopped' | 'starting' | 'ready' | 'stopping'
  readonly url: string | null
  readonly generation: number
  readonly pid: number | null
  readonly exit: { readonly cause: string; readonly message: string } | null
}

/**
 * The hub as a program of its own with its proxy, on ports that stay free while it is down. Killing
 * and starting again is up to the test; in the end everything is stopped and the data are gone.
 */
export class HubProcess implements AsyncDisposable {
  readonly dataDir: string
  /** Origin of the proxy. */
  readonly origin: string
  /** Where the hub itself listens. */
  readonly internal: string
  readonly apiUrl: string
  readonly config: string
  /** Full rights, through the hub's own socket. */
  readonly operator: Client
  /** What the hub has written, of all its runs. */
  output = ''
  readonly #folder: string
  readonly #mark: string
  #child: ChildProcess | null = null

  private constructor(folder: string, dataDir: string, ports: readonly number[]) {
    const [bind, internal, api] = ports
    this.#folder = folder
    this.#mark = `--say=${folder}`
    this.dataDir = dataDir
    this.origin = `http://127.0.0.1:${bind}`
    this.internal = `http://127.0.0.1:${internal}`
    this.apiUrl = `http://127.0.0.1:${api}`
    this.config = join(folder, 'portico.config.mjs')
    const fetch = socketFetch(join(dataDir, 'hub.sock'))
    this.operator = createClient({ url: 'http://localhost/', fetch })
  }

  /** Writes the config; `start` runs it. */
  static async prepare(options: HubProcessOptions = {}): Promise<HubProcess> {
    const folder = mkdtempSync(join(realpathSync(tmpdir()), 'portico-test-'))
    const names = options.services ?? []
    const ports = await steadyPorts(3 + names.length)
    const test = new HubProcess(folder, options.dataDir ?? join(folder, 'data'), ports)
    const server = fileURLToPath(new URL('single-user.mjs', import.meta.url))
    const { before = [], flags = [] } = options
    const cmd = [...before, process.execPath, server, test.#mark, ...flags]
    const services = names.map((name, index) => ({
      name,
      url: `http://127.0.0.1:${ports[3 + index]}`,
      command: [process.execPath, server, test.#mark, ...flags],
    }))
    writeFileSync(
      test.config,
      `import { existsSync, writeFileSync } from 'node:fs'
export default {
  hub: { bindUrl: '${test.origin}', hubBindUrl: '${test.internal}', slowSpawnTimeout: 30, ${options.hub ?? ''} },
  proxy: { apiUrl: '${test.apiUrl}', checkRunningInterval: 1, ${options.proxy ?? ''} },
  authenticator: { driver: 'dummy', allowAll: true },
  spawner: { driver: 'simple', allowRoot: true, homeDir: '${folder}', cmd: ${JSON.stringify(cmd)}, pollInterval: 1, ${options.spawner ?? ''} },
  services: ${JSON.stringify(services)},
}
`,
    )
    return test
  }

  static async started(options: HubProcessOptions = {}): Promise<HubProcess> {
    const test = await HubProcess.prepare(options)
    try {
      await test.start()
      return test
    } catch (error) {
      await test[Symbol.asyncDispose]()
      throw error
    }
  }

  /** A file of the test's own, beside the config. */
  path(name: string): string {
    return join(this.#folder, name)
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Starts the hub without waiting for it. */
  launch(...flags: readonly string[]): ChildProcess {
    const child = this.command(
      'start',
      '--config',
      this.config,
      '--data-dir',
      this.dataDir,
      ...flags,
    )
    this.#child = child
    return child
  }

  /** Runs any command of the program; its output is kept. */
  command(...args: readonly string[]): ChildProcess {
    const [file, ...first] = programPath('hub/main')
    const child = spawn(file, [...first, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: this.#folder,
      env: { PATH: process.env['PATH'], HOME: this.#folder },
    })
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text))
    return child
  }

  /** Starts the hub and waits until it is ready: database, proxy and adoption. */
  async start(): Promise<void> {
    const child = this.launch()
    await until(
      'the hub is ready',
      async () => {
        assert.equal(child.exitCode ?? child.signalCode, null, `the hub ended:\n${this.output}`)
        return this.isReady()
      },
      patience,
    )
  }

  async isReady(): Promise<boolean> {
    const url = `${this.internal}/hub/health?ready`
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => null)
    await answer?.body?.cancel()
    return answer?.status === 200
  }

  /** Ends the hub by a signal; resolves with its exit status once it is gone. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child
    if (!child) return null
    this.#child = null
    return statusOf(child, () => child.kill(signal))
  }

  /** Runs a command to its end. */
  async run(
    ...args: readonly string[]
  ): Promise<{ readonly status: number | null; readonly text: string }> {
    const child = this.command(...args)
    let text = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: string) => (text += chunk))
    return { status: await statusOf(child), text }
  }

  /** Reads the database beside the hub. */
  query<Row>(sql: string, ...parameters: readonly unknown[]): Row[] {
    const db = openSqlite(join(this.dataDir, 'portico.sqlite'), {
      readonly: true,
      timeout: 5_000,
    })
    try {
      return db.prepare(sql).all(...parameters) as Row[]
    } finally {
      db.close()
    }
  }

  rows(): ServerRow[] {
    return this.query<Omit<ServerRow, 'exit'> & { readonly exit: string | null }>(
      `SELECT servers.id, users.name AS user, state, url, generation, last_exit AS exit,
       json_extract(spawner_state, '$.identity.pid') AS pid
       FROM servers JOIN users ON users.id = servers.user_id ORDER BY users.name`,
    ).map((row) => ({ ...row, exit: row.exit === null ? null : JSON.parse(row.exit) }))
  }

  row(user: string): ServerRow | undefined {
    return this.rows().find((row) => row.user === user)
  }

  /** Pids of the single-user servers and services of this test that run, known to the hub or not. */
  serverPids(): number[] {
    return pidsWith(this.#mark).sort((a, b) => a - b)
  }

  /** Pids of this test's proxies that run. */
  proxyPids(): number[] {
    return pidsWith(new URL(this.apiUrl).port, 'proxy/main')
  }

  /** The token that a running server was given. */
  tokenOf(pid: number): string {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    return environment.find((line) => line.startsWith('JUPYTERHUB_API_TOKEN='))?.slice(21) ?? ''
  }

  /** What the hub's API says to a token: its status. */
  async statusWith(token: string): Promise<number> {
    const answer = await fetch(`${this.internal}/hub/api/user`, {
      headers: { Authorization: `token ${token}` },
    })
    await answer.body?.cancel()
    return answer.status
  }

  /** Makes users and starts their servers; resolves when all are ready. */
  async startServers(...users: readonly string[]): Promise<void> {
    await this.operator.createUsers(users)
    for (const user of users) assert.equal(await this.operator.startServer(user), 'ready')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end('SIGKILL')
    const pids = (): number[] => [...this.serverPids(), ...this.proxyPids()]
    for (const pid of pids()) kill(pid)
    await until('everything has ended', () => pids().length === 0, patience)
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Throws for 0, which would be the whole process group of the test. */
export function kill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (pid < 2) throw new Error('there is no process to kill')
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Whether a process runs; a zombie does not. */
export function runs(pid: number): boolean {
  return identityOf(pid) !== null && stateOf(pid) !== 'Z'
}

function stateOf(pid: number): string {
  try {
    return /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1] ?? 'Z'
  } catch {
    return 'Z'
  }
}

/** Running processes whose command line has all these words in it. */
function pidsWith(...words: readonly string[]): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => words.every((word) => commandLine(name).includes(word)))
    .map(Number)
    .filter(runs)
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

async function statusOf(child: ChildProcess, cause?: () => void): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
  const exited = once(child, 'exit', { signal: AbortSignal.timeout(patience) })
  cause?.()
  await exited
  return child.exitCode
}

/**
 * Free ports below those that the kernel hands out by itself: nobody takes one by chance while the
 * hub or its proxy is down.
 */
async function steadyPorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = 15_000 + Math.floor(Math.random() * 15_000)
    if (await isFree(port)) ports.add(port)
  }
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.once('error', () => resolve(false))
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
  })
}
