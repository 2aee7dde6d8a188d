import type { Routes } from './routes.ts'
import { Slices } from './slices.ts'

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
  let text = '{'
  let isFirst = true
  const slices = new Slices()
  for (const [path, record] of selected(routes, selection)) {
    if (record !== null) {
      text += `${isFirst ? '' : ','}${JSON.stringify(path)}:${record()}`
      isFirst = false
    }
    if (!slices.isOver) continue
    if (text !== '') yield text
    text = ''
    await slices.next()
  }
  yield `${text}}`
}

/** Null stands for what is passed over. */
function* selected(
  routes: Routes,
  { inactiveSince, offset, limit, withTombstones }: Selection,
): Generator<[path: string, record: (() => string) | null]> {
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
): Generator<[path: string, record: () => string, lastActivity: number]> {
  for (const [path, route] of routes.all()) {
    yield [path, () => JSON.stringify(route.toRecord()), route.lastActivity]
  }
  if (!withTombstones) return
  for (const [path, { data }] of routes.tombstones.all()) {
    yield [path, () => JSON.stringify(data), Infinity]
  }
}
