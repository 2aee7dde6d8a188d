import { type ChildProcess, fork } from 'node:child_process'
import { constants, getPriority, setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { HubError } from 'portico/errors'
import { programPath } from 'portico/process'

export interface WorkerPoolOptions {
  /** The program to run: it says `ready`, then answers one message after the other. */
  readonly program: string
  /** What it asks, for messages. */
  readonly what: string
  /** Its whole environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Processes at most; each takes one question at a time. */
  readonly workers: number
  /** Questions that may wait for a process. */
  readonly waiting: number
  /** Milliseconds for one question. */
  readonly patience: number
  readonly log: { warn(message: string): void }
}

interface Job<Request, Reply> {
  readonly request: Request
  readonly signal: AbortSignal
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
  /** By the monotonic clock, in ms. */
  readonly since: number
}

/** Milliseconds until a worker must be up, and after which one without work is ended. */
const startPatience = 30_000
const idleTime = 300_000
/** How far below the hub: not so far below what else runs here that logins would hardly go on. */
const niceness = 5
/** Milliseconds that a question waits for one of the processes there are, before another is started. */
const growAfter = 500

/**
 * A bounded number of processes for calls that block, and a bounded queue before them. Further
 * processes are started one after the other, and only when a question has waited for a while: to start
 * one costs more than most questions do, and holds up the caller's own process.
 */
export class WorkerPool<Request extends object, Reply> {
  readonly #options: WorkerPoolOptions
  readonly #workers = new Set<Worker<Request, Reply>>()
  readonly #queue: Job<Request, Reply>[] = []
  #isGrowing = false
  #isClosed = false

  constructor(options: WorkerPoolOptions) {
    this.#options = options
  }

  /** Starts the first process. Throws when the program cannot work on this machine; the log says why. */
  async open(): Promise<void> {
    await this.#add().ready
  }

  /**
   * Asks the program; the message is not needed any more when this settles.
   * @throws {HubError} `unavailable` when the queue is full, it takes too long or the process dies.
   */
  ask(request: Request, signal: AbortSignal): Promise<Reply> {
    return new Promise<Reply>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error)
      if (this.#isClosed) return reject(unavailable('The hub is stopping'))
      if (this.#queue.length >= this.#options.waiting && !this.#idle())
        return reject(unavailable('Too many logins are being checked'))
      const job = { request, signal, resolve, reject, since: performance.now() }
      const leave = (): void => {
        const place = this.#queue.indexOf(job)
        if (place >= 0) this.#queue.splice(place, 1)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#queue.push(job)
      this.#next()
    })
  }

  /** Ends all processes, also those that are held up. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const job of this.#queue.splice(0)) job.reject(unavailable('The hub is stopping'))
    await Promise.all([...this.#workers].map((worker) => worker.kill()))
  }

  #idle(): Worker<Request, Reply> | undefined {
    return [...this.#workers].find((worker) => !worker.isBusy)
  }

  #add(): Worker<Request, Reply> {
    const worker = new Worker<Request, Reply>(this.#options)
    this.#workers.add(worker)
    const left = (error?: unknown): void => {
      this.#workers.delete(worker)
      if (error === undefined) this.#next()
      else if (this.#workers.size === 0) this.#giveUp(error)
    }
    void worker.ready
      .then(() => this.#next())
      .then(() => worker.ended)
      .then(() => left(), left)
    return worker
  }

  /** Nobody is there to wait for. */
  #giveUp(error: unknown): void {
    for (const job of this.#queue.splice(0)) job.reject(error)
  }

  #next(): void {
    if (this.#isClosed || this.#queue.length === 0) return
    if (this.#workers.size === 0) this.#add()
    for (let worker = this.#idle(); worker; worker = this.#idle()) {
      const job = this.#queue.shift()
      if (!job) return
      void worker.ask(job).finally(() => {
        if (this.#workers.size > 1) worker.endWhenIdle()
        this.#next()
      })
    }
    void this.#grow()
  }

  async #grow(): Promise<void> {
    const [first] = this.#queue
    if (!first || this.#isGrowing || this.#workers.size >= this.#options.workers) return
    this.#isGrowing = true
    await sleep(Math.max(0, first.since + growAfter - performance.now()), null, { ref: false })
    const [oldest] = this.#queue
    const isLate = oldest !== undefined && performance.now() - oldest.since >= growAfter
    if (isLate && !this.#isClosed) await this.#add().ready.catch(() => {})
    this.#isGrowing = false
    this.#next()
  }
}

/** One process. */
class Worker<Request extends object, Reply> {
  readonly ready: Promise<void>
  readonly ended: Promise<void>
  readonly #child: ChildProcess
  readonly #patience: number
  readonly #log: WorkerPoolOptions['log']
  readonly #what: string
  #isBusy = true
  #lastWords = ''
  #idle: NodeJS.Timeout | undefined

  constructor({ program, what, env = {}, patience, log }: WorkerPoolOptions) {
    const [, script] = programPath(program)
    const child = fork(script, [], {
      execArgv: [],
      env,
      cwd: '/',
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    this.#child = child
    giveWay(child)
    this.#patience = patience
    this.#log = log
    this.#what = what
    this.ended = new Promise((resolve) => {
      child.once('exit', () => resolve())
      child.once('error', () => resolve())
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-2_000)
      log.warn(`${what} says: ${text.trim().slice(0, 500)}`)
    })
    this.ready = this.#message(startPatience).then(() => {
      this.#isBusy = false
    })
  }

  /** Also while it starts, and when it is about to be gone. */
  get isBusy(): boolean {
    return this.#isBusy || this.#child.killed || !this.#child.connected
  }

  async ask({ request, signal, resolve, reject }: Job<Request, Reply>): Promise<void> {
    this.#isBusy = true
    clearTimeout(this.#idle)
    try {
      if (signal.aborted) return
      const reply = this.#message(this.#patience)
      this.#child.send(request, (error) => error && this.#child.kill('SIGKILL'))
      resolve((await reply) as Reply)
    } catch (error) {
      reject(error)
    } finally {
      this.#isBusy = false
    }
  }

  endWhenIdle(): void {
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => void this.kill(), idleTime).unref()
  }

  kill(): Promise<void> {
    clearTimeout(this.#idle)
    this.#child.kill('SIGKILL')
    return this.ended
  }

  /** The next message. When none comes in time the process is killed: nothing else ends a module. */
  #message(patience: number): Promise<unknown> {
    const child = this.#child
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL')
        this.#log.warn(`${this.#what} took longer than ${patience / 1_000} seconds and was stopped`)
        reject(unavailable('The check took too long'))
      }, patience)
      const settle = (): void => {
        clearTimeout(timer)
        child.off('message', received).off('exit', died).off('error', died)
      }
      const received = (message: unknown): void => {
        settle()
        resolve(message)
      }
      const died = (): void => {
        settle()
        this.#log.warn(`a process of ${this.#what} has died. ${this.#lastWords}`.trim())
        reject(unavailable('The check was interrupted'))
      }
      child.once('message', received).once('exit', died).once('error', died)
    })
  }
}

/** What checks passwords may wait: the hub answers others meanwhile. */
function giveWay({ pid }: ChildProcess): void {
  try {
    const least = constants.priority.PRIORITY_LOW
    if (pid !== undefined) setPriority(pid, Math.min(getPriority() + niceness, least))
  } catch {
    // It has ended already, or this machine does not allow it.
  }
}

function unavailable(what: string): HubError {
  return new HubError('unavailable', `${what}. Try again in a few seconds.`, { retryAfter: 5 })
}
