import type { Config, Drivers } from '../config.ts'
import type { Secrets } from '../secrets.ts'

/** A flag of a command, for parsing and for its help. */
export interface Flag {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  /** What stands for the value in the help: `FILE`. */
  readonly value?: string
  readonly multiple?: true
  readonly help: string
}

export type Flags = Readonly<Record<string, Flag>>

/** One subcommand of `portico`. */
export interface Command {
  /** The words after `portico`, such as `config check`. */
  readonly name: string
  /** Arguments in the help, such as `NAME`. */
  readonly usage?: string
  /** How many arguments there must be; none by default. */
  readonly positionals?: number | { readonly least: number; readonly most: number }
  /** One line for the list of commands. */
  readonly summary: string
  readonly details?: string
  readonly flags: Flags
  readonly examples: readonly string[]
  /** Resolves to the exit status. A throw is a failure, told in one line. */
  run(context: CommandContext): Promise<number>
}

/** What a command may know and do; `main.ts` makes it, since only that file touches the process. */
export interface CommandContext {
  readonly flags: FlagValues
  readonly positionals: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly account: { readonly userName: string; readonly home: string; readonly isRoot: boolean }
  readonly version: string
  /** How people start us, for printed commands: `npm run portico --` in a clone. */
  readonly invocation: string
  /** One line for whoever reads the result. */
  readonly print: (line: string) => void
  /** One line about trouble, next to the result. */
  readonly warn: (line: string) => void
  /** How far long work is: one line that replaces the last one, on a terminal only. Empty: takes it away. */
  readonly status: (line: string) => void
  /** The terminal that shows the result; null when a file or a program reads it. */
  readonly terminal: { readonly columns: number; readonly hasColours: boolean } | null
  /** All of standard input. */
  readonly input: () => Promise<string>
  /** Loads the hub with all its parts: only for those who start it or know its drivers. */
  hub(): Promise<HubProgram>
  /** Calls back at each request to stop this program, until the program ends. */
  onStopSignal(listener: (signal: StopSignal) => void): void
}

export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP'

export interface FlagValues {
  text(name: string): string | undefined
  list(name: string): readonly string[]
  has(name: string): boolean
}

/** The hub as a command sees it. */
export interface HubProgram {
  readonly drivers: Drivers
  readonly startHub: (options: StartOptions) => Promise<RunningHub>
}

export interface StartOptions {
  readonly config: Config
  readonly secrets: Secrets
  readonly dataDir: string
  /** Variables for proxy and servers: kept ones only, no secrets. */
  readonly env: Record<string, string>
  readonly quickStart: boolean
  readonly version: string
  /** First word of the names of metrics; absent: JupyterHub's. */
  readonly metricsPrefix?: string
  readonly ready?: (info: { readonly url: string; readonly loginLink: string | null }) => void
}

export interface RunningHub {
  readonly stopped: Promise<{ readonly reason: string }>
  /** A second call with `now` hurries the first one along. */
  stop(options: {
    readonly servers: boolean
    readonly proxy: boolean
    readonly now?: boolean
  }): Promise<{ readonly runningServers: number; readonly proxyRuns: boolean }>
}

/** Flags that every command takes. */
export const commonFlags: Flags = {
  debug: { type: 'boolean', help: 'Log everything, and show where an error came from.' },
  help: { type: 'boolean', short: 'h', help: 'Show this help.' },
}

/** Flags of commands that need to know the site. */
export const siteFlags: Flags = {
  config: {
    type: 'string',
    short: 'f',
    value: 'FILE',
    help: 'Config file. Default: portico.config.ts, .js, .mjs or .json in the working directory.',
  },
  'data-dir': {
    type: 'string',
    value: 'DIR',
    help: 'Folder of database, secrets and logs. Default: /var/lib/portico for root, else ~/.local/state/portico.',
  },
}

/** Flags of commands that speak to a running hub. */
export const hubFlags: Flags = {
  ...siteFlags,
  url: {
    type: 'string',
    value: 'URL',
    help: 'A hub elsewhere, with the token in JUPYTERHUB_API_TOKEN. Default: the hub of the data directory.',
  },
}

/** The command line itself is wrong: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}
