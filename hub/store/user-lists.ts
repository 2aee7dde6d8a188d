import { CompiledQuery } from 'kysely'
import { nameKey } from '../../packages/core/slug.ts'
import type { Database } from './database.ts'
import { type Change, NameCounts } from './name-counts.ts'
import { UserOrders } from './user-orders.ts'
import {
  after,
  among,
  byName,
  byState,
  onlyOf,
  ownersIn,
  placed,
  type Sql,
  type UserQuery,
  where,
} from './user-query.ts'

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
export class UserLists {
  readonly #db: Database['db']
  readonly #orders = new UserOrders()
  readonly #counts = new NameCounts({
    count: (part) => this.#count(part === '' ? [] : [byName(part)]),
    idsOf: async (part, limit) => {
      const text = `SELECT id FROM users WHERE instr(name_key, ?) > 0 LIMIT ?`
      const rows = await this.#ask<{ id: number }>({ text, parameters: [part, limit] })
      return rows.map(({ id }) => id)
    },
  })

  constructor({ db }: Database) {
    this.#db = db
  }

  async page(query: UserQuery): Promise<UserPage> {
    const total = await this.#totalOf(query)
    return { total, users: query.offset >= total ? [] : await this.#usersOf(query) }
  }

  count(): Promise<number> {
    return this.#counts.of('')
  }

  /** Runs a change of who there is; it tells which names (by their keys) came and went. */
  async during<Result>(change: () => Promise<Change<Result>>): Promise<Result> {
    this.#orders.forgetAll()
    try {
      return await this.#counts.during(change)
    } finally {
      this.#orders.forgetAll()
    }
  }

  /** To be told after times of activity have changed. */
  reordered(): void {
    this.#orders.forgetActivity()
  }

  async #totalOf({ nameContains = '', only, state }: UserQuery): Promise<number> {
    const part = nameKey(nameContains)
    const named = part === '' ? [] : [byName(part)]
    if (only) return this.#count([...named, ...(state ? [byState(state)] : []), onlyOf(only)])
    if (!state) return this.#counts.of(part)
    // Few run servers, most do not: those who do are counted, the others are the rest.
    const wanted = state === 'ready' ? 'ready' : 'active'
    const running = await (part === ''
      ? this.#total(ownersIn(wanted))
      : this.#count([byState(wanted), ...named]))
    return state === 'inactive' ? (await this.#counts.of(part)) - running : running
  }

  #usersOf(query: UserQuery): Promise<readonly ListedUser[]> {
    const { nameContains = '', only, state, sort, offset, limit } = query
    const part = nameKey(nameContains)
    if (!only && !state) return part === '' ? this.#everybody(query) : this.#named(part, query)
    const conditions = [
      ...(state ? [byState(state)] : []),
      ...(only ? [onlyOf(only)] : []),
      ...(part === '' ? [] : [byName(part)]),
    ]
    return this.#listed(conditions, placed(sort, limit, offset))
  }

  /** A page of everybody, sought from the end of the nearest page before it. */
  async #everybody({ sort, offset, limit }: UserQuery): Promise<readonly ListedUser[]> {
    const { moment } = this.#orders
    const mark = this.#orders.marksOf(sort)?.before(offset) ?? null
    const skipped = offset - (mark?.offset ?? 0)
    const users = await this.#listed(
      mark ? [after(mark.id, sort)] : [],
      placed(sort, limit, skipped),
    )
    const last = users.at(-1)
    if (last && moment === this.#orders.moment)
      this.#orders.marksOf(sort)?.remember({ offset: offset + users.length, id: last.id })
    return users
  }

  /** A page of those whose names hold `part`. */
  async #named(part: string, query: UserQuery): Promise<readonly ListedUser[]> {
    const { sort, offset, limit } = query
    const ids = await this.#sorted(part, query)
    return ids
      ? this.#listed([among(ids.slice(offset, offset + limit))], placed(sort, limit, 0))
      : this.#listed([byName(part)], placed(sort, limit, offset))
  }

  /** The ids of all whose names hold `part`, in order; null where it is cheaper to go through everybody until the page is full. */
  async #sorted(part: string, query: UserQuery): Promise<readonly number[] | null> {
    const { sort, offset, limit } = query
    const known = this.#orders.someOf(part, sort)
    const ids = this.#counts.idsOf(part)
    if (known || !ids) return known
    const steps = ((offset + limit) * (await this.count())) / Math.max(1, ids.length)
    if (steps < ids.length) return null
    const { moment } = this.#orders
    const users = await this.#listed([among(ids)], placed(sort, ids.length, 0))
    const inOrder = users.map(({ id }) => id)
    if (moment === this.#orders.moment) this.#orders.rememberSome(part, sort, inOrder)
    return inOrder
  }

  /** One JSON text costs a third of as many rows. */
  async #listed(conditions: readonly Sql[], place: Sql): Promise<readonly ListedUser[]> {
    const met = where(conditions)
    const found = `SELECT id, name FROM users ${met.text} ${place.text}`
    const text = `SELECT json_group_array(json_array(id, name)) AS users FROM (${found})`
    const parameters = [...met.parameters, ...place.parameters]
    const [row] = await this.#ask<{ users: string }>({ text, parameters })
    const pairs = JSON.parse(row?.users ?? '[]') as readonly (readonly [number, string])[]
    return pairs.map(([id, name]) => ({ id, name }))
  }

  #count(conditions: readonly Sql[]): Promise<number> {
    const { text, parameters } = where(conditions)
    return this.#total({ text: `SELECT count(*) AS total FROM users ${text}`, parameters })
  }

  async #total(query: Sql): Promise<number> {
    const [row] = await this.#ask<{ total: number }>(query)
    return row?.total ?? 0
  }

  async #ask<Row>({ text, parameters }: Sql): Promise<readonly Row[]> {
    return (await this.#db.executeQuery<Row>(CompiledQuery.raw(text, [...parameters]))).rows
  }
}
