import type { z } from 'zod'
import type { ErrorCode } from './errors.ts'

export type Json =
  string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }

/** Why a server is not running any more, classified so that a page can say what to do. */
export type ExitCause =
  | 'stopped'
  | 'cancelled'
  | 'command-not-found'
  | 'permission-denied'
  | 'no-account'
  | 'home-missing'
  | 'out-of-memory'
  | 'port-never-opened'
  | 'http-never-answered'
  | 'hub-unreachable'
  | 'timeout'
  | 'killed'
  | 'exited'
  | 'hub-restarted'
  | 'refused'
  | 'unknown'

/** The end of a server. */
export interface Exit {
  readonly cause: ExitCause
  /** Exit status, or null when it is not known or a signal ended it. */
  readonly code: number | null
  /** One sentence for the person who waits: what happened and what to do. No secrets. */
  readonly message: string
  /** Of a start that was `refused`: what it is answered with. */
  readonly refusal?: ErrorCode
}

/** What a spawner's `start` throws when it knows why it failed. Anything else counts as `unknown`. */
export class StartFailed extends Error {
  override readonly name: string = 'StartFailed'
  readonly exit: Exit

  constructor(exit: Exit, options?: ErrorOptions) {
    super(exit.message, options)
    this.exit = exit
  }
}

/**
 * `unknown` means that the question could not be answered (a queue command failed, a host did not
 * reply). The hub then leaves the server alone and asks again: only `exited` ends it.
 */
export type PollResult =
  | { readonly kind: 'running' }
  | { readonly kind: 'exited'; readonly exit: Exit }
  | { readonly kind: 'unknown'; readonly reason: string }

/** What the hub hands a spawner for one run of one server of one user. */
export interface ServerContext {
  readonly userName: string
  /** Empty for the user's default server. */
  readonly serverName: string
  /**
   * The environment of the server, complete: kept variables, the hub's (`JUPYTERHUB_*`) and the
   * configured ones. `bind` is where the server is to listen, without a path:
   * it becomes `JUPYTERHUB_SERVICE_URL`. Holds the server's token: never log it, never put it on a
   * command line.
   */
  env(bind: URL): Readonly<Record<string, string>>
  /** Options the user chose for this start. Hostile input. */
  readonly userOptions: Json
  /** What this server last saved, or null if nothing is known of an earlier run. */
  readonly saved: Json
  /**
   * Records what a restarted hub needs to find this server again; resolves when the row is durable.
   * Call it the moment an id is known (pid + start time, job id), before the server can do
   * anything. Must not contain secrets.
   */
  save(state: Json): Promise<void>
  /** File that receives the server's output: absolute, its folder exists, mode 0600, outside the user's reach. */
  readonly logFile: string
  /** One line for the progress log that the waiting user sees. */
  progress(message: string): void
  /** May be called when the spawner notices by itself that the running server has ended. */
  exited(exit: Exit): void
}

/**
 * Starts, stops and watches one run of one single-user server.
 *
 * The hub serialises calls: `start` and `stop` never overlap, except that `stop` may come after
 * `start`'s signal was aborted and `start` has settled. `poll` may come at any time, also before
 * the first `start` and on a spawner that was made from `saved` by a restarted hub.
 */
export interface Spawner {
  /**
   * Resolves with the url at which the proxy can reach the server (no path), once it has been
   * launched; HTTP need not answer yet. When `signal` aborts, undoes everything and rejects.
   * @throws {StartFailed} with a classified cause.
   */
  start(signal: AbortSignal): Promise<URL>
  /** Resolves when the server and all it started are gone; safe to call twice. `now` skips the graceful part. */
  stop(options: { readonly now: boolean }): Promise<void>
  /** Never started and nothing saved is `exited`. Rejecting counts as `unknown`. */
  poll(): Promise<PollResult>
  /** The last lines the server wrote, oldest first; at most `lines`. Empty when there is no log. */
  tail?(lines: number): Promise<readonly string[]>
}

/** A spawner as the hub sees it: a name, a schema for its own options, a constructor. */
export interface SpawnerDriver<Schema extends z.ZodObject = z.ZodObject> {
  readonly name: string
  readonly config: Schema
  /** Throws a plain sentence when these options cannot work here (not root, program missing). Called once at start-up. */
  readonly check?: (config: z.output<Schema>) => void
  /**
   * Why this user could never have a server here (no such account), or null. Asked at every login,
   * so that people learn it there rather than from a failed start. Rejecting refuses the login.
   */
  readonly refusal?: (config: z.output<Schema>, userName: string) => Promise<string | null>
  readonly create: (config: z.output<Schema>, context: ServerContext) => Spawner
}

/** Gives the options of `create` and `check` their types from the schema. */
export function defineSpawner<Schema extends z.ZodObject>(
  driver: SpawnerDriver<Schema>,
): SpawnerDriver {
  return driver as unknown as SpawnerDriver
}
