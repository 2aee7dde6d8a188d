import { CompiledQuery, type Selectable } from 'kysely'
import { nameKey } from '../../packages/core/slug.ts'
import { type Database, prepared } from './database.ts'
import type { AccountKey } from './identities.ts'
import type { Schema } from './schema.ts'
import { UserLists, type UserPage } from './user-lists.ts'
import type { UserQuery } from './user-query.ts'

type UserRow = Selectable<Schema['users']>
type ShownRow = Omit<UserRow, 'name_key' | 'cookie_id' | 'encrypted_auth_state' | 'allowed_by'>

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

/** A user with the names of their groups and own roles, and whether there is a row of a server of theirs. */
export interface UserDetails extends User {
  readonly groups: readonly string[]
  readonly roles: readonly string[]
  readonly hasServers: boolean
}

export type { UserPage } from './user-lists.ts'
export type { UserQuery } from './user-query.ts'

/** What changes about a user, all of it or nothing; what is absent stays. */
export interface UserEdit {
  readonly name?: string
  /** Changes the mark and the membership of the role `admin` together. */
  readonly admin?: boolean
  readonly blocked?: boolean
}

/** What a new user is besides a name. */
export interface NewUser {
  readonly admin: boolean
  readonly now: Date
  /** The account at a provider that the user is made for; of one user only. */
  readonly account?: AccountKey
}

/** What the last login has left. */
export interface StoredLogin {
  readonly encryptedAuthState: Buffer | null
  /** The authenticator's own rule that let the user in; empty for rules of the hub, null for who never came in. */
  readonly allowedBy: string | null
}

export interface UserStore {
  findById(id: number): Promise<User | null>
  /** By the normalised form of the name. */
  findByName(name: string): Promise<User | null>
  page(query: UserQuery): Promise<UserPage>
  /** As many users as you like at the cost of one query, in any order; without those who are gone. */
  details(ids: readonly number[]): Promise<readonly UserDetails[]>
  /** Everybody who is blocked. */
  blocked(): Promise<readonly User[]>
  count(): Promise<number>
  /** How many were active since then. */
  activeSince(time: Date): Promise<number>
  /** Null when a user with this normalised name exists. Gives the new user the role `user`. */
  create(name: string, options: NewUser): Promise<User | null>
  /** Makes those of the users that do not exist, in one transaction, and gives them the role `user`. */
  createAll(
    names: readonly string[],
    options: { readonly admin: boolean; readonly now: Date },
  ): Promise<readonly User[]>
  /**
   * A new name also ends the user's sessions, and tokens that are filtered by the old one follow.
   * Null when the name is taken or the user gone.
   */
  edit(id: number, edit: UserEdit): Promise<User | null>
  /** Sets the mark and the membership of the role `admin` together; true when there is such a user. */
  setAdmin(name: string, admin: boolean): Promise<boolean>
  setUserInfo(id: number, userInfo: unknown): Promise<void>
  /** What is known of how the user came in; null for a user who is gone. */
  loginOf(id: number): Promise<StoredLogin | null>
  /** Replaces those of these that are given. */
  setLogin(id: number, login: Partial<StoredLogin>): Promise<void>
  /** Removes the user and everything that belongs to them. */
  delete(id: number): Promise<void>
  /** The same for a user who was made at this time and has done nothing since; others stay. */
  deleteUnused(id: number, createdAt: Date): Promise<void>
  groupsOf(id: number): Promise<readonly string[]>
  /** Writes later times only. */
  recordActivity(entries: ReadonlyMap<number, Date>): Promise<void>
}

export function userStore(database: Database): UserStore {
  const lists = new UserLists(database)
  return {
    ...userQueries(database, lists),
    ...userChanges(database, lists),
    ...userNotes(database, lists),
  }
}

/** Finding users. */
function userQueries(
  database: Database,
  lists: UserLists,
): Pick<
  UserStore,
  'findById' | 'findByName' | 'page' | 'details' | 'groupsOf' | 'blocked' | 'count' | 'activeSince'
> {
  const all = database.db.selectFrom('users').selectAll()
  const byName = prepared(database, all.where('name_key', '=', '').compile())
  const byId = prepared(database, all.where('id', '=', 0).compile())
  const groups = database.db
    .selectFrom('user_groups')
    .innerJoin('groups', 'groups.id', 'user_groups.group_id')
    .select('groups.name')
    .orderBy('groups.name')
  const groupNames = prepared(database, groups.where('user_id', '=', 0).compile())
  return {
    async findById(id) {
      const [row] = await byId(id)
      return fromRow(row)
    },

    async findByName(name) {
      const [row] = await byName(nameKey(name))
      return fromRow(row)
    },

    page: (query) => lists.page(query),

    async details(ids) {
      if (ids.length === 0) return []
      const query = CompiledQuery.raw(detailsOf, [JSON.stringify(ids)])
      const { rows } = await database.db.executeQuery<{ details: string }>(query)
      return (JSON.parse(rows[0]?.details ?? '[]') as readonly DetailsRow[]).map(detailed)
    },

    async groupsOf(id) {
      return (await groupNames(id)).map(({ name }) => name)
    },

    async blocked() {
      return (await all.where('blocked', '=', 1).execute()).map(known)
    },

    count: () => lists.count(),

    async activeSince(time) {
      const query = database.db
        .selectFrom('users')
        .select(({ fn }) => fn.countAll<number>().as('total'))
        .where('last_activity_at', '>=', time.getTime())
      return (await query.executeTakeFirstOrThrow()).total
    },
  }
}

/** One JSON text costs a third of as many rows and columns. */
const detailsOf = `
  SELECT json_group_array(json_array(
    users.id, name, admin, blocked, created_at, last_activity_at, user_info,
    (SELECT json_group_array(name) FROM user_groups
      JOIN groups ON groups.id = group_id WHERE user_id = users.id),
    (SELECT json_group_array(name) FROM user_roles
      JOIN roles ON roles.id = role_id WHERE user_id = users.id),
    EXISTS (SELECT 1 FROM servers WHERE user_id = users.id)
  )) AS details
  FROM json_each(?) AS wanted CROSS JOIN users ON users.id = wanted.value`

/** Values in the order of `detailsOf`. */
type DetailsRow = readonly [
  id: number,
  name: string,
  admin: number,
  blocked: number,
  createdAt: number,
  activeAt: number | null,
  userInfo: string | null,
  groups: readonly string[],
  roles: readonly string[],
  hasServers: number,
]

const insertAll = `
  INSERT INTO users (name, name_key, admin, blocked, created_at)
  SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), ?, 0, ? FROM json_each(?)
  WHERE true ON CONFLICT (name_key) DO NOTHING RETURNING *`

const giveRoles = `
  INSERT INTO user_roles (user_id, role_id, managed_by_auth)
  SELECT ids.value, roles.id, 0 FROM json_each(?) AS ids
  JOIN roles ON roles.name = 'user' OR (roles.name = 'admin' AND ?)`

const insertAccount = `
  INSERT INTO identities (user_id, provider, issuer, subject, created_at, last_login_at)
  SELECT value, ?, ?, ?, ?, ? FROM json_each(?)`

async function giveAccount(
  db: Database['db'],
  { provider, issuer, subject }: AccountKey,
  { users, now }: { readonly users: string; readonly now: Date },
): Promise<void> {
  const values = [provider, issuer, subject, now.getTime(), now.getTime(), users]
  await db.executeQuery(CompiledQuery.raw(insertAccount, values))
}

const renameInTokens = `
  UPDATE api_tokens SET scopes = replace(replace(scopes, ?, ?), ?, ?)
  WHERE instr(scopes, ?) > 0 OR instr(scopes, ?) > 0`

/** Making, changing and removing users: who there is, and under which names. */
function userChanges(
  { db }: Database,
  lists: UserLists,
): Pick<UserStore, 'create' | 'createAll' | 'edit' | 'delete' | 'deleteUnused'> {
  const createAll = (names: readonly string[], { admin, now, account }: NewUser) =>
    lists.during(async () => {
      const pairs = JSON.stringify(names.map((name) => [name, nameKey(name)]))
      const rows = await db.transaction().execute(async (transaction) => {
        const insert = CompiledQuery.raw(insertAll, [Number(admin), now.getTime(), pairs])
        const { rows: made } = await transaction.executeQuery<UserRow>(insert)
        if (made.length === 0) return made
        const ids = JSON.stringify(made.map(({ id }) => id))
        await transaction.executeQuery(CompiledQuery.raw(giveRoles, [ids, Number(admin)]))
        if (account) await giveAccount(transaction, account, { users: ids, now })
        return made
      })
      return { added: rows.map(keyed), removed: [], result: rows.map(known) }
    })
  return {
    createAll,

    async create(name, options) {
      const [user] = await createAll([name], options)
      return user ?? null
    },

    async edit(id, edit) {
      return lists.during(async () => {
        const rows = await db.transaction().execute((transaction) => change(transaction, id, edit))
        if (!rows) return { added: [], removed: [], result: null }
        const [before, now] = rows
        return { added: [keyed(now)], removed: [keyed(before)], result: known(now) }
      })
    },

    async delete(id) {
      await lists.during(async () => {
        const rows = await db.deleteFrom('users').where('id', '=', id).returningAll().execute()
        return { added: [], removed: rows.map(keyed), result: null }
      })
    },

    async deleteUnused(id, createdAt) {
      const query = db
        .deleteFrom('users')
        .where('id', '=', id)
        .where('created_at', '=', createdAt.getTime())
        .where('last_activity_at', 'is', null)
        .where('admin', '=', 0)
        .where('id', 'not in', db.selectFrom('sessions').select('user_id'))
        .where('id', 'not in', db.selectFrom('servers').select('user_id'))
      await lists.during(async () => {
        const rows = await query.returningAll().execute()
        return { added: [], removed: rows.map(keyed), result: null }
      })
    },
  }
}

/** The user before and after; null when the name is taken or the user gone. */
async function change(
  db: Database['db'],
  id: number,
  { name, admin, blocked }: UserEdit,
): Promise<readonly [UserRow, UserRow] | null> {
  const find = db.selectFrom('users').selectAll().where('id', '=', id)
  const before = await find.executeTakeFirst()
  if (!before) return null
  if (name !== undefined && name !== before.name) {
    const key = nameKey(name)
    const other = await db.selectFrom('users').select('id').where('name_key', '=', key).execute()
    if (other.some((found) => found.id !== id)) return null
    await db.updateTable('users').set({ name, name_key: key }).where('id', '=', id).execute()
    await db.deleteFrom('sessions').where('user_id', '=', id).execute()
    await renameScopes(db, before.name, name)
  }
  if (admin !== undefined) await markAdmin(db, id, admin)
  if (blocked !== undefined)
    await db
      .updateTable('users')
      .set({ blocked: Number(blocked) })
      .where('id', '=', id)
      .execute()
  return [before, await find.executeTakeFirstOrThrow()]
}

/** Filters that name the user, `!user=` and `!server=`, as they stand in the JSON of a token's scopes. */
async function renameScopes(db: Database['db'], from: string, to: string): Promise<void> {
  const quoted = (name: string): string => JSON.stringify(name).slice(1, -1)
  const user = (name: string): string => `!user=${quoted(name)}"`
  const server = (name: string): string => `!server=${quoted(name)}/`
  const texts = [user(from), user(to), server(from), server(to), user(from), server(from)]
  await db.executeQuery(CompiledQuery.raw(renameInTokens, texts))
}

async function markAdmin(db: Database['db'], id: number, admin: boolean): Promise<void> {
  await db
    .updateTable('users')
    .set({ admin: Number(admin) })
    .where('id', '=', id)
    .execute()
  const role = await db
    .selectFrom('roles')
    .select('id')
    .where('name', '=', 'admin')
    .executeTakeFirstOrThrow()
  if (admin)
    await db
      .insertInto('user_roles')
      .values({ user_id: id, role_id: role.id, managed_by_auth: 0 })
      .onConflict((conflict) => conflict.doNothing())
      .execute()
  else
    await db
      .deleteFrom('user_roles')
      .where('user_id', '=', id)
      .where('role_id', '=', role.id)
      .execute()
}

/** What is noted about users. */
function userNotes(
  { db }: Database,
  lists: UserLists,
): Pick<UserStore, 'setAdmin' | 'setUserInfo' | 'loginOf' | 'setLogin' | 'recordActivity'> {
  return {
    async setAdmin(name, admin) {
      return db.transaction().execute(async (transaction) => {
        const user = await transaction
          .selectFrom('users')
          .select('id')
          .where('name_key', '=', nameKey(name))
          .executeTakeFirst()
        if (user) await markAdmin(transaction, user.id, admin)
        return user !== undefined
      })
    },

    async setUserInfo(id, userInfo) {
      const text = userInfo === undefined ? null : JSON.stringify(userInfo)
      await db.updateTable('users').set({ user_info: text }).where('id', '=', id).execute()
    },

    async loginOf(id) {
      const query = db.selectFrom('users').where('id', '=', id)
      const row = await query.select(['encrypted_auth_state', 'allowed_by']).executeTakeFirst()
      return row
        ? { encryptedAuthState: row.encrypted_auth_state, allowedBy: row.allowed_by }
        : null
    },

    async setLogin(id, { encryptedAuthState, allowedBy }) {
      const values = {
        ...(encryptedAuthState === undefined ? {} : { encrypted_auth_state: encryptedAuthState }),
        ...(allowedBy === undefined ? {} : { allowed_by: allowedBy }),
      }
      if (Object.keys(values).length === 0) return
      await db.updateTable('users').set(values).where('id', '=', id).execute()
    },

    async recordActivity(entries) {
      const times = JSON.stringify([...entries].map(([id, at]) => [id, at.getTime()]))
      await db.executeQuery(CompiledQuery.raw(laterActivity, [times]))
      lists.reordered()
    },
  }
}

const laterActivity = `
  UPDATE users SET last_activity_at = latest.at
  FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS at FROM json_each(?)) AS latest
  WHERE users.id = latest.id AND (last_activity_at IS NULL OR last_activity_at < latest.at)`

const keyed = ({ id, name_key: key }: UserRow) => ({ id, key })

function fromRow(row: UserRow | undefined): User | null {
  return row ? known(row) : null
}

function known(row: ShownRow): User {
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

function detailed(row: DetailsRow): UserDetails {
  const [id, name, admin, blocked, created_at, last_activity_at, user_info, ...links] = row
  const [groups, roles, hasServers] = links
  return {
    ...known({ id, name, admin, blocked, created_at, last_activity_at, user_info }),
    groups: groups.toSorted(),
    roles: roles.toSorted(),
    hasServers: hasServers === 1,
  }
}
