import { setTimeout as sleep } from 'node:timers/promises'
import { describeError, HubError } from '../../packages/core/errors.ts'
import { after, deferred, within } from '../../packages/core/promises.ts'
import {
  type Exit,
  type Json,
  type PollResult,
  type ServerContext,
  type Spawner,
  StartFailed,
} from '../../packages/core/spawner.ts'
import type { Log } from '../log.ts'
import { type Metrics, stopwatch } from '../metrics.ts'
import type { ServerStore, StoredServer } from '../store/servers.ts'
import {
  cancelledExit,
  isPlanned,
  refusedExit,
  restartedExit,
  stoppedExit,
  timeoutExit,
} from './exits.ts'
import { failedEvent, Progress, readyEvent } from './progress.ts'
import { waitForHttp } from './readiness.ts'
import { redactLines } from './redact.ts'
import type { Routes } from './routes.ts'
import type { LastExit, ServerState } from './server-state.ts'

/** What one run needs of the hub around it. */
export interface RunDeps {
  readonly store: ServerStore
  readonly routes: Routes
  readonly log: Log
  readonly metrics: Pick<Metrics, 'serverPolled'>
  readonly clock: () => Date
  /** Makes the spawner for this run; throws when the driver that started it is not there any more. */
  readonly createSpawner: (driver: string, context: ServerContext) => Spawner
  readonly timeouts: {
    readonly start: number
    readonly http: number
    readonly stop: number
    /** Zero or less: never. */
    readonly poll: number
    readonly pollJitter: number
  }
  /** Called once, when nothing of the run is left; `holders` are the users who lost tokens by it. */
  ended(run: ServerRun, exit: LastExit, holders: readonly number[]): void
  /** `before` is `starting`, or `checking` for one that an earlier run of the hub had started. */
  ready(run: ServerRun, before: ServerState['kind']): void
  /** Called when what the spawner notes is written down. */
  saved(run: ServerRun): void
  /** Called when a stop is written down. */
  stopping(run: ServerRun): void
}

/** The facts that make one run different from another. */
export interface RunFacts {
  readonly row: StoredServer
  /** Prefix of the server, its route: `/user/ada/`. */
  readonly prefix: string
  readonly logFile: string
  readonly environment: (bind: URL) => Readonly<Record<string, string>>
  /** Blotted out of everything a page shows of the server's output. */
  readonly secrets: readonly string[]
}

/** Lines of the server's log that a failed start keeps. */
const tailLines = 40

/** How long a spawner may take to undo a start that is given up, in ms. */
const abortPatience = 5000

/**
 * One run of one server, from the moment its row says `starting` until its row says `stopped`.
 * Writes every transition before it acts on it, gives every wait a deadline, and ends in exactly
 * one way: `ended` after the process, the route, the token and the OAuth client are gone.
 */
export class ServerRun {
  readonly #deps: RunDeps
  readonly #facts: RunFacts
  readonly #spawner: Spawner
  readonly #settled = deferred<void>()
  readonly #ended = deferred<LastExit>()
  readonly #cancel = new AbortController()
  #state: ServerState
  #timer: NodeJS.Timeout | null = null
  #checking: Promise<void> | null = null
  #ending: Promise<void> | null = null
  #detached = false

  /** `found` is a server that an earlier run of the hub has started: call `adopt`, else `launch`. */
  constructor(deps: RunDeps, facts: RunFacts, origin: 'new' | 'found') {
    this.#deps = deps
    this.#facts = facts
    const since = deps.clock()
    this.#state =
      origin === 'new'
        ? { kind: 'starting', since, progress: new Progress() }
        : { kind: 'checking', since }
    this.#spawner = deps.createSpawner(facts.row.spawner, this.#context())
  }

  get row(): StoredServer {
    return this.#facts.row
  }

  /** Path prefix of the server and of its route. */
  get prefix(): string {
    return this.#facts.prefix
  }

  get state(): ServerState {
    return this.#state
  }

  /** Resolves when the start has ended, well or badly, or the check of a found server. */
  get settled(): Promise<void> {
    return this.#settled.promise
  }

  /** Resolves when the server is stopped. */
  get ended(): Promise<LastExit> {
    return this.#ended.promise
  }

  /** Launches the server and sees it through to `ready` or `stopped`. Never rejects. */
  async launch(beforeStart: () => Promise<void>): Promise<void> {
    const { state } = this
    if (state.kind !== 'starting') return
    state.progress.add({ progress: 0, message: 'Server requested' })
    this.#deps.routes.announce(this.#facts.prefix)
    try {
      const url = await this.#startProcess(beforeStart)
      await this.#deps.store.setUrl(this.row.id, this.row.generation, url.origin)
      state.progress.add({ progress: 70, message: 'Started; waiting for the server to answer' })
      await this.#becomeReady(url)
    } catch (error) {
      if (!this.#detached) await this.#end(this.#classify(error), { now: true })
    }
  }

  /**
   * Decides what became of a server that an earlier run of the hub had started; one that was half
   * started is finished meanwhile: see `settled`. Never rejects.
   */
  async adopt(): Promise<void> {
    const { row } = this
    try {
      if (row.state === 'stopping') return await this.#end(stoppedExit, { now: false })
      const found = await this.#poll()
      if (found.kind === 'exited') return await this.#end(found.exit, { now: false })
      if (row.url === null) return await this.#end(restartedExit, { now: true })
      const url = new URL(row.url)
      if (row.state === 'starting') return void this.#finishStart(url)
      if (found.kind === 'unknown') this.#warn('kept, although its state is unknown', found.reason)
      this.#cancel.signal.throwIfAborted()
      this.#enterReady(url)
    } catch (error) {
      await this.#failCheck(error)
    }
  }

  async #finishStart(url: URL): Promise<void> {
    try {
      await this.#becomeReady(url)
    } catch (error) {
      await this.#failCheck(error)
    }
  }

  async #failCheck(error: unknown): Promise<void> {
    if (!this.#detached && this.#state.kind === 'checking')
      await this.#end(this.#classify(error), { now: true })
  }

  /**
   * Stops the server, whatever it is doing; safe to call in any state. Resolves when the stop is
   * written down and under way: await `ended` for its end. With `removing`, that end deletes the row.
   * @throws {HubError} when it cannot be written down; the server then runs on.
   */
  async stop(exit: Exit = stoppedExit, { removing = false } = {}): Promise<void> {
    if (this.#ending) return removing ? this.#writeEnd(true) : undefined
    if (this.#state.kind === 'starting') return this.#cancelStart(exit, removing)
    await this.#writeStopping(removing)
    this.#cancel.abort(new StartFailed(cancelledExit))
    void this.#end(exit, { now: false })
  }

  async #cancelStart(exit: Exit, removing: boolean): Promise<void> {
    await this.#writeEnd(removing)
    if (this.#state.kind !== 'starting') return this.stop(exit, { removing })
    this.#cancel.abort(new StartFailed(cancelledExit))
  }

  /** Ends the processes of the server without any grace, as far as that can be done. */
  async kill(): Promise<void> {
    await this.#spawner.stop({ now: true }).catch(() => {})
  }

  /** Lets go of the server without touching it: the hub ends, the server runs on. */
  detach(): void {
    this.#detached = true
    if (this.#timer) clearTimeout(this.#timer)
  }

  /** Asks the spawner now rather than at the next interval. Who asks meanwhile gets the same answer. */
  check(): Promise<void> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = null
    })
    return this.#checking
  }

  async #check(): Promise<void> {
    if (this.#state.kind !== 'ready') return
    const found = await this.#poll()
    if (found.kind === 'exited') await this.#end(found.exit, { now: false })
  }

  route(url: URL) {
    const { userName, name } = this.row
    return {
      routespec: this.#facts.prefix,
      target: url.origin,
      data: { user: userName, server_name: name },
    }
  }

  #context(): ServerContext {
    const { row, environment, logFile } = this.#facts
    return {
      userName: row.userName,
      serverName: row.name,
      env: environment,
      userOptions: row.userOptions,
      saved: row.spawnerState,
      logFile,
      save: async (state: Json) => {
        this.#cancel.signal.throwIfAborted()
        await this.#deps.store.saveSpawnerState(row.id, row.generation, state)
        this.#deps.saved(this)
      },
      progress: (message) => {
        if (this.#state.kind === 'starting') this.#state.progress.add({ progress: 30, message })
      },
      exited: (exit) => this.#noticeEnd(exit),
    }
  }

  #noticeEnd(exit: Exit): void {
    if (this.#detached || this.#ending) return
    this.#cancel.abort(new StartFailed(exit))
    if (this.#state.kind !== 'starting') void this.#end(exit, { now: false })
  }

  async #startProcess(beforeStart: () => Promise<void>): Promise<URL> {
    const { start } = this.#deps.timeouts
    const { signal } = this.#cancel
    const late = new StartFailed(timeoutExit(start))
    const timer = setTimeout(() => this.#cancel.abort(late), start * 1000)
    const cancelled = aborted(signal).then(() => Promise.reject(signal.reason))
    cancelled.catch(() => {})
    try {
      await Promise.race([beforeStart().catch(refused), cancelled])
      signal.throwIfAborted()
      return await this.#startOrGiveUp(signal)
    } finally {
      clearTimeout(timer)
    }
  }

  /** A spawner that ignores its signal does not hold up the end of the start. What it starts later is ended. */
  async #startOrGiveUp(signal: AbortSignal): Promise<URL> {
    const starting = this.#spawner.start(signal)
    const givenUp = aborted(signal).then(async () => {
      await after(abortPatience)
      starting.then(
        () => this.kill(),
        () => {},
      )
      throw signal.reason
    })
    givenUp.catch(() => {})
    return Promise.race([starting, givenUp])
  }

  async #becomeReady(url: URL): Promise<void> {
    const { store, routes, timeouts, clock } = this.#deps
    const { signal } = this.#cancel
    await waitForHttp({
      url: `${url.origin}${this.#facts.prefix}api`,
      timeoutSeconds: timeouts.http,
      poll: () => this.#poll(),
      signal,
    })
    signal.throwIfAborted()
    await routes.add(this.route(url))
    if (signal.aborted) await routes.remove(this.#facts.prefix)
    signal.throwIfAborted()
    const { id, generation } = this.row
    await store.setState(id, generation, { state: 'ready', now: clock(), deadline: null })
    signal.throwIfAborted()
    this.#enterReady(url)
  }

  #enterReady(url: URL): void {
    const before = this.#state
    this.#state = { kind: 'ready', since: this.#deps.clock(), url }
    this.#scheduleCheck()
    this.#settled.resolve()
    this.#deps.ready(this, before.kind)
    if (before.kind === 'starting') before.progress.end(readyEvent(this.#facts.prefix))
  }

  #scheduleCheck(): void {
    const { poll, pollJitter } = this.#deps.timeouts
    if (poll <= 0 || this.#detached) return
    const pause = poll * 1000 * (1 + pollJitter * (2 * Math.random() - 1))
    this.#timer = setTimeout(() => {
      void this.check().finally(() => {
        if (this.#state.kind === 'ready') this.#scheduleCheck()
      })
    }, pause)
    this.#timer.unref()
  }

  async #poll(): Promise<PollResult> {
    const seconds = stopwatch()
    try {
      const found = await within(30_000, this.#spawner.poll(), 'asking for its state')
      if (found.kind !== 'unknown')
        this.#deps.metrics.serverPolled(seconds(), found.kind === 'running')
      return found
    } catch (error) {
      return { kind: 'unknown', reason: describeError(error) }
    }
  }

  #end(exit: Exit, how: { readonly now: boolean }): Promise<void> {
    this.#ending ??= this.#finish(exit, how).catch((error: unknown) => {
      this.#warn('the end of the server went wrong', describeError(error))
    })
    return this.#ending
  }

  async #finish(exit: Exit, { now }: { readonly now: boolean }): Promise<void> {
    const { store, routes, clock } = this.#deps
    const { id, generation, state: found } = this.row
    const before = this.#state
    if (this.#timer) clearTimeout(this.#timer)
    await this.#writeStopping().catch((error: unknown) =>
      this.#warn('the stop could not be written down yet', describeError(error)),
    )
    await routes.remove(this.#facts.prefix, isPlanned(exit) ? 'stopped' : 'crashed')
    await this.#stopProcess(now)
    const wasReady = before.kind === 'ready' || (before.kind === 'checking' && found === 'ready')
    const ran = wasReady ? { wasReady } : {}
    const last: LastExit = { ...exit, ...ran, logTail: await this.#tail(exit) }
    const holders = await this.#insist('writing its end', () =>
      store.finish(id, generation, last, clock()),
    )
    this.#state = { kind: 'stopped', exit: last }
    this.#deps.ended(this, last, holders)
    if (before.kind === 'starting') before.progress.end(failedEvent(exit))
    this.#settled.resolve()
    this.#ended.resolve(last)
  }

  async #writeStopping(removing = false): Promise<void> {
    if (this.#state.kind === 'stopping') return
    const before = this.#state
    this.#state = { kind: 'stopping', since: this.#deps.clock() }
    try {
      await this.#writeEnd(removing)
    } catch (error) {
      this.#state = before
      throw error
    }
    this.#deps.stopping(this)
  }

  async #writeEnd(removing: boolean): Promise<void> {
    const { store, clock, timeouts } = this.#deps
    const now = clock()
    const deadline = new Date(now.getTime() + timeouts.stop * 1000)
    const { id, generation } = this.row
    await store.setState(id, generation, { state: 'stopping', now, deadline, removing })
  }

  /** Returns only when the server is gone: a stop that fails is tried again, harder, until it works. */
  async #stopProcess(now: boolean): Promise<void> {
    const { stop } = this.#deps.timeouts
    for (let attempt = 0; ; attempt += 1) {
      try {
        const stopping = this.#spawner.stop({ now: now || attempt > 0 })
        return await within(stop * 1000, stopping, 'stopping it')
      } catch (error) {
        this.#warn('could not be stopped', describeError(error))
      }
      if ((await this.#poll()).kind === 'exited') return
      await sleep(Math.min(1000 * 2 ** attempt, 60_000), undefined, { ref: false })
    }
  }

  async #tail(exit: Exit): Promise<string[]> {
    if (exit.cause === 'stopped' || exit.cause === 'cancelled') return []
    try {
      const lines = await within(5000, this.#spawner.tail?.(tailLines) ?? [], 'reading its log')
      return redactLines(lines, this.#facts.secrets)
    } catch (error) {
      this.#warn('its log could not be read', describeError(error))
      return []
    }
  }

  async #insist<T>(what: string, run: () => Promise<T>): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await run()
      } catch (error) {
        if (this.#detached) throw error
        this.#warn(`${what} failed and is tried again`, describeError(error))
      }
      await sleep(Math.min(200 * 2 ** attempt, 30_000), undefined, { ref: false })
    }
  }

  /** Whoever ended the start knows why; for a deadline the spawner knows more. */
  #classify(error: unknown): Exit {
    const reason: unknown = this.#cancel.signal.reason
    if (reason instanceof StartFailed && reason.exit.cause !== 'timeout') return reason.exit
    const known = [error, error instanceof Error ? error.cause : null].find(
      (candidate) => candidate instanceof StartFailed,
    )
    if (known) return known.exit
    if (reason instanceof StartFailed) return reason.exit
    this.#warn('start failed', describeError(error))
    return { cause: 'unknown', code: null, message: describeError(error) }
  }

  #warn(message: string, error: string): void {
    const { userName, name } = this.row
    this.#deps.log.warn(`server ${userName}/${name}: ${message}`, { error })
  }
}

/** A hook that throws a `HubError` says no, in words and with a status of its own. */
function refused(error: unknown): never {
  throw error instanceof HubError ? new StartFailed(refusedExit(error), { cause: error }) : error
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
