import { setTimeout as sleep } from 'node:timers/promises'
import { describeError } from '../../packages/core/errors.ts'
import type { Json } from '../../packages/core/spawner.ts'
import {
  adopt,
  type Exited,
  launch,
  type LaunchOptions,
  parseIdentity,
  rotateLog,
  type StopLadder,
  type SupervisedProcess,
} from '../../packages/process/index.ts'
import type { Log } from '../log.ts'

/** What a start of the command needs, besides where its output goes. */
export type ServiceCommand = Pick<LaunchOptions, 'command' | 'env' | 'prefix' | 'cwd'>

export interface ServiceProcessDeps {
  readonly name: string
  readonly logFile: string
  readonly log: Log
  /** Names what the process is made of: one of the last run with another fingerprint is replaced. */
  readonly fingerprint: string
  /** Called before each start of the command; rejecting counts as a failed start. */
  readonly prepare: () => Promise<ServiceCommand>
  /** What was saved by this run of the hub or an earlier one, or null. */
  readonly load: () => Promise<Json>
  readonly save: (data: Json) => Promise<void>
  readonly forget: () => Promise<void>
  readonly changed: (state: 'started' | 'stopped' | { readonly failed: string }) => void
}

/** Pauses before the command is started again, in ms: each twice the last one, up to the longest. */
const firstPause = 1_000
const longestPause = 60_000

/** As for servers (JupyterHub), but shorter: the end of the hub waits for it. */
const ladder: StopLadder = [
  ['SIGINT', 10_000],
  ['SIGTERM', 10_000],
  ['SIGKILL', 5_000],
]
const kill: StopLadder = [['SIGKILL', 5_000]]

/**
 * One managed service: its command runs as long as the hub does, and is started again whenever it
 * ends. A hub that was killed leaves it running; the next one takes charge of it, or replaces it
 * when it is another command by now, so that there are never two.
 */
export class ServiceProcess {
  readonly #deps: ServiceProcessDeps
  readonly #stopping = new AbortController()
  #process: SupervisedProcess | null = null
  #running: Promise<void> | null = null

  constructor(deps: ServiceProcessDeps) {
    this.#deps = deps
  }

  /** 0 while it does not run. */
  get pid(): number {
    return this.#process?.isRunning() ? this.#process.identity.pid : 0
  }

  /** Takes charge of a process of the last run, or starts one. Never throws: it is tried again and again. */
  start(): void {
    this.#running ??= this.#keepRunning()
  }

  /** Ends the process and all that it started, if `start` was called; `now` kills it. May be called again with `now`. */
  async stop({ now }: { readonly now: boolean }): Promise<void> {
    this.#stopping.abort()
    if (this.#running === null) return
    await this.#process?.stop(now ? kill : ladder)
    await this.#running
    await this.#deps.forget()
  }

  async #keepRunning(): Promise<void> {
    const { signal } = this.#stopping
    for (let pause = firstPause; !signal.aborted; pause = Math.min(2 * pause, longestPause)) {
      const began = performance.now()
      const ended = await this.#runOnce().catch(
        (error: unknown) => `cannot be run: ${describeError(error)}`,
      )
      if (signal.aborted) break
      if (performance.now() - began > longestPause) pause = firstPause
      this.#deps.changed({ failed: ended })
      const seconds = pause / 1000
      this.#deps.log.error(`service ${this.#deps.name} ${ended}; again in ${seconds} s`, {
        log: this.#deps.logFile,
      })
      await sleep(pause, undefined, { signal }).catch(() => {})
    }
    this.#deps.changed('stopped')
  }

  /** Resolves to how it ended, when the process and its children are gone. */
  async #runOnce(): Promise<string> {
    const { log, name, changed } = this.#deps
    const found = await this.#found()
    const process = found ?? (await this.#launch())
    this.#process = process
    const { pid } = process.identity
    log.info(`service ${name} ${found ? 'still runs' : 'was started'}`, { pid })
    changed('started')
    if (this.#stopping.signal.aborted) await process.stop(ladder)
    const exited = await process.exited
    if (!this.#stopping.signal.aborted) await process.stop(kill)
    return describeEnd(exited)
  }

  /** What an earlier run left, if it is what would be started now; anything else of it is ended. */
  async #found(): Promise<SupervisedProcess | null> {
    const saved = (await this.#deps.load()) as Partial<Record<string, unknown>> | null
    const identity = parseIdentity(saved?.['identity'])
    if (!identity) return null
    const process = adopt(identity)
    if (process.isRunning() && saved?.['fingerprint'] === this.#deps.fingerprint) return process
    await process.stop(ladder)
    return null
  }

  async #launch(): Promise<SupervisedProcess> {
    const { prepare, save, fingerprint, logFile } = this.#deps
    await rotateLog(logFile).catch(() => {})
    return launch({
      ...(await prepare()),
      logFile,
      signal: this.#stopping.signal,
      save: (identity) => save({ identity: { ...identity }, fingerprint }),
    })
  }
}

function describeEnd({ code, signal }: Exited): string {
  if (signal !== null) return `was ended by ${signal}`
  if (code === 127) return 'has ended with status 127: its program was not found'
  if (code === 126) return 'has ended with status 126: its program may not be executed'
  return code === null ? 'has ended' : `has ended with status ${code}`
}
