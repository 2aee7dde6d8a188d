import { setTimeout as sleep } from 'node:timers/promises'
import type { GuardedAttempt } from '../../packages/core/authenticator.ts'
import { HubError } from '../../packages/core/errors.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Metrics } from '../metrics.ts'
import { networkOf } from './address-network.ts'
import { FailureCounts } from './failure-counts.ts'

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

/** Attempts under way at once, of all and of one address; more are sent away. */
const mostAtOnce = 1_000
const mostOfAddress = 400
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
  readonly #pairs: FailureCounts
  readonly #addresses: FailureCounts
  readonly #names: FailureCounts
  /** Attempts under way, by pair and by address. */
  readonly #open = new Map<string, number>()
  #underWay = 0

  constructor(options: LoginGuardOptions) {
    this.#options = options
    this.#clock = options.clock ?? (() => performance.now())
    const free = options.freeFailures === 0 ? Infinity : options.freeFailures
    const ofAll = { free: free * addressFactor, clock: this.#clock }
    this.#pairs = new FailureCounts({ free, longest: longestForPair, clock: this.#clock })
    this.#addresses = new FailureCounts({ ...ofAll, longest: longestForAddress })
    this.#names = new FailureCounts({ ...ofAll, longest: longestForName })
  }

  /**
   * Begins an attempt. `name` is as it was typed: empty when nothing was, which is not counted; null
   * counts for the address alone.
   * @throws {HubError} `too_many_requests` with the seconds to wait, `unavailable` when too many are under way.
   */
  begin(name: string | null, peer: string): GuardedAttempt {
    const address = networkOf(peer)
    const pair = name ? pairOf(name, address) : null
    if (name !== '') this.#checkWait(pair, address)
    this.#checkLoad(address)
    const places = pair === null ? [address] : [address, pair]
    this.#count(places, 1)
    const started = this.#clock()
    return {
      succeeded: () => {
        if (pair !== null) this.#pairs.forget(pair)
      },
      refused: async (signal) => {
        const before = name ? this.#names.delayOf(nameKey(name)) : 0
        if (before > 0) this.#options.metrics.loginThrottled('name')
        this.#note(name, address, peer)
        await this.#refusalDue(started, before, signal)
      },
      [Symbol.dispose]: () => this.#count(places, -1),
    }
  }

  #openAt(place: string): number {
    return this.#open.get(place) ?? 0
  }

  #count(places: readonly string[], change: 1 | -1): void {
    this.#underWay += change
    for (const place of places) {
      const count = this.#openAt(place) + change
      if (count === 0) this.#open.delete(place)
      else this.#open.set(place, count)
    }
  }

  #checkLoad(address: string): void {
    if (this.#underWay < mostAtOnce && this.#openAt(address) < mostOfAddress) return
    this.#options.metrics.loginThrottled('load')
    throw new HubError('unavailable', 'too many people are logging in; try again in a moment', {
      retryAfter: 1,
    })
  }

  #checkWait(pair: string | null, address: string): void {
    const rush = pair !== null && this.#isRushing(pair) ? 1_000 : 0
    const ofPair = pair === null ? 0 : Math.max(this.#pairs.waitOf(pair), rush)
    const ofAddress = this.#addresses.waitOf(address)
    const wait = Math.max(ofPair, ofAddress)
    if (wait <= 0) return
    this.#options.metrics.loginThrottled(ofPair >= ofAddress ? 'name_and_address' : 'address')
    const retryAfter = Math.ceil(wait / 1000)
    throw new HubError(
      'too_many_requests',
      `Too many ${pair === null ? 'attempts' : 'wrong logins'}. Wait ${retryAfter} ${retryAfter === 1 ? 'second' : 'seconds'} and try again.`,
      { retryAfter },
    )
  }

  /** What is under way may fail: no more of it than failures are free, and then one after the other. */
  #isRushing(pair: string): boolean {
    const { freeFailures } = this.#options
    const open = this.#openAt(pair)
    return freeFailures > 0 && open > 0 && open + this.#pairs.of(pair) >= freeFailures
  }

  #note(name: string | null, address: string, peer: string): void {
    const { freeFailures, throttled } = this.#options
    if (name === '' || freeFailures === 0) return
    this.#addresses.add(address)
    if (name === null) return
    this.#names.add(nameKey(name))
    if (this.#pairs.add(pairOf(name, address)) === freeFailures) throttled(name, peer)
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

const pairOf = (name: string, address: string): string => `${address} ${nameKey(name)}`
