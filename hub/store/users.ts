import { type Selectable, sql } from 'kysely'
import { nameKey } from '../../packages/core/slug.ts'
import { type Database, prepared } from './database.ts'
import type { AccountKey } from './identities.ts'
import type { Schema } from './schema.ts'

/** A user as stored. Times are dates; `userInfo` is the authenticator's clear-text profile. */
export interface User {
  readonly id: number
  readonly name: string
  readonly admin: boolean
  readonly blocked: boolean
  readonly createdAt: Date
  readonly lastActivityAt: Date | null
  readonly userInfo: unknown
}

/** A page of users: filters, order and place. */
export interface UserQuery {
  readonly nameContains?: string
  /** Only these names, and members of these groups; absent means everybody. */
  readonly only?: { readonly users: readonly string[]; readonly groups: readonly string[] }
  /** `active`: some server is not stopped; `ready`: some server is ready; `inactive`: none is active. */
  readonly state?: 'active' | 'ready' | 'inactive'
  readonly sort: { readonly by: 'id' | 'name' | 'last_activity'; readonly descending: boolean }
  readonly offset: number
  readonly limit: number
}

export interface UserStore {
  findById(id: number): Promise<User | null>
  /** By the normalised form of the name. */
  findByName(name: string): Promise<User | null>
  page(query: UserQuery): Promise<{ readonly users: readonly User[]; readonly total: number }>
  count(): Promise<number>
  /** Null when a user with this normalised name exists. Gives the new user the role `user`. */
  create(
    name: string,
    options: {
      readonly admin: boolean
      readonly now: Date
      /** The account at a provider that the user is made for. */
      readonly account?: AccountKey
    },
  ): Promise<User | null>
  rename(id: number, name: string): Promise<void>
  /** Sets the mark and the membership of the role `admin` together; true when there is such a user. */
  setAdmin(name: string, admin: boolean): Promise<boolean>
  setUserInfo(id: number, userInfo: unknown): Promise<void>
  setAuthState(id: number, encrypted: Buffer | null): Promise<void>
  /** Removes the user and everything that belongs to them. */
  delete(id: number): Promise<void>
  groupsOf(id: number): Promise<readonly string[]>
  /** Names of the user's own roles. */
  roleNamesOf(id: number): Promise<readonly string[]>
  /** Raw scopes of the user's roles and of their groups' roles, and the names of their own roles. */
  rolesOf(
    id: number,
  ): Promise<{ readonly names: readonly string[]; readonly scopes: readonly string[] }>
  /** Writes later times only. */
  recordActivity(entries: ReadonlyMap<number, Date>): Promise<void>
}

type Row = Selectable<Schema['users']>

const like = (part: string): string => `%${part.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`

export function userStore(database: Database): UserStore {
  return { ...userQueries(database), ...userChanges(database), ...userRights(database) }
}

/** Finding users. */
function userQueries(
  database: Database,
): Pick<UserStore, 'findById' | 'findByName' | 'page' | 'count'> {
  const { db } = database
  const byName = prepared(
    database,
    db.selectFrom('users').selectAll().where('name_key', '=', '').compile(),
  )
  return {
    async findById(id) {
      return fromRow(
        await db.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst(),
      )
    },

    async findByName(name) {
      const [row] = await byName(nameKey(name))
      return fromRow(row)
    },

    async page({ nameContains, only, state, sort, offset, limit }) {
      let query = db.selectFrom('users')
      if (nameContains)
        query = query.where(sql<boolean>`name LIKE ${like(nameContains)} ESCAPE '\\'`)
      if (only)
        query = query.where((e) =>
          e.or([
            e('name_key', 'in', only.users.map(nameKey)),
            e(
              'id',
              'in',
              e
                .selectFrom('user_groups')
                .innerJoin('groups', 'groups.id', 'user_groups.group_id')
                .select('user_groups.user_id')
                .where('groups.name', 'in', [...only.groups]),
            ),
          ]),
        )
      if (state) {
        const wanted =
          state === 'ready' ? (['ready'] as const) : (['starting', 'ready', 'stopping'] as const)
        query = query.where((e) =>
          e(
            'id',
            state === 'inactive' ? 'not in' : 'in',
            e.selectFrom('servers').select('user_id').where('state', 'in', wanted),
          ),
        )
      }
      const { total } = await query
        .select((e) => e.fn.countAll<number>().as('total'))
        .executeTakeFirstOrThrow()
      const column = { id: 'id', name: 'name', last_activity: 'last_activity_at' } as const
      const rows = await query
        .selectAll()
        .orderBy(column[sort.by], sort.descending ? 'desc' : 'asc')
        .orderBy('id')
        .limit(limit)
        .offset(offset)
        .execute()
      return { users: rows.map(known), total }
    },

    async count() {
      const query = db.selectFrom('users').select((e) => e.fn.countAll<number>().as('total'))
      return (await query.executeTakeFirstOrThrow()).total
    },
  }
}

/** Making, changing and removing users. */
function userChanges({
  db,
}: Database): Pick<
  UserStore,
  'create' | 'rename' | 'setUserInfo' | 'setAuthState' | 'delete' | 'recordActivity'
> {
  return {
    async create(name, { admin, now, account }) {
      return db.transaction().execute(async (transaction) => {
        const row = await transaction
          .insertInto('users')
          .values({
            name,
            name_key: nameKey(name),
            cookie_id: null,
            user_info: null,
            admin: Number(admin),
            blocked: 0,
            created_at: now.getTime(),
            last_activity_at: null,
            encrypted_auth_state: null,
          })
          .onConflict((conflict) => conflict.column('name_key').doNothing())
          .returningAll()
          .executeTakeFirst()
        if (!row) return null
        for (const role of admin ? ['user', 'admin'] : ['user'])
          await transaction
            .insertInto('user_roles')
            .values({
              user_id: row.id,
              role_id: transaction.selectFrom('roles').select('id').where('name', '=', role),
              managed_by_auth: 0,
            } as never)
            .execute()
        if (account)
          await transaction
            .insertInto('identities')
            .values({
              ...account,
              user_id: row.id,
              created_at: now.getTime(),
              last_login_at: now.getTime(),
            })
            .execute()
        return known(row)
      })
    },

    async rename(id, name) {
      await db
        .updateTable('users')
        .set({ name, name_key: nameKey(name) })
        .where('id', '=', id)
        .execute()
    },

    async setUserInfo(id, userInfo) {
      const text = userInfo === undefined ? null : JSON.stringify(userInfo)
      await db.updateTable('users').set({ user_info: text }).where('id', '=', id).execute()
    },

    async setAuthState(id, encrypted) {
      await db
        .updateTable('users')
        .set({ encrypted_auth_state: encrypted })
        .where('id', '=', id)
        .execute()
    },

    async delete(id) {
      await db.deleteFrom('users').where('id', '=', id).execute()
    },

    async recordActivity(entries) {
      await db.transaction().execute(async (transaction) => {
        for (const [id, at] of entries)
          await transaction
            .updateTable('users')
            .set({ last_activity_at: at.getTime() })
            .where('id', '=', id)
            .where((e) =>
              e.or([e('last_activity_at', 'is', null), e('last_activity_at', '<', at.getTime())]),
            )
            .execute()
      })
    },
  }
}

/** What users may do. */
function userRights(
  database: Database,
): Pick<UserStore, 'setAdmin' | 'groupsOf' | 'roleNamesOf' | 'rolesOf'> {
  const { db } = database
  const groupNames = prepared(
    database,
    db
      .selectFrom('user_groups')
      .innerJoin('groups', 'groups.id', 'user_groups.group_id')
      .select('groups.name')
      .where('user_id', '=', 0)
      .orderBy('groups.name')
      .compile(),
  )
  const roleNames = prepared(
    database,
    db
      .selectFrom('user_roles')
      .innerJoin('roles', 'roles.id', 'user_roles.role_id')
      .select('roles.name')
      .where('user_id', '=', 0)
      .orderBy('roles.name')
      .compile(),
  )
  return {
    async setAdmin(name, admin) {
      return db.transaction().execute(async (transaction) => {
        const user = await transaction
          .updateTable('users')
          .set({ admin: Number(admin) })
          .where('name_key', '=', nameKey(name))
          .returning('id')
          .executeTakeFirst()
        if (!user) return false
        const { id: role } = await transaction
          .selectFrom('roles')
          .select('id')
          .where('name', '=', 'admin')
          .executeTakeFirstOrThrow()
        if (admin)
          await transaction
            .insertInto('user_roles')
            .values({ user_id: user.id, role_id: role, managed_by_auth: 0 })
            .onConflict((conflict) => conflict.doNothing())
            .execute()
        else
          await transaction
            .deleteFrom('user_roles')
            .where('user_id', '=', user.id)
            .where('role_id', '=', role)
            .execute()
        return true
      })
    },

    async groupsOf(id) {
      return (await groupNames(id)).map(({ name }) => name)
    },

    async roleNamesOf(id) {
      return (await roleNames(id)).map(({ name }) => name)
    },

    async rolesOf(id) {
      const own = await db
        .selectFrom('user_roles')
        .innerJoin('roles', 'roles.id', 'user_roles.role_id')
        .select(['roles.name', 'roles.scopes'])
        .where('user_id', '=', id)
        .orderBy('roles.name')
        .execute()
      const byGroup = await db
        .selectFrom('user_groups')
        .innerJoin('group_roles', 'group_roles.group_id', 'user_groups.group_id')
        .innerJoin('roles', 'roles.id', 'group_roles.role_id')
        .select('roles.scopes')
        .where('user_groups.user_id', '=', id)
        .execute()
      const scopes = [...own, ...byGroup].flatMap((row) => JSON.parse(row.scopes) as string[])
      return { names: own.map((row) => row.name), scopes }
    },
  }
}

function fromRow(row: Row | undefined): User | null {
  return row ? known(row) : null
}

function known(row: Row): User {
  return {
    id: row.id,
    name: row.name,
    admin: row.admin === 1,
    blocked: row.blocked === 1,
    createdAt: new Date(row.created_at),
    lastActivityAt: row.last_activity_at === null ? null : new Date(row.last_activity_at),
    userInfo: row.user_info === null ? null : (JSON.parse(row.user_info) as unknown),
  }
}
