import { setTimeout as sleep } from 'node:timers/promises'
import { BoundedMap } from '../../packages/core/bounded-map.ts'
import { HubError } from '../../packages/core/errors.ts'
import { nameKey } from '../../packages/core/slug.ts'
import { networkOf } from './address-network.ts'

export interface LoginGuardOptions {
  /** Seconds: a refusal is answered after this time, or a multiple of it, and a random bit more. */
  readonly refusalTime: number
  /** Wrong logins of one address at one name until it must wait. 0: it never must. */
  readonly freeFailures: number
  /** Called when an address must wait from now on. */
  readonly throttled: (userName: string, peer: string) => void
}

interface Failures {
  readonly count: number
  /** By the monotonic clock, in ms. */
  readonly last: number
}

/** Attempts under way at once, of all and of one address; more are sent away. */
const mostAtOnce = 1_000
const mostOfAddress = 400
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
  readonly #pairs = new BoundedMap<string, Failures>(capacity)
  readonly #addresses = new BoundedMap<string, Failures>(capacity)
  readonly #names = new BoundedMap<string, Failures>(capacity)
  /** Attempts under way, by pair and by address. */
  readonly #open = new Map<string, number>()
  #underWay = 0

  constructor(options: LoginGuardOptions) {
    this.#options = options
  }

  /**
   * Begins an attempt. `name` is as it was typed; empty when nothing was.
   * @throws {HubError} `too_many_requests` with the seconds to wait, `unavailable` when too many are under way.
   */
  begin(name: string, peer: string): GuardedAttempt {
    const address = networkOf(peer)
    const places = name === '' ? [address] : [address, pairOf(name, address)]
    this.#checkWait(name, address)
    if (this.#underWay >= mostAtOnce || this.#openAt(address) >= mostOfAddress)
      throw new HubError('unavailable', 'too many people are logging in; try again in a moment', {
        retryAfter: 1,
      })
    this.#count(places, 1)
    const started = performance.now()
    return {
      succeeded: () => void this.#pairs.delete(pairOf(name, address)),
      refused: async (signal) => {
        const before = this.#delayOf(this.#names, nameKey(name), longestForName)
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

  #checkWait(name: string, address: string): void {
    if (name === '' || this.#options.freeFailures === 0) return
    const pair = pairOf(name, address)
    const wait = Math.max(
      this.#waitOf(this.#pairs, pair, longestForPair),
      this.#waitOf(this.#addresses, address, longestForAddress),
      this.#isRushing(pair) ? 1_000 : 0,
    )
    if (wait <= 0) return
    const retryAfter = Math.ceil(wait / 1000)
    throw new HubError(
      'too_many_requests',
      `Too many wrong logins. Wait ${retryAfter} ${retryAfter === 1 ? 'second' : 'seconds'} and try again.`,
      { retryAfter },
    )
  }

  /** What is under way may fail: no more of it than failures are free, and then one after the other. */
  #isRushing(pair: string): boolean {
    const open = this.#openAt(pair)
    return open > 0 && open + (recall(this.#pairs, pair)?.count ?? 0) >= this.#options.freeFailures
  }

  #note(name: string, address: string, peer: string): void {
    if (name === '' || this.#options.freeFailures === 0) return
    const count = remember(this.#pairs, pairOf(name, address))
    remember(this.#addresses, address)
    remember(this.#names, nameKey(name))
    if (count === this.#options.freeFailures) this.#options.throttled(name, peer)
  }

  /** Waits for the next multiple of the time of refusals, so that how long it took tells little. */
  async #refusalDue(started: number, extra: number, signal: AbortSignal): Promise<void> {
    const step = this.#options.refusalTime * 1000
    if (step === 0) return
    const elapsed = performance.now() - started
    const due = (Math.floor(elapsed / step) + 1 + Math.random() / 4) * step + extra
    await sleep(due - elapsed, null, { signal }).catch(() => {})
  }

  #waitOf(map: BoundedMap<string, Failures>, key: string, longest: number): number {
    const known = recall(map, key)
    return known ? known.last + this.#delayOf(map, key, longest) - performance.now() : 0
  }

  #delayOf(map: BoundedMap<string, Failures>, key: string, longest: number): number {
    const { freeFailures } = this.#options
    const free = map === this.#pairs ? freeFailures : freeFailures * addressFactor
    const over = (recall(map, key)?.count ?? 0) - free
    return over < 0 || freeFailures === 0 ? 0 : Math.min(1000 * 2 ** over, longest)
  }
}

/** One attempt to log in; disposing of it ends it. */
export interface GuardedAttempt extends Disposable {
  succeeded(): void
  /** Resolves when the refusal may be answered, or the browser has gone. */
  refused(signal: AbortSignal): Promise<void>
}

function recall(map: BoundedMap<string, Failures>, key: string): Failures | undefined {
  const known = map.get(key)
  if (!known || performance.now() - known.last <= forgottenAfter) return known
  map.delete(key)
  return undefined
}

function remember(map: BoundedMap<string, Failures>, key: string): number {
  const count = (recall(map, key)?.count ?? 0) + 1
  map.set(key, { count, last: performance.now() })
  return count
}

const pairOf = (name: string, address: string): string => `${address} ${nameKey(name)}`
