import { setTimeout as sleep } from 'node:timers/promises'
import { Family, send } from './family.ts'
import { type ProcessIdentity, isAlive } from './identity.ts'

/** How a process ended. Both are null when it was not our child: nobody else is told. */
export interface Exited {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** Signals sent in turn to the whole process group, each with its grace in milliseconds. */
export type StopLadder = readonly (readonly [signal: NodeJS.Signals, grace: number])[]

/** JupyterHub's `interrupt_timeout`, `term_timeout` and `kill_timeout`. */
export const stopLadder: StopLadder = [
  ['SIGINT', 30_000],
  ['SIGTERM', 30_000],
  ['SIGKILL', 5_000],
]

/** How long our program stays alive for the news that a child has ended which is already gone. */
const reapGrace = 5_000

/** How often a process that is not our child is looked at while somebody waits for its end. */
const watchInterval = 200

/**
 * A process that leads a session of its own, as `launch` starts them. It may have ended, also long
 * ago. It outlives this object and this program unless it is stopped.
 */
export class SupervisedProcess {
  readonly identity: ProcessIdentity
  readonly #family: Family
  #exited: Promise<Exited> | null
  #hasExited = false

  /** Use `launch` or `adopt`. `exited` is absent when the process is not our child. */
  constructor(identity: ProcessIdentity, exited?: Promise<Exited>) {
    this.identity = identity
    this.#family = new Family(identity)
    this.#exited = exited?.finally(() => (this.#hasExited = true)) ?? null
  }

  /**
   * Resolves when the process itself has ended; its children may still run. Does not keep our
   * program alive. An adopted process is looked at a few times a second from the first use on:
   * whoever watches many of them asks `isRunning` now and then instead.
   */
  get exited(): Promise<Exited> {
    this.#exited ??= this.#watch()
    return this.#exited
  }

  /** @throws when the question cannot be answered, which is not the same as false. */
  isRunning(): boolean {
    return !this.#hasExited && isAlive(this.identity)
  }

  /** The process and all it started, as far as they run now. */
  members(): Promise<readonly ProcessIdentity[]> {
    return this.#family.members()
  }

  /**
   * Walks the ladder until the process has ended, then kills what it left behind: the rest of its
   * session and its descendants elsewhere. May be called twice, also with a shorter ladder while
   * the first call still waits, and after the end, to sweep only.
   * @throws when something still runs after SIGKILL and its grace.
   */
  async stop(ladder: StopLadder = stopLadder): Promise<Exited> {
    for (const [signal, grace] of ladder) {
      if (!this.isRunning()) break
      await this.#family.members()
      if (this.isRunning()) send(-this.identity.pid, signal)
      await within(grace, this.exited)
    }
    await this.#family.sweep()
    await within(reapGrace, this.exited)
    return this.exited
  }

  async #watch(): Promise<Exited> {
    while (isAlive(this.identity)) await sleep(watchInterval, undefined, { ref: false })
    this.#hasExited = true
    return { code: null, signal: null }
  }
}

/**
 * Takes charge of a process that an earlier run of the hub launched. When it has ended meanwhile,
 * `isRunning` is false and `stop` ends the orphans that it left in its session. A process that only
 * has the same pid is never touched.
 */
export function adopt(identity: ProcessIdentity): SupervisedProcess {
  return new SupervisedProcess(identity)
}

async function within(ms: number, done: Promise<unknown>): Promise<void> {
  const timer = new AbortController()
  await Promise.race([done, sleep(ms, undefined, { signal: timer.signal }).catch(() => {})])
  timer.abort()
}
