import { CompiledQuery } from 'kysely'
import { nameKey } from '../../packages/core/slug.ts'
import type { Database } from './database.ts'
import { type Change, NameCounts } from './name-counts.ts'
import { UserOrders } from './user-orders.ts'

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

/** A user in a list. */
export interface ListedUser {
  readonly id: number
  readonly name: string
}

/** Who is on a page, and how many there are on all pages. */
export interface UserPage {
  readonly users: readonly ListedUser[]
  readonly total: number
}

/** Pages of users and how many there are, at a cost that does not grow with their number. */
export interface UserLists {
  page(query: UserQuery): Promise<UserPage>
  count(): Promise<number>
  /** Runs a change of who there is; it tells which names (by their keys) came and went. */
  during<Result>(change: () => Promise<Change<Result>>): Promise<Result>
  /** To be told after times of activity have changed. */
  reordered(): void
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

  const listed = async (conditions: readonly Condition[], rest: Condition) => {
    const found = `SELECT id, name FROM users ${whereOf(conditions)} ${rest.text}`
    const text = `SELECT json_group_array(json_array(id, name)) AS users FROM (${found})`
    const parameters = [...parametersOf(conditions), ...rest.parameters]
    const [row] = await ask<{ users: string }>(text, parameters)
    const pairs = JSON.parse(row?.users ?? '[]') as readonly (readonly [number, string])[]
    return pairs.map(([id, name]): ListedUser => ({ id, name }))
  }

  const orders = new UserOrders()

  /** A page of everybody, sought from the end of the nearest page before it. */
  const everybody = async ({ sort, offset, limit }: UserQuery): Promise<readonly ListedUser[]> => {
    const { moment } = orders
    const mark = orders.marksOf(sort)?.before(offset) ?? null
    const seek = mark ? [afterUser(mark.id, sort)] : []
    const users = await listed(seek, placed(sort, limit, offset - (mark?.offset ?? 0)))
    const last = users.at(-1)
    if (last && moment === orders.moment)
      orders.marksOf(sort)?.remember({ offset: offset + users.length, id: last.id })
    return users
  }

  /** All whose names hold `part` in order, if they are few. */
  const few = async (
    part: string,
    sort: UserQuery['sort'],
  ): Promise<readonly ListedUser[] | null> => {
    const known = orders.fewOf(part, sort)
    if (known) return known
    const ids = counts.idsOf(part)
    if (!ids) return null
    const { moment } = orders
    const users = await listed([among(ids)], placed(sort, ids.length, 0))
    if (moment === orders.moment) orders.rememberFew(part, sort, users)
    return users
  }

  return {
    async page(query) {
      const total = await totalOf(query)
      const { sort, offset, limit } = query
      if (offset >= total) return { users: [], total }
      const part = nameKey(query.nameContains ?? '')
      const conditions = [...stateOf(query), ...(query.only ? [onlyOf(query.only)] : [])]
      if (conditions.length === 0) {
        if (part === '') return { users: await everybody(query), total }
        const users = await few(part, sort)
        if (users) return { users: users.slice(offset, offset + limit), total }
      }
      if (part !== '') conditions.push(byName(part))
      return { users: await listed(conditions, placed(sort, limit, offset)), total }
    },
    count: () => counts.of(''),
    async during(change) {
      orders.forgetAll()
      try {
        return await counts.during(change)
      } finally {
        orders.forgetAll()
      }
    },
    reordered: () => orders.forgetActivity(),
  }
}

/** Order and place of a page. */
const placed = (sort: UserQuery['sort'], limit: number, offset: number): Condition => ({
  text: `ORDER BY ${orderOf(sort)} LIMIT ? OFFSET ?`,
  parameters: [limit, offset],
})

/** Those who follow a user in an order by id or name. */
const afterUser = (id: number, { by, descending }: UserQuery['sort']): Condition => ({
  text: `${by === 'id' ? 'id' : 'name_key'} ${descending ? '<' : '>'} ${by === 'id' ? '?' : '(SELECT name_key FROM users WHERE id = ?)'}`,
  parameters: [id],
})

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
