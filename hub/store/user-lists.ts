import { CompiledQuery, type Selectable } from 'kysely'
import { nameKey } from '../../packages/core/slug.ts'
import type { Database } from './database.ts'
import { type Change, NameCounts } from './name-counts.ts'
import type { Schema } from './schema.ts'

export type UserRow = Selectable<Schema['users']>

/** What a list has of each user. One JSON text costs a third of as many rows and columns. */
const columns = [
  'id',
  'name',
  'admin',
  'blocked',
  'created_at',
  'last_activity_at',
  'user_info',
] as const

/** Values in the order of `columns`. */
export type ListedUser = readonly [
  id: number,
  name: string,
  admin: number,
  blocked: number,
  createdAt: number,
  lastActivityAt: number | null,
  userInfo: string | null,
]

/** A page of users: filters, order and place. */
export interface UserQuery {
  /** Whatever its case. */
  readonly nameContains?: string
  /** Only these names, and members of these groups; absent means everybody. */
  readonly only?: { readonly users: readonly string[]; readonly groups: readonly string[] }
  /** `active`: some server is not stopped; `ready`: some server is ready; `inactive`: none is active. */
  readonly state?: 'active' | 'ready' | 'inactive'
  readonly sort: { readonly by: 'id' | 'name' | 'last_activity'; readonly descending: boolean }
  readonly offset: number
  readonly limit: number
}

/** Pages of users and how many there are, at a cost that does not grow with their number. */
export interface UserLists {
  page(query: UserQuery): Promise<{ readonly rows: readonly ListedUser[]; readonly total: number }>
  count(): Promise<number>
  /** Runs a change of who there is; it tells which names (by their keys) came and went. */
  during<Result>(change: () => Promise<Change<Result>>): Promise<Result>
}

/** One condition with its parameters. */
interface Condition {
  readonly text: string
  readonly parameters: readonly unknown[]
}

export function userLists({ db }: Database): UserLists {
  const ask = async <Row>(text: string, parameters: readonly unknown[]): Promise<readonly Row[]> =>
    (await db.executeQuery<Row>(CompiledQuery.raw(text, [...parameters]))).rows
  const counts = new NameCounts({
    count: async (part) => {
      const where = part === '' ? '' : 'WHERE instr(name_key, ?) > 0'
      const text = `SELECT count(*) AS total FROM users ${where}`
      return (await ask<{ total: number }>(text, part === '' ? [] : [part]))[0]?.total ?? 0
    },
    idsOf: async (part, limit) => {
      const text = `SELECT id FROM users WHERE instr(name_key, ?) > 0 LIMIT ?`
      return (await ask<{ id: number }>(text, [part, limit])).map(({ id }) => id)
    },
  })

  const countWith = async (conditions: readonly Condition[]): Promise<number> => {
    const text = `SELECT count(*) AS total FROM users ${whereOf(conditions)}`
    const [row] = await ask<{ total: number }>(text, parametersOf(conditions))
    return row?.total ?? 0
  }

  const totalOf = async (query: UserQuery): Promise<number> => {
    const part = nameKey(query.nameContains ?? '')
    const named = part === '' ? [] : [byName(part)]
    if (query.only) return countWith([...named, ...stateOf(query), onlyOf(query.only)])
    if (query.state === undefined) return counts.of(part)
    // Few run servers, most do not: those who do are counted, the others are the rest.
    const isRest = query.state === 'inactive'
    const running = await countWith([...stateOf(isRest ? { state: 'active' } : query), ...named])
    return isRest ? (await counts.of(part)) - running : running
  }

  return {
    async page(query) {
      const total = await totalOf(query)
      const { sort, offset, limit } = query
      if (offset >= total) return { rows: [], total }
      const conditions = [...stateOf(query), ...(query.only ? [onlyOf(query.only)] : [])]
      const part = nameKey(query.nameContains ?? '')
      if (part !== '') {
        // Either go through everybody in order until the page is full, or sort the few who match.
        const everybody = await counts.of('')
        const steps = ((offset + limit) * everybody) / Math.max(1, await counts.of(part))
        const ids = counts.idsOf(part)
        conditions.push(ids && ids.length < steps ? among(ids) : byName(part))
      }
      const page = `SELECT * FROM users ${whereOf(conditions)} ORDER BY ${orderOf(sort)} LIMIT ? OFFSET ?`
      const text = `SELECT json_group_array(json_array(${columns.join(', ')})) AS rows FROM (${page})`
      const [found] = await ask<{ rows: string }>(text, [
        ...parametersOf(conditions),
        limit,
        offset,
      ])
      return { rows: JSON.parse(found?.rows ?? '[]') as ListedUser[], total }
    },
    count: () => counts.of(''),
    during: (change) => counts.during(change),
  }
}

const byName = (part: string): Condition => ({
  text: 'instr(name_key, ?) > 0',
  parameters: [part],
})

const among = (ids: readonly number[]): Condition => ({
  text: 'id IN (SELECT value FROM json_each(?))',
  parameters: [JSON.stringify(ids)],
})

function stateOf({ state }: Pick<UserQuery, 'state'>): readonly Condition[] {
  if (state === undefined) return []
  const wanted = state === 'ready' ? `= 'ready'` : `IN ('starting', 'ready', 'stopping')`
  const text = `id ${state === 'inactive' ? 'NOT IN' : 'IN'} (SELECT user_id FROM servers WHERE state ${wanted})`
  return [{ text, parameters: [] }]
}

function onlyOf({ users, groups }: NonNullable<UserQuery['only']>): Condition {
  return {
    text: `id IN (
      SELECT id FROM users WHERE name_key IN (SELECT value FROM json_each(?))
      UNION SELECT user_groups.user_id FROM user_groups
      JOIN groups ON groups.id = user_groups.group_id
      WHERE groups.name_key IN (SELECT value FROM json_each(?)))`,
    parameters: [JSON.stringify(users.map(nameKey)), JSON.stringify(groups.map(nameKey))],
  }
}

function orderOf({ by, descending }: UserQuery['sort']): string {
  const way = descending ? 'DESC' : 'ASC'
  const columns = {
    id: ['id'],
    name: ['name_key'],
    last_activity: ['last_activity_at', 'name_key'],
  } as const
  return columns[by].map((column) => `${column} ${way}`).join(', ')
}

function whereOf(conditions: readonly Condition[]): string {
  return conditions.length === 0
    ? ''
    : `WHERE ${conditions.map(({ text }) => `(${text})`).join(' AND ')}`
}

function parametersOf(conditions: readonly Condition[]): readonly unknown[] {
  return conditions.flatMap(({ parameters }) => parameters)
}
