import { type Selectable, sql } from 'kysely'
import type { Json } from '../../packages/core/spawner.ts'
import { nameKey } from '../../packages/core/slug.ts'
import { type Database, listed } from './database.ts'
import type { Schema } from './schema.ts'

/** A group as stored. */
export interface Group {
  readonly id: number
  readonly name: string
  /** Whatever the site wants to know about it. */
  readonly properties: Readonly<Record<string, Json>>
}

export interface GroupQuery {
  /** Only groups of these names; absent: all. */
  readonly only?: readonly string[]
  readonly offset: number
  readonly limit: number
}

export interface GroupStore {
  /** By the normalised form of the name. */
  findByName(name: string): Promise<Group | null>
  /** Ordered by id; `total` counts what `only` leaves. */
  page(query: GroupQuery): Promise<{ readonly groups: readonly Group[]; readonly total: number }>
  /** Names of the members of each of these groups, in order. */
  membersOf(ids: readonly number[]): Promise<ReadonlyMap<number, readonly string[]>>
  memberIdsOf(id: number): Promise<readonly number[]>
  /** Names of the roles of each of these groups, in order. */
  rolesOf(ids: readonly number[]): Promise<ReadonlyMap<number, readonly string[]>>
  /** Makes the groups that do not exist, each with these members, all or nothing; null when one exists. */
  create(
    names: readonly string[],
    members: readonly number[],
    now: Date,
  ): Promise<readonly Group[] | null>
  /** Adds members; those who are one already stay so. Resolves to the ids that are new. */
  add(id: number, members: readonly number[]): Promise<readonly number[]>
  /** Resolves to the ids that were members. */
  remove(id: number, members: readonly number[]): Promise<readonly number[]>
  /**
   * Makes these the groups of a user, as an authenticator says; those that do not exist are made.
   * Resolves to what has changed.
   */
  replaceOf(
    userId: number,
    names: readonly string[],
    now: Date,
  ): Promise<{ readonly added: readonly Group[]; readonly removed: readonly Group[] }>
  setProperties(id: number, properties: Group['properties']): Promise<void>
  /** Resolves to the ids of the former members. */
  delete(id: number): Promise<readonly number[]>
}

export function groupStore(database: Database): GroupStore {
  return { ...groupQueries(database), ...groupChanges(database) }
}

function groupQueries({
  db,
}: Database): Pick<GroupStore, 'findByName' | 'page' | 'membersOf' | 'memberIdsOf' | 'rolesOf'> {
  return {
    async findByName(name) {
      const row = await db
        .selectFrom('groups')
        .selectAll()
        .where('name_key', '=', nameKey(name))
        .executeTakeFirst()
      return row ? fromRow(row) : null
    },

    async page({ only, offset, limit }) {
      const keys = only && JSON.stringify(only.map(nameKey))
      const all = db.selectFrom('groups')
      const query = keys === undefined ? all : all.where('name_key', 'in', listed(keys))
      const { total } = await query
        .select((e) => e.fn.countAll<number>().as('total'))
        .executeTakeFirstOrThrow()
      const rows = await query.selectAll().orderBy('id').limit(limit).offset(offset).execute()
      return { groups: rows.map(fromRow), total }
    },

    async membersOf(ids) {
      const rows = await db
        .selectFrom('user_groups')
        .innerJoin('users', 'users.id', 'user_groups.user_id')
        .select(['group_id', 'users.name'])
        .where('group_id', 'in', listed(JSON.stringify(ids)))
        .orderBy('users.name')
        .execute()
      return byGroup(rows)
    },

    async memberIdsOf(id) {
      const query = db.selectFrom('user_groups').select('user_id').where('group_id', '=', id)
      return (await query.execute()).map((row) => row.user_id)
    },

    async rolesOf(ids) {
      const rows = await db
        .selectFrom('group_roles')
        .innerJoin('roles', 'roles.id', 'group_roles.role_id')
        .select(['group_id', 'roles.name'])
        .where('group_id', 'in', listed(JSON.stringify(ids)))
        .orderBy('roles.name')
        .execute()
      return byGroup(rows)
    },
  }
}

function groupChanges({
  db,
}: Database): Pick<
  GroupStore,
  'create' | 'add' | 'remove' | 'replaceOf' | 'setProperties' | 'delete'
> {
  const add = async (to: Database['db'], id: number, members: readonly number[]) => {
    const { rows } = await sql<{ user_id: number }>`
      INSERT INTO user_groups (user_id, group_id, managed_by_auth)
      SELECT id, ${id}, 0 FROM users WHERE id IN ${listed(JSON.stringify(members))}
      ON CONFLICT DO NOTHING RETURNING user_id
    `.execute(to)
    return rows.map((row) => row.user_id)
  }
  return {
    create: (names, members, now) =>
      db.transaction().execute(async (transaction) => {
        const keys = JSON.stringify(names.map(nameKey))
        const known = await transaction
          .selectFrom('groups')
          .select('id')
          .where('name_key', 'in', listed(keys))
          .executeTakeFirst()
        if (known) return null
        const groups: Group[] = []
        for (const name of names) {
          const row = await transaction
            .insertInto('groups')
            .values({
              name,
              name_key: nameKey(name),
              properties: '{}',
              managed_by_auth: 0,
              created_at: now.getTime(),
            })
            .returningAll()
            .executeTakeFirstOrThrow()
          await add(transaction, row.id, members)
          groups.push(fromRow(row))
        }
        return groups
      }),

    add: (id, members) => add(db, id, members),

    async remove(id, members) {
      const rows = await db
        .deleteFrom('user_groups')
        .where('group_id', '=', id)
        .where('user_id', 'in', listed(JSON.stringify(members)))
        .returning('user_id')
        .execute()
      return rows.map((row) => row.user_id)
    },

    replaceOf: (userId, names, now) =>
      db.transaction().execute((transaction) => replaceOf(transaction, userId, { names, now })),

    async setProperties(id, properties) {
      const text = JSON.stringify(properties)
      await db.updateTable('groups').set({ properties: text }).where('id', '=', id).execute()
    },

    delete: (id) =>
      db.transaction().execute(async (transaction) => {
        const rows = await transaction
          .deleteFrom('user_groups')
          .where('group_id', '=', id)
          .returning('user_id')
          .execute()
        await transaction.deleteFrom('groups').where('id', '=', id).execute()
        return rows.map((row) => row.user_id)
      }),
  }
}

/** The groups of a user become these. */
async function replaceOf(
  db: Database['db'],
  userId: number,
  { names, now }: { readonly names: readonly string[]; readonly now: Date },
): Promise<{ readonly added: readonly Group[]; readonly removed: readonly Group[] }> {
  const keys = JSON.stringify(names.map(nameKey))
  await sql`
    INSERT INTO groups (name, name_key, properties, managed_by_auth, created_at)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), '{}', 1, ${now.getTime()}
    FROM json_each(${JSON.stringify(names.map((name) => [name, nameKey(name)]))})
    WHERE true ON CONFLICT DO NOTHING
  `.execute(db)
  const all = db.selectFrom('groups').selectAll()
  const gone = await sql<{ group_id: number }>`
    DELETE FROM user_groups WHERE user_id = ${userId} AND group_id NOT IN (
      SELECT id FROM groups WHERE name_key IN ${listed(keys)}) RETURNING group_id
  `.execute(db)
  const come = await sql<{ group_id: number }>`
    INSERT INTO user_groups (user_id, group_id, managed_by_auth)
    SELECT ${userId}, id, 1 FROM groups WHERE name_key IN ${listed(keys)}
    ON CONFLICT DO NOTHING RETURNING group_id
  `.execute(db)
  const of = async (rows: readonly { readonly group_id: number }[]): Promise<readonly Group[]> => {
    const ids = JSON.stringify(rows.map((row) => row.group_id))
    return (await all.where('id', 'in', listed(ids)).execute()).map(fromRow)
  }
  return { added: await of(come.rows), removed: await of(gone.rows) }
}

function byGroup(
  rows: readonly { readonly group_id: number; readonly name: string }[],
): ReadonlyMap<number, readonly string[]> {
  const names = new Map<number, string[]>()
  for (const row of rows) {
    const known = names.get(row.group_id)
    if (known) known.push(row.name)
    else names.set(row.group_id, [row.name])
  }
  return names
}

function fromRow(row: Selectable<Schema['groups']>): Group {
  const properties = JSON.parse(row.properties) as Group['properties']
  return { id: row.id, name: row.name, properties }
}
