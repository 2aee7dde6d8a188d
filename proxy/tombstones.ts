import { BoundedMap } from 'portico/bounded-map'
import { RouteTable } from './route-table.ts'
import type { JsonObject } from './routes.ts'

/** What is said of a path where a server was. */
export interface Tombstone {
  readonly path: string
  readonly status: number
  /** Why there is no server, such as `stopped` or `crashed`. */
  readonly reason: string
  /** As it was posted. */
  readonly data: JsonObject
}

/** Abandoned tabs ask for years; the memory for their answers has an end. */
export const maxTombstones = 100_000

/** The paths whose server is gone. When there are too many, the oldest ones are forgotten. */
export class Tombstones {
  readonly #table = new RouteTable<Tombstone>()
  readonly #order = new BoundedMap<string, null>(maxTombstones)

  get size(): number {
    return this.#table.size
  }

  get depth(): number {
    return this.#table.depth
  }

  find(segments: readonly string[]): Tombstone | undefined {
    return this.#table.size === 0 ? undefined : this.#table.find(segments)
  }

  get(path: string): Tombstone | undefined {
    return this.#table.get(path)
  }

  all(): IterableIterator<[path: string, tombstone: Tombstone]> {
    return this.#table.entries()
  }

  set(tombstone: Tombstone): void {
    this.#table.set(tombstone.path, tombstone)
    const oldest = this.#order.set(tombstone.path, null)
    if (oldest !== undefined) this.#table.delete(oldest)
  }

  delete(path: string): boolean {
    this.#order.delete(path)
    return this.#table.delete(path) !== undefined
  }

  clear(): void {
    this.#order.clear()
    this.#table.become(new RouteTable())
  }
}

/** Null when the body has no tombstone; a sentence when it is not what it should be. */
export function readTombstone(path: string, body: unknown): Tombstone | string | null {
  if (typeof body !== 'object' || body === null || !Object.hasOwn(body, 'tombstone')) return null
  const { tombstone } = body as JsonObject
  if (typeof tombstone !== 'object' || tombstone === null) return "'tombstone' must be an object"
  if (Object.hasOwn(body, 'target')) return "A 'tombstone' has no 'target'"
  const { status = 424, reason = 'stopped' } = tombstone as JsonObject
  if (!Number.isInteger(status) || Number(status) < 400 || Number(status) > 599) {
    return "'status' of a tombstone must be from 400 to 599"
  }
  if (typeof reason !== 'string' || !/^[a-z][a-z0-9_-]{0,63}$/i.test(reason)) {
    return "'reason' of a tombstone must be a word"
  }
  return { path, status: Number(status), reason, data: body as JsonObject }
}
