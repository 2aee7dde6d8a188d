import { setImmediate as turn } from 'node:timers/promises'
import type { Routes } from './routes.ts'

/** Which part of the table is asked for. */
export interface Selection {
  /** Only routes whose last activity is earlier, in milliseconds since the epoch. */
  readonly inactiveSince: number | null
  readonly offset: number
  readonly limit: number
  readonly withTombstones: boolean
}

/** How many records are written before other connections get their turn. */
const batch = 50

/**
 * The table as one JSON object, in pieces: however long it is, traffic goes on in between. A route
 * that is added or removed meanwhile may or may not be in it.
 */
export async function* listing(routes: Routes, selection: Selection): AsyncGenerator<string> {
  let text = '{'
  let isFirst = true
  let count = 0
  for (const [path, record] of selected(routes, selection)) {
    if (record !== null) {
      text += `${isFirst ? '' : ','}${JSON.stringify(path)}:${JSON.stringify(record())}`
      isFirst = false
    }
    count += 1
    if (count % batch !== 0) continue
    yield text
    text = ''
    await turn()
  }
  yield `${text}}`
}

/** Null stands for what is passed over. */
function* selected(
  routes: Routes,
  { inactiveSince, offset, limit, withTombstones }: Selection,
): Generator<[path: string, record: (() => unknown) | null]> {
  let matched = 0
  for (const [path, record, lastActivity] of entries(routes, withTombstones)) {
    if (matched >= offset + limit) return
    const matches = inactiveSince === null || lastActivity < inactiveSince
    if (matches) matched += 1
    yield [path, matches && matched > offset ? record : null]
  }
}

function* entries(
  routes: Routes,
  withTombstones: boolean,
): Generator<[path: string, record: () => unknown, lastActivity: number]> {
  for (const [path, route] of routes.all()) yield [path, () => route.toRecord(), route.lastActivity]
  if (!withTombstones) return
  for (const [path, { data }] of routes.tombstones.all()) yield [path, () => data, Infinity]
}
