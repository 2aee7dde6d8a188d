import type { Launcher } from './launcher.ts'
import type { Seed } from './seeds/seed.ts'

/** A hub that is being measured. */
export interface BenchHub {
  readonly contender: string
  /** The hub's own listener with the base url; null when only the public address is known. */
  readonly direct: URL | null
  /** The public address with the base url: the proxy's. */
  readonly front: URL
  /** Of an admin, where servers are started; else it must be able to read `user`. */
  readonly token: string
  /** Whom the API is asked about. */
  readonly user: string
  /** Null when the hub is not ours: no CPU, no memory, no starts. */
  readonly processes: { readonly hub: number; readonly proxy: number } | null
  /** From the launch of the command to the first 200 of `/hub/health`; null when it ran already. */
  readonly startSeconds: number | null
  readonly startedAt: number
  /** Ends the hub and all that it started, whatever state they are in. Safe to call twice. */
  stop(): Promise<void>
}

/** A kind of hub, and how to start one; several may run at once, each with ports and data of its own. */
export interface Contender {
  readonly name: string
  /** With a seed, on a database that has been filled with it: `startSeconds` is of that start. */
  start(launcher: Launcher, seed?: Seed): Promise<BenchHub>
}

/** What a benchmark cannot go on from, told without a stack. */
export class BenchError extends Error {
  override readonly name = 'BenchError'
}
