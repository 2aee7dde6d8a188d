import { isIP } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Command,
  type ProcessIdentity,
  type StopLadder,
  type SupervisedProcess,
  LaunchFailed,
  adopt,
  launch,
  parseIdentity,
  rotateLog,
  tailFile,
} from 'portico/process'
import {
  type Exit,
  type ExitCause,
  type Json,
  type PollResult,
  type ServerContext,
  type Spawner,
  StartFailed,
} from 'portico/spawner'
import { z } from 'zod'
import { chooseCommand, commandOptions, programName, refusesRoot } from './command.ts'
import { explainEnding, explainNoPort, isPortTaken, memoryKills } from './exit-cause.ts'
import { freePort, isAnswered, isPortOf, reachableAt, urlOf } from './listening-port.ts'

/** Options of every spawner that starts processes on this machine. Names as in JupyterHub's LocalProcessSpawner. */
export const processOptions = {
  ...commandOptions,
  /** Address on which the server listens: `127.0.0.1`, `::1`, or `0.0.0.0` for all. JupyterHub: `Spawner.ip`. */
  ip: z
    .string()
    .refine((ip) => isIP(ip) !== 0, 'must be an IP address, such as 127.0.0.1')
    .default('127.0.0.1'),
  /** Port on which the server listens; 0 picks a free one for every start. JupyterHub: `Spawner.port`. */
  port: z.int().min(0).max(65_535).default(0),
  /** Seconds to wait after SIGINT before SIGTERM. JupyterHub: `interrupt_timeout`. */
  interruptTimeout: z.number().min(0).default(30),
  /** Seconds to wait after SIGTERM before SIGKILL. JupyterHub: `term_timeout`. */
  termTimeout: z.number().min(0).default(30),
  /** Seconds to wait after SIGKILL before the stop counts as failed. JupyterHub: `kill_timeout`. */
  killTimeout: z.number().positive().default(5),
}

const processSchema = z.strictObject(processOptions)

/** The operating system account under which one server runs. */
export interface ServerAccount {
  /** Command that takes on the rights of the account and execs what follows; empty for our own. */
  readonly prefix: readonly string[]
  /** Absolute; the working directory of the server. */
  readonly home: string
  /** Applied last: USER, LOGNAME, HOME, SHELL. */
  readonly env: Readonly<Record<string, string>>
  readonly isRoot: boolean
}

const attempts = 3
const firstPause = 20
const longestPause = 250
const linesToExplain = 50
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * A single-user server as a process on this machine. It outlives the hub, and is found again by
 * what was saved before it began. `account` throws StartFailed when the user has none.
 */
export class LocalProcess implements Spawner {
  readonly #config: z.output<typeof processSchema>
  readonly #context: ServerContext
  readonly #account: () => Promise<ServerAccount>
  #process: SupervisedProcess | null
  /** How the process ended, when it is a child of this run of the hub. */
  #ended: Promise<Exit> | null = null
  #phase: 'idle' | 'starting' | 'serving' | 'stopping' = 'idle'
  #memoryKills = 0

  constructor(
    config: z.output<typeof processSchema>,
    context: ServerContext,
    account: () => Promise<ServerAccount>,
  ) {
    this.#config = config
    this.#context = context
    this.#account = account
    const identity = savedIdentity(context.saved)
    this.#process = identity && adopt(identity)
  }

  async start(signal: AbortSignal): Promise<URL> {
    signal.throwIfAborted()
    this.#phase = 'starting'
    try {
      await this.#process?.stop(this.#ladder(true))
      const account = await this.#account()
      const url = await this.#startOnFreePort(account, signal)
      this.#phase = 'serving'
      return url
    } finally {
      if (this.#phase === 'starting') this.#phase = 'idle'
    }
  }

  async stop({ now }: { readonly now: boolean }): Promise<void> {
    if (this.#process?.isRunning() !== false) this.#phase = 'stopping'
    await this.#process?.stop(this.#ladder(now))
  }

  async poll(): Promise<PollResult> {
    if (this.#phase === 'starting') return { kind: 'running' }
    if (!this.#process) return this.#pollWithoutProcess()
    if (!this.#process.isRunning()) return { kind: 'exited', exit: await this.#explainEnd() }
    this.#memoryKills = memoryKills()
    // A full disk says nothing about the server.
    await rotateLog(this.#context.logFile).catch(() => {})
    return { kind: 'running' }
  }

  tail(lines: number): Promise<readonly string[]> {
    return tailFile(this.#context.logFile, lines)
  }

  async #startOnFreePort(account: ServerAccount, signal: AbortSignal): Promise<URL> {
    for (let attempt = 1; ; attempt += 1) {
      const port = this.#config.port || (await freePort(this.#config.ip))
      await rotateLog(this.#context.logFile, 0)
      const supervised = await this.#launch(account, port, signal)
      const target = reachableAt(this.#config.ip, port)
      if (await this.#serves(supervised, target, signal)) return target
      const taken = isPortTaken(await this.tail(linesToExplain))
      if (!taken) throw new StartFailed(await this.#explainEnd())
      if (this.#config.port !== 0 || attempt === attempts) throw portTaken(port)
      this.#context.progress(`Port ${port} was taken by another program: trying the next one`)
    }
  }

  async #launch(
    account: ServerAccount,
    port: number,
    signal: AbortSignal,
  ): Promise<SupervisedProcess> {
    const context = this.#context
    const bind = urlOf(this.#config.ip, port)
    const env = { PATH: defaultPath, ...context.env(bind), ...account.env }
    const command = await this.#command(account, env.PATH)
    context.progress(`Starting ${programName(command)}`)
    this.#memoryKills = memoryKills()
    const supervised = await launch({
      command,
      env,
      cwd: account.home,
      logFile: context.logFile,
      prefix: account.prefix,
      signal,
      save: (identity) => context.save({ identity: { ...identity }, port }),
    }).catch((error: unknown) => Promise.reject(explainLaunch(error, account.home)))
    this.#process = supervised
    this.#ended = this.#follow(supervised, programName(command))
    return supervised
  }

  async #command(account: ServerAccount, path: string): Promise<Command> {
    const command = await chooseCommand(this.#config.cmd, path, account.prefix)
    const asRoot = account.isRoot && refusesRoot(command) ? ['--allow-root'] : []
    return [...command, ...asRoot, ...this.#config.args]
  }

  /** True once the server, and nobody else, accepts connections; false when it has ended before. */
  async #serves(supervised: SupervisedProcess, target: URL, signal: AbortSignal): Promise<boolean> {
    try {
      for (
        let pause = firstPause;
        supervised.isRunning();
        pause = Math.min(1.4 * pause, longestPause)
      ) {
        if ((await isAnswered(target)) && (await isPortOf(await supervised.members(), target))) {
          signal.throwIfAborted()
          return true
        }
        await sleep(pause, undefined, { signal })
      }
    } catch (cause) {
      this.#phase = 'stopping'
      await supervised.stop(this.#ladder(true))
      if (!signal.aborted) throw cause
      const log = await this.tail(linesToExplain)
      throw new StartFailed(explainNoPort(Number(target.port), log), { cause })
    }
    await supervised.stop(this.#ladder(true))
    return false
  }

  /** Resolves after the end of a child of ours; what it left behind is gone by then. */
  async #follow(supervised: SupervisedProcess, program: string): Promise<Exit> {
    const exited = await supervised.exited
    const { code } = exited
    if (this.#phase === 'stopping')
      return { cause: 'stopped', code, message: 'The server was stopped.' }
    const isReported = this.#phase === 'serving'
    const log = await this.tail(linesToExplain).catch(() => [])
    const memoryRanOut = memoryKills() > this.#memoryKills
    const exit = explainEnding({ exited, program, log, memoryRanOut })
    // Whoever hears of the end stops the server once more, and is told there of what does not die.
    await supervised.stop(this.#ladder(true)).catch(() => {})
    if (isReported) this.#context.exited(exit)
    return exit
  }

  async #explainEnd(): Promise<Exit> {
    if (this.#ended) return this.#ended
    const cause: ExitCause = this.#phase === 'stopping' ? 'stopped' : 'hub-restarted'
    const message =
      cause === 'stopped'
        ? 'The server was stopped.'
        : 'The server has ended. How is not known, since the hub was restarted after its start.'
    return { cause, code: null, message }
  }

  #pollWithoutProcess(): PollResult {
    if (this.#context.saved !== null && this.#phase !== 'stopping') {
      return { kind: 'unknown', reason: 'what was saved of the server cannot be read' }
    }
    return {
      kind: 'exited',
      exit: { cause: 'unknown', code: null, message: 'The server was not started.' },
    }
  }

  #ladder(now: boolean): StopLadder {
    const { interruptTimeout, termTimeout, killTimeout } = this.#config
    const graceful: StopLadder = [
      ['SIGINT', interruptTimeout * 1_000],
      ['SIGTERM', termTimeout * 1_000],
    ]
    return [...(now ? [] : graceful), ['SIGKILL', killTimeout * 1_000]]
  }
}

function savedIdentity(saved: Json): ProcessIdentity | null {
  if (typeof saved !== 'object' || saved === null || !('identity' in saved)) return null
  return parseIdentity(saved['identity'])
}

function explainLaunch(error: unknown, home: string): unknown {
  if (!(error instanceof LaunchFailed)) return error
  const exit: Exit =
    error.stage === 'cwd'
      ? {
          cause: 'home-missing',
          code: null,
          message: `The home directory ${home} does not exist or may not be entered. An administrator must create it.`,
        }
      : {
          cause: 'permission-denied',
          code: null,
          message: `The hub could not take on the rights of the account: ${error.message}. An administrator finds more in the log of the server.`,
        }
  return new StartFailed(exit, { cause: error })
}

function portTaken(port: number): StartFailed {
  const message = `Port ${port} is taken by another program. Try again, or let an administrator change spawner.port.`
  return new StartFailed({ cause: 'port-never-opened', code: null, message })
}
