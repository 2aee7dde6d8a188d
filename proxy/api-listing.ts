import { Route, type Routes } from './routes.ts'
import { Slices } from './slices.ts'
import type { Tombstone } from './tombstones.ts'

/** Which part of the table is asked for. */
export interface Selection {
  /** Only routes whose last activity is earlier, in milliseconds since the epoch. */
  readonly inactiveSince: number | null
  readonly offset: number
  readonly limit: number
  readonly withTombstones: boolean
}

/**
 * The table as one JSON object, in pieces: however long it is, traffic goes on in between. A route
 * that is added or removed meanwhile may or may not be in it.
 */
export async function* listing(routes: Routes, selection: Selection): AsyncGenerator<string> {
  const { inactiveSince, offset, limit } = selection
  const slices = new Slices()
  let text = '{'
  let separator = ''
  let matched = 0
  for (const [path, entry] of entries(routes, selection)) {
    if (inactiveSince === null || isIdle(entry, inactiveSince)) {
      matched += 1
      if (matched > offset + limit) break
      if (matched > offset) {
        text += `${separator}${JSON.stringify(path)}:${jsonOf(entry)}`
        separator = ','
      }
    }
    if (!slices.isOver) continue
    if (text !== '') yield text
    text = ''
    await slices.next()
  }
  yield `${text}}`
}

function* entries(
  routes: Routes,
  { withTombstones }: Selection,
): Generator<[path: string, entry: Route | Tombstone]> {
  yield* routes.all()
  if (withTombstones) yield* routes.tombstones.all()
}

/** Where a server is gone, nothing was ever of use. */
function isIdle(entry: Route | Tombstone, since: number): boolean {
  return entry instanceof Route && entry.lastActivity < since
}

function jsonOf(entry: Route | Tombstone): string {
  return entry instanceof Route ? entry.toJson() : JSON.stringify(entry.data)
}
