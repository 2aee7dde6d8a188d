import { BoundedMap } from '../../packages/core/bounded-map.ts'

/** Most keys that are remembered; the oldest are forgotten first. */
const capacity = 10_000
const forgottenAfter = 15 * 60_000

interface Failures {
  readonly count: number
  /** By the clock of the options. */
  readonly last: number
}

export interface FailureCountOptions {
  /** Failures that cost nothing. */
  readonly free: number
  /** Longest wait, in ms. */
  readonly longest: number
  /** Milliseconds, ever growing. */
  readonly clock: () => number
}

/** How often something has failed of late, by key, and how long the next attempt must wait. */
export class FailureCounts {
  readonly #options: FailureCountOptions
  readonly #known = new BoundedMap<string, Failures>(capacity)

  constructor(options: FailureCountOptions) {
    this.#options = options
  }

  of(key: string): number {
    return this.#recall(key)?.count ?? 0
  }

  /** How often now. */
  add(key: string): number {
    const count = this.of(key) + 1
    this.#known.set(key, { count, last: this.#options.clock() })
    return count
  }

  forget(key: string): void {
    this.#known.delete(key)
  }

  /** Milliseconds from the last failure to the next attempt. */
  delayOf(key: string): number {
    const over = this.of(key) - this.#options.free
    return over < 0 ? 0 : Math.min(1000 * 2 ** over, this.#options.longest)
  }

  /** Those that are left; 0 or less: none. */
  waitOf(key: string): number {
    const known = this.#recall(key)
    return known ? known.last + this.delayOf(key) - this.#options.clock() : 0
  }

  #recall(key: string): Failures | undefined {
    const known = this.#known.get(key)
    if (!known || this.#options.clock() - known.last <= forgottenAfter) return known
    this.#known.delete(key)
    return undefined
  }
}
