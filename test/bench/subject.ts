import type { BenchHub, Contender } from './contender.ts'
import type { Launcher } from './launcher.ts'
import type { LoadGenerator } from './load.ts'

/** More is better in `1/s`, less in all others. */
export type Unit = 's' | 'ms' | 'us' | 'MiB' | 'KiB' | 'count' | '%' | '1/s'

/** One measured number. `label` is the same for every hub and round. */
export interface Figure {
  readonly label: string
  readonly value: number
  readonly unit: Unit
}

/** What a subject may use. */
export interface Bench {
  readonly hub: BenchHub
  /** With `launcher`, for more hubs of this kind. */
  readonly contender: Contender
  readonly launcher: Launcher
  readonly load: LoadGenerator
  /** Fewer and shorter measurements. */
  readonly isQuick: boolean
  /** Half a minute for each figure that can take it. */
  readonly isFull: boolean
}

/**
 * One thing that is measured, as a file in `subjects/`. Contenders take turns, so that whatever else
 * the machine does falls on all of them; of each figure the median over the rounds counts.
 */
export interface Subject {
  readonly name: string
  /** One line for `--help`. */
  readonly summary: string
  /** False for hubs that do not let it be measured: those that we did not start, for example. */
  applies(hub: BenchHub): boolean
  rounds(isQuick: boolean): number
  measure(bench: Bench): Promise<readonly Figure[]>
}
