import { setTimeout as sleep } from 'node:timers/promises'
import type { GuardedAttempt } from '../../packages/core/authenticator.ts'
import { HubError } from '../../packages/core/errors.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Metrics } from '../metrics.ts'

export interface LoginGuardOptions {
  /** Seconds: a refusal is answered after this time, or a multiple of it, and a random bit more. */
  readonly refusalTime: number
  /** Wrong logins of one address at one name until it must wait. 0: it never must. */
  readonly freeFailures: number
  /** Called when an address must wait from now on. */
  readonly throttled: (userName: string, peer: string) => void
  readonly metrics: Pick<Metrics, 'loginThrottled'>
  /** Milliseconds, ever growing. Default: the monotonic clock. */
  readonly clock?: () => number
}

interface Failures {
  readonly count: number
  /** By the monotonic clock, in ms. */
  readonly last: number
}

/** Attempts under way at once; more are sent away. */
const mostAtOnce = 1_000
/** Names, addresses and pairs that are remembered, each; the oldest are forgotten first. */
const capacity = 10_000
const forgottenAfter = 15 * 60_000
/** One address may stand for a whole campus: so many times the failures of one name are free. */
const addressFactor = 10
const longestForPair = 30_000
const longestForAddress = 5_000
/** Longest time by which strangers can slow down the owner of a name. */
const longestForName = 3_000

/**
 * Slows guessing and hides what a refusal was for. An address that goes on guessing at a name is told
 * to wait, one that guesses at many names a little, too. A name that many addresses guess at answers
 * later, and always answers: nobody can lock out somebody else.
 */
export class LoginGuard {
  readonly #options: LoginGuardOptions
  readonly #clock: () => number
  readonly #pairs: Counts
  readonly #addresses: Counts
  readonly #names: Counts
  #underWay = 0

  constructor(options: LoginGuardOptions) {
    this.#options = options
    this.#clock = options.clock ?? (() => performance.now())
    const free = options.freeFailures === 0 ? Infinity : options.freeFailures
    const ofAll = { free: free * addressFactor, clock: this.#clock }
    this.#pairs = new Counts({ free, longest: longestForPair, clock: this.#clock })
    this.#addresses = new Counts({ ...ofAll, longest: longestForAddress })
    this.#names = new Counts({ ...ofAll, longest: longestForName })
  }

  /**
   * Begins an attempt. `name` is as it was typed: empty when nothing was, which is not counted; null
   * counts for the address alone.
   * @throws {HubError} `too_many_requests` with the seconds to wait, `unavailable` when too many are under way.
   */
  begin(name: string | null, peer: string): GuardedAttempt {
    this.#checkWait(name, peer)
    if (this.#underWay >= mostAtOnce) {
      this.#options.metrics.loginThrottled('load')
      throw new HubError('unavailable', 'too many people are logging in; try again in a moment', {
        retryAfter: 1,
      })
    }
    this.#underWay += 1
    const started = this.#clock()
    return {
      succeeded: () => this.#pairs.forget(pairOf(name ?? '', peer)),
      refused: async (signal) => {
        const before = name === null ? 0 : this.#names.delayOf(nameKey(name))
        if (before > 0) this.#options.metrics.loginThrottled('name')
        this.#note(name, peer)
        await this.#refusalDue(started, before, signal)
      },
      [Symbol.dispose]: () => {
        this.#underWay -= 1
      },
    }
  }

  #checkWait(name: string | null, peer: string): void {
    if (name === '') return
    const ofPair = name === null ? 0 : this.#pairs.waitOf(pairOf(name, peer))
    const ofAddress = this.#addresses.waitOf(peer)
    const wait = Math.max(ofPair, ofAddress)
    if (wait <= 0) return
    this.#options.metrics.loginThrottled(ofPair >= ofAddress ? 'name_and_address' : 'address')
    const retryAfter = Math.ceil(wait / 1000)
    throw new HubError(
      'too_many_requests',
      `Too many ${name === null ? 'attempts' : 'wrong logins'}. Wait ${retryAfter} ${retryAfter === 1 ? 'second' : 'seconds'} and try again.`,
      { retryAfter },
    )
  }

  #note(name: string | null, peer: string): void {
    const { freeFailures, throttled } = this.#options
    if (name === '' || freeFailures === 0) return
    this.#addresses.add(peer)
    if (name === null) return
    this.#names.add(nameKey(name))
    if (this.#pairs.add(pairOf(name, peer)) === freeFailures) throttled(name, peer)
  }

  /** Waits for the next multiple of the time of refusals, so that how long it took tells little. */
  async #refusalDue(started: number, extra: number, signal: AbortSignal): Promise<void> {
    const step = this.#options.refusalTime * 1000
    if (step === 0) return
    const elapsed = this.#clock() - started
    const due = (Math.floor(elapsed / step) + 1 + Math.random() / 4) * step + extra
    await sleep(due - elapsed, null, { signal }).catch(() => {})
  }
}

interface CountOptions {
  /** Failures that cost nothing. */
  readonly free: number
  /** Longest wait, in ms. */
  readonly longest: number
  readonly clock: () => number
}

/** How often something has failed of late, by key. */
class Counts {
  readonly #options: CountOptions
  readonly #known = new Map<string, Failures>()

  constructor(options: CountOptions) {
    this.#options = options
  }

  /** How often now. */
  add(key: string): number {
    const count = (this.#recall(key)?.count ?? 0) + 1
    this.#known.delete(key)
    this.#known.set(key, { count, last: this.#options.clock() })
    const [oldest] = this.#known.keys()
    if (this.#known.size > capacity && oldest !== undefined) this.#known.delete(oldest)
    return count
  }

  forget(key: string): void {
    this.#known.delete(key)
  }

  /** Milliseconds from the last failure to the next attempt. */
  delayOf(key: string): number {
    const over = (this.#recall(key)?.count ?? 0) - this.#options.free
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

const pairOf = (name: string, peer: string): string => `${peer} ${nameKey(name)}`
