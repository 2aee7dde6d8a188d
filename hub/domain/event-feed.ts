import { randomBytes } from 'node:crypto'
import { HubError } from '../../packages/core/errors.ts'
import { allows, filtersOf, type Resource } from '../../packages/core/scopes.ts'
import type { Events, HubEvent } from '../events.ts'
import type { Access, Caller } from './access.ts'

/** An event as one caller may see it. */
export interface FedEvent {
  /** To go on after it. */
  readonly id: string
  readonly facts: Readonly<Record<string, unknown>> & { readonly kind: string; readonly at: string }
}

export interface Follower {
  readonly caller: Caller
  /** The id of the last event that is known; null: from now on. */
  readonly after: string | null
  /** The caller with what they may do at this moment; null once their credentials are worth nothing. */
  readonly identify: () => Promise<Caller | null>
  readonly signal: AbortSignal
}

export interface EventFeedDeps {
  readonly events: Events
  readonly access: Pick<Access, 'groupsOf'>
  readonly clock: () => Date
  /** Events that are remembered at least. Default 5000. */
  readonly capacity?: number
  /** Streams at once, of all callers and of one. Default 1000 and 20. */
  readonly limits?: { readonly all: number; readonly each: number }
}

interface Kept {
  readonly number: number
  readonly at: string
  readonly event: HubEvent
}

/**
 * What happens, for those who follow it. The last events are kept once, whoever follows has a place
 * among them: nobody's slowness costs memory, and who falls behind what is kept is let go. Ids hold
 * the run of the hub, so that those of an earlier run are known for what they are.
 */
export class EventFeed {
  readonly #deps: EventFeedDeps
  readonly #capacity: number
  readonly #run = randomBytes(4).toString('hex')
  readonly #kept: Kept[] = []
  readonly #waiting = new Set<() => void>()
  readonly #followers = new Map<string, number>()
  readonly #unsubscribe: () => void
  #last = 0
  #isClosed = false

  constructor(deps: EventFeedDeps) {
    this.#deps = deps
    this.#capacity = deps.capacity ?? 5000
    this.#unsubscribe = deps.events.on((event) => this.#keep(event))
  }

  /**
   * What happens from now on, or after an event that is known, as far as the caller may see it when
   * it is delivered; null when nothing was to be seen for a while. The first event is `following`: from
   * there on nothing is left out; or `gap`, where events before it may be missing. Ends when the caller
   * may follow no more, has fallen behind, or the feed is closed. Follow it to its end, or `return()` it.
   * @throws {HubError} `too_many_requests`.
   */
  follow(follower: Follower): AsyncGenerator<FedEvent | null> {
    const { all, each } = this.#deps.limits ?? { all: 1000, each: 20 }
    const key = `${follower.caller.owner.kind} ${follower.caller.name}`
    const own = this.#followers.get(key) ?? 0
    const others = [...this.#followers.values()].reduce((sum, count) => sum + count, 0)
    if (own >= each || others >= all)
      throw new HubError('too_many_requests', 'too many streams of events are open already', {
        retryAfter: 30,
      })
    return this.#follow(follower, key)
  }

  /** Ends all streams. */
  close(): void {
    this.#isClosed = true
    this.#unsubscribe()
    this.#wake()
  }

  async *#follow(
    { after, identify, signal }: Follower,
    key: string,
  ): AsyncGenerator<FedEvent | null> {
    this.#count(key, 1)
    try {
      const known = this.#placeOf(after)
      let place = known ?? this.#last
      yield this.#first(known === null ? 'gap' : 'following', place)
      for (let spokeAt = performance.now(); ;) {
        let caller = this.#isOver(signal) ? null : await identify()
        const first = this.#oldest()
        if (!caller || first > place + 1) return
        for (const kept of this.#kept.slice(place + 1 - first)) {
          place = kept.number
          // What has been delivered may have taken any time.
          caller ??= await identify()
          const seen: FedEvent | null = caller && (await this.#seenBy(caller, kept))
          if (!caller) return
          if (!seen) continue
          yield seen
          spokeAt = performance.now()
          caller = null
        }
        if (performance.now() - spokeAt >= pause) {
          yield null
          spokeAt = performance.now()
        }
        if (place === this.#last && !this.#isOver(signal)) await this.#news(signal)
      }
    } finally {
      this.#count(key, -1)
    }
  }

  #count(key: string, change: 1 | -1): void {
    const count = (this.#followers.get(key) ?? 0) + change
    if (count === 0) this.#followers.delete(key)
    else this.#followers.set(key, count)
  }

  #isOver(signal: AbortSignal): boolean {
    return this.#isClosed || signal.aborted
  }

  #keep(event: HubEvent): void {
    this.#last += 1
    this.#kept.push({ number: this.#last, at: this.#deps.clock().toISOString(), event })
    // Cutting off a part at a time costs less than moving everything for each event.
    if (this.#kept.length >= this.#capacity * 2) this.#kept.splice(0, this.#capacity)
    this.#wake()
  }

  #oldest(): number {
    return this.#kept[0]?.number ?? this.#last + 1
  }

  #wake(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const wake of waiting) wake()
  }

  /** Resolves at the next event, the next time to look whether the caller may still follow, or the end. */
  #news(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', wake)
        this.#waiting.delete(wake)
        resolve()
      }
      const timer = setTimeout(wake, pause)
      signal.addEventListener('abort', wake)
      this.#waiting.add(wake)
    })
  }

  /** The number of the last event that is known; null when it is of another run or forgotten. */
  #placeOf(after: string | null): number | null {
    if (after === null) return this.#last
    const [run, number = ''] = after.split('-')
    const place = /^\d{1,15}$/.test(number) ? Number(number) : Infinity
    if (run !== this.#run || place > this.#last) return null
    return place + 1 < this.#oldest() ? null : place
  }

  #first(kind: 'following' | 'gap', number: number): FedEvent {
    const at = this.#deps.clock().toISOString()
    return { id: `${this.#run}-${number}`, facts: { kind, at } }
  }

  async #seenBy(caller: Caller, { number, at, event }: Kept): Promise<FedEvent | null> {
    const { access } = this.#deps
    const { scopes, on } = subjectOf(event)
    if (!(await covers(access, caller, scopes, on))) return null
    const { peer, reason, by, ...facts }: Readonly<Record<string, unknown>> = { ...event }
    const isAdmin = await covers(access, caller, ['admin:users'], on)
    const knows = typeof by === 'string' && (await mayName(access, caller, by))
    return {
      id: `${this.#run}-${number}`,
      facts: {
        kind: event.kind,
        at,
        ...facts,
        ...(knows ? { by } : {}),
        ...(isAdmin && peer !== undefined ? { peer } : {}),
        ...(isAdmin && reason !== undefined ? { reason } : {}),
      },
    }
  }
}

/** Milliseconds after which a follower of whom nothing is heard looks again whether they still may. */
const pause = 8000

interface Subject {
  /** Any of these shows the event. */
  readonly scopes: readonly string[]
  readonly on: Resource
}

/** What an event is about, and what it takes to see that. */
function subjectOf(event: HubEvent): Subject {
  switch (event.kind) {
    case 'login':
    case 'logout':
      return { scopes: ['read:users:activity'], on: userOf(event) }
    case 'login-failed':
    case 'login-throttled':
    case 'access-ended':
    case 'user-blocked':
    case 'user-unblocked':
      return { scopes: ['admin:users'], on: userOf(event) }
    case 'user-created':
    case 'user-deleted':
    case 'user-renamed':
    case 'admin-changed':
      return { scopes: ['read:users:name', 'read:users', 'read:roles:users'], on: userOf(event) }
    case 'server-starting':
    case 'server-started':
    case 'server-adopted':
    case 'server-stopping':
    case 'server-stopped':
    case 'server-failed':
    case 'server-refused':
    case 'server-created':
    case 'server-deleted':
    case 'server-renamed':
      return { scopes: ['read:servers'], on: serverOf(event) }
    case 'share-granted':
    case 'share-revoked':
      return { scopes: ['read:shares'], on: serverOf(event) }
    case 'token-issued':
    case 'token-revoked':
      return { scopes: ['read:tokens'], on: userOf(event) }
    case 'group-created':
    case 'group-deleted':
      return { scopes: ['read:groups:name', 'read:groups'], on: groupOf(event) }
    case 'group-members-changed':
    case 'group-properties-changed':
      return { scopes: ['read:groups'], on: groupOf(event) }
    case 'service-created':
    case 'service-deleted':
      return { scopes: ['read:services:name', 'read:services'], on: serviceOf(event) }
    case 'service-started':
    case 'service-stopped':
    case 'service-failed':
      return { scopes: ['read:services'], on: serviceOf(event) }
  }
}

const userOf = ({ user }: { readonly user: string }): Resource => ({ kind: 'user', user })

const serverOf = ({
  user,
  server,
}: {
  readonly user: string
  readonly server: string
}): Resource => ({
  kind: 'server',
  user,
  server,
})

const groupOf = ({ group }: { readonly group: string }): Resource => ({ kind: 'group', group })

const serviceOf = ({ service }: { readonly service: string }): Resource => ({
  kind: 'service',
  service,
})

type Groups = Pick<Access, 'groupsOf'>

/** Names of the hub itself are nobody's secret. */
const hubNames: ReadonlySet<string> = new Set(['hub', 'login', 'operator'])

async function mayName(access: Groups, caller: Caller, name: string): Promise<boolean> {
  if (name === caller.name || hubNames.has(name)) return true
  return covers(access, caller, ['read:users:name'], { kind: 'user', user: name })
}

async function covers(
  access: Groups,
  { scopes: held }: Caller,
  scopes: readonly string[],
  on: Resource,
): Promise<boolean> {
  if (scopes.some((scope) => allows(held, scope, on))) return true
  if (!('user' in on)) return false
  if (scopes.every((scope) => filtersOf(held, scope).group.length === 0)) return false
  const groups = await access.groupsOf(on.user)
  return scopes.some((scope) => allows(held, scope, on, () => groups))
}
