import { BoundedMap } from 'portico/bounded-map'
import type { Limits as LimitSettings } from './settings.ts'

export type LimitName = 'client-concurrency' | 'client-rate' | 'route-concurrency'

/** Leaves the place that a request has taken. */
export type Leave = () => void

interface Bucket {
  tokens: number
  at: number
}

const nothing: Leave = () => {}
/** Most clients whose rates are remembered; after a second of silence a bucket is as full as a new one. */
const maxBuckets = 10_000

/** Bounds what a single client address and a single route may take. Each process counts by itself. */
export class Limits {
  readonly #settings: LimitSettings
  readonly #clients = new Map<string, number>()
  readonly #routes = new Map<string, number>()
  readonly #buckets = new BoundedMap<string, Bucket>(maxBuckets)

  constructor(settings: LimitSettings) {
    this.#settings = settings
  }

  get areOn(): boolean {
    return Object.values(this.#settings).some((limit: number) => limit > 0)
  }

  /** Takes a place for a request, or says which limit refuses it. */
  enter(client: string, route: string): Leave | LimitName {
    const { clientConcurrency, clientRate, routeConcurrency } = this.#settings
    if (isFull(this.#clients, client, clientConcurrency)) return 'client-concurrency'
    if (isFull(this.#routes, route, routeConcurrency)) return 'route-concurrency'
    if (clientRate > 0 && !this.#takeToken(client, clientRate)) return 'client-rate'
    const leaveClient = take(this.#clients, client, clientConcurrency)
    const leaveRoute = take(this.#routes, route, routeConcurrency)
    return () => {
      leaveClient()
      leaveRoute()
    }
  }

  /** A bucket holds what may come at once, and fills within a second. */
  #takeToken(client: string, rate: number): boolean {
    const now = performance.now()
    const bucket = this.#buckets.get(client) ?? { tokens: rate, at: now }
    bucket.tokens = Math.min(rate, bucket.tokens + ((now - bucket.at) / 1000) * rate)
    bucket.at = now
    this.#buckets.set(client, bucket)
    if (bucket.tokens < 1) return false
    bucket.tokens -= 1
    return true
  }
}

function isFull(counts: ReadonlyMap<string, number>, key: string, limit: number): boolean {
  return limit > 0 && (counts.get(key) ?? 0) >= limit
}

function take(counts: Map<string, number>, key: string, limit: number): Leave {
  if (limit === 0) return nothing
  counts.set(key, (counts.get(key) ?? 0) + 1)
  return () => {
    const left = (counts.get(key) ?? 1) - 1
    if (left > 0) counts.set(key, left)
    else counts.delete(key)
  }
}
