import { setTimeout as sleep } from 'node:timers/promises'
import { HubError } from 'portico/errors'

export interface LoginDelayOptions {
  /** Failures after which it becomes slow. */
  readonly free: number
  /** Longest wait, in ms. */
  readonly longest: number
  /** Milliseconds, ever growing. */
  readonly clock: () => number
}

interface Failures {
  count: number
  last: number
}

/** Names and addresses that are remembered; the oldest are forgotten first. */
const most = 10_000
const forgottenAfter = 15 * 60_000
/** Longest wait that a stranger can put upon the owner of a name. */
const longestForAll = 3_000

/**
 * Slows guessing. One address that goes on guessing at one name is refused for a while; a name
 * that many addresses guess at answers later, but always answers, so that nobody can be locked out.
 */
export class LoginDelays {
  readonly #options: LoginDelayOptions
  readonly #pairs = new Map<string, Failures>()
  readonly #names = new Map<string, Failures>()

  constructor(options: LoginDelayOptions) {
    this.#options = options
  }

  /** @throws {HubError} `too_many_requests` with the seconds that are left. */
  check(name: string, address: string): void {
    const wait = this.#waitOf(this.#known(this.#pairs, pairOf(name, address)))
    if (wait <= 0) return
    throw new HubError('too_many_requests', 'Too many wrong passwords. Wait a little.', {
      retryAfter: Math.ceil(wait / 1_000),
    })
  }

  /** Resolves when the answer may be given; at once while nobody guesses at this name. */
  async slow(name: string, signal: AbortSignal): Promise<void> {
    const failures = this.#known(this.#names, name)
    const wait = Math.min(this.#delayOf(failures), longestForAll)
    if (wait > 0) await sleep(wait, null, { signal })
  }

  failed(name: string, address: string): void {
    for (const [map, key] of [
      [this.#pairs, pairOf(name, address)],
      [this.#names, name],
    ] as const) {
      const count = (this.#known(map, key)?.count ?? 0) + 1
      map.delete(key)
      map.set(key, { count, last: this.#options.clock() })
      const [oldest] = map.keys()
      if (map.size > most && oldest !== undefined) map.delete(oldest)
    }
  }

  succeeded(name: string, address: string): void {
    this.#pairs.delete(pairOf(name, address))
  }

  #known(map: Map<string, Failures>, key: string): Failures | undefined {
    const found = map.get(key)
    if (found && this.#options.clock() - found.last > forgottenAfter) map.delete(key)
    return map.get(key)
  }

  #delayOf(failures: Failures | undefined): number {
    const over = (failures?.count ?? 0) - this.#options.free
    return over < 0 ? 0 : Math.min(500 * 2 ** over, this.#options.longest)
  }

  #waitOf(failures: Failures | undefined): number {
    if (!failures) return 0
    return failures.last + this.#delayOf(failures) - this.#options.clock()
  }
}

const pairOf = (name: string, address: string): string => `${address} ${name}`
