import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { programPath } from '../../packages/process/index.ts'
import { freePorts } from './start-hub.ts'
import { until } from './until.ts'

/** A machine with nothing on it: a working directory, a data directory, free ports. */
export interface Site {
  readonly cwd: string
  readonly dataDir: string
  readonly url: string
  /** Flags that keep every listener on a free port. */
  readonly ports: readonly string[]
  /** What was started there. */
  readonly programs: Program[]
}

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

/** Ends whatever ran there when the test ends, and only then removes it. */
export async function makeSite(t: TestContext): Promise<Site> {
  const cwd = mkdtempSync(join(tmpdir(), 'portico-test-'))
  const dataDir = join(cwd, 'data')
  const [port, hubPort, apiPort] = await freePorts(3)
  const site: Site = {
    cwd,
    dataDir,
    url: `http://127.0.0.1:${port}`,
    ports: [
      `--port=${port}`,
      `--set=hub.hubBindUrl=http://127.0.0.1:${hubPort}`,
      `--set=proxy.apiUrl=http://127.0.0.1:${apiPort}`,
    ],
    programs: [],
  }
  t.after(async () => {
    for (const program of site.programs) program.signal('SIGKILL')
    await Promise.all(site.programs.map((program) => program.ended()))
    await portico(site, 'stop', '--all')
    rmSync(cwd, { recursive: true, force: true })
  })
  return site
}

/** A config with the test login and servers of this account, for `site`. */
export function writeConfig(site: Site): void {
  const config = {
    hub: { adminUsers: ['ada'] },
    authenticator: { driver: 'dummy', allowedUsers: ['ada'] },
    spawner: { driver: 'simple', allowRoot: true },
  }
  writeFileSync(join(site.cwd, 'portico.config.json'), JSON.stringify(config), { mode: 0o600 })
}

const environment = { PATH: process.env['PATH'], HOME: process.env['HOME'] }

/** Runs one command of the built program on the data directory of `site`. */
export function portico(site: Site, ...args: readonly string[]): Promise<Ended> {
  const [file, script] = programPath('hub/main')
  return new Promise((resolve) => {
    execFile(
      file,
      [script, ...args, ...(args.includes('--help') ? [] : [`--data-dir=${site.dataDir}`])],
      { cwd: site.cwd, env: environment, timeout: 60_000 },
      (error, out, err) => {
        const code = typeof error?.code === 'number' ? error.code : error ? null : 0
        resolve({ code, signal: error?.signal ?? null, out, err })
      },
    )
  })
}

export class Program {
  readonly #child: ChildProcess
  readonly #exit: Promise<[number | null, NodeJS.Signals | null]>
  out = ''
  err = ''

  constructor(child: ChildProcess) {
    this.#child = child
    this.#exit = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.out += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.err += text))
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  async ended(ms = 30_000): Promise<Ended> {
    const hasEnded = () => this.#child.exitCode !== null || this.#child.signalCode !== null
    await until(`the end of the program: ${this.out}${this.err}`, hasEnded, ms)
    const [code, signal] = await this.#exit
    return { code, signal, out: this.out, err: this.err }
  }
}

/** Starts the built hub for `site` and waits until it says that it runs, or has ended. */
export async function startPortico(site: Site, ...args: readonly string[]): Promise<Program> {
  const [file, script] = programPath('hub/main')
  const all = [script, ...args, `--data-dir=${site.dataDir}`, ...site.ports]
  const child = spawn(file, all, { cwd: site.cwd, env: environment })
  const program = new Program(child)
  site.programs.push(program)
  const isNamed = args.some((argument) => argument.startsWith('--config'))
  const isQuickStart = !isNamed && !existsSync(join(site.cwd, 'portico.config.json'))
  const lastWords = isQuickStart ? 'config init\n' : ' runs at '
  await until(
    'Portico runs',
    () => program.out.includes(lastWords) || child.exitCode !== null,
    30_000,
  )
  return program
}
