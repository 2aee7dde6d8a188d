import { nameKey } from '../../packages/core/slug.ts'

/** A page of users: filters, order and place. */
export interface UserQuery {
  /** Whatever its case. */
  readonly nameContains?: string
  /** Only these names, and members of these groups; absent means everybody. */
  readonly only?: { readonly users: readonly string[]; readonly groups: readonly string[] }
  /** `active`: some server is not stopped; `ready`: some server is ready; `inactive`: none is active. */
  readonly state?: 'active' | 'ready' | 'inactive'
  readonly sort: UserOrder
  readonly offset: number
  readonly limit: number
}

export interface UserOrder {
  readonly by: 'id' | 'name' | 'last_activity'
  readonly descending: boolean
}

/** A piece of SQL with its parameters. */
export interface Sql {
  readonly text: string
  readonly parameters: readonly unknown[]
}

/** Those who meet all of these conditions. */
export function where(conditions: readonly Sql[]): Sql {
  const text = conditions.map((condition) => `(${condition.text})`).join(' AND ')
  return {
    text: text === '' ? '' : `WHERE ${text}`,
    parameters: conditions.flatMap(({ parameters }) => parameters),
  }
}

/** Order and place of a page. */
export const placed = (sort: UserOrder, limit: number, offset: number): Sql => ({
  text: `ORDER BY ${orderOf(sort)} LIMIT ? OFFSET ?`,
  parameters: [limit, offset],
})

function orderOf({ by, descending }: UserOrder): string {
  const way = descending ? 'DESC' : 'ASC'
  const columns = {
    id: ['id'],
    name: ['name_key'],
    last_activity: ['last_activity_at', 'name_key'],
  } as const
  return columns[by].map((column) => `${column} ${way}`).join(', ')
}

/** `part` is a normalised text. */
export const byName = (part: string): Sql => ({
  text: 'instr(name_key, ?) > 0',
  parameters: [part],
})

export const among = (ids: readonly number[]): Sql => ({
  text: 'id IN (SELECT value FROM json_each(?))',
  parameters: [JSON.stringify(ids)],
})

/** Those who follow this user in an order by id or name. */
export function after(id: number, { by, descending }: UserOrder): Sql {
  const way = descending ? '<' : '>'
  const text =
    by === 'id' ? `id ${way} ?` : `name_key ${way} (SELECT name_key FROM users WHERE id = ?)`
  return { text, parameters: [id] }
}

export function byState(state: NonNullable<UserQuery['state']>): Sql {
  const owners = `SELECT user_id FROM servers WHERE ${inState(state)}`
  return { text: `id ${state === 'inactive' ? 'NOT IN' : 'IN'} (${owners})`, parameters: [] }
}

/** How many users have a server in this state; an index alone tells. */
export const ownersIn = (state: 'active' | 'ready'): Sql => ({
  text: `SELECT count(DISTINCT user_id) AS total FROM servers WHERE ${inState(state)}`,
  parameters: [],
})

const inState = (state: NonNullable<UserQuery['state']>): string =>
  state === 'ready' ? `state = 'ready'` : `state IN ('starting', 'ready', 'stopping')`

export function onlyOf({ users, groups }: NonNullable<UserQuery['only']>): Sql {
  return {
    text: `id IN (
      SELECT id FROM users WHERE name_key IN (SELECT value FROM json_each(?))
      UNION SELECT user_groups.user_id FROM user_groups
      JOIN groups ON groups.id = user_groups.group_id
      WHERE groups.name_key IN (SELECT value FROM json_each(?)))`,
    parameters: [JSON.stringify(users.map(nameKey)), JSON.stringify(groups.map(nameKey))],
  }
}
