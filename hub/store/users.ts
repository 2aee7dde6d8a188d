import { CompiledQuery } from 'kysely'
import { nameKey } from '../../packages/core/slug.ts'
import { type Database, listed, prepared } from './database.ts'
import type { AccountKey } from './identities.ts'
import {
  type ListedUser,
  type UserLists,
  userLists,
  type UserQuery,
  type UserRow,
} from './user-lists.ts'

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

export type { UserQuery } from './user-lists.ts'

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
  page(query: UserQuery): Promise<{ readonly users: readonly User[]; readonly total: number }>
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
  /** The names of each user's groups, for as many users as you like. */
  groupsOfAll(ids: readonly number[]): Promise<ReadonlyMap<number, readonly string[]>>
  /** The names of each user's own roles. */
  rolesOfAll(ids: readonly number[]): Promise<ReadonlyMap<number, readonly string[]>>
  /** Writes later times only. */
  recordActivity(entries: ReadonlyMap<number, Date>): Promise<void>
}

export function userStore(database: Database): UserStore {
  const lists = userLists(database)
  return {
    ...userQueries(database, lists),
    ...userChanges(database, lists),
    ...userNotes(database),
    ...userLinks(database),
  }
}

/** Finding users. */
function userQueries(
  database: Database,
  lists: UserLists,
): Pick<UserStore, 'findById' | 'findByName' | 'page' | 'blocked' | 'count' | 'activeSince'> {
  const all = database.db.selectFrom('users').selectAll()
  const byName = prepared(database, all.where('name_key', '=', '').compile())
  const byId = prepared(database, all.where('id', '=', 0).compile())
  return {
    async findById(id) {
      const [row] = await byId(id)
      return fromRow(row)
    },

    async findByName(name) {
      const [row] = await byName(nameKey(name))
      return fromRow(row)
    },

    async page(query) {
      const { rows, total } = await lists.page(query)
      return { users: rows.map(listedUser), total }
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
function userNotes({
  db,
}: Database): Pick<
  UserStore,
  'setAdmin' | 'setUserInfo' | 'loginOf' | 'setLogin' | 'recordActivity'
> {
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
    },
  }
}

const laterActivity = `
  UPDATE users SET last_activity_at = latest.at
  FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS at FROM json_each(?)) AS latest
  WHERE users.id = latest.id AND (last_activity_at IS NULL OR last_activity_at < latest.at)`

/** The groups and roles that users are in. */
function userLinks(database: Database): Pick<UserStore, 'groupsOf' | 'groupsOfAll' | 'rolesOfAll'> {
  const { db } = database
  const groups = db
    .selectFrom('user_groups')
    .innerJoin('groups', 'groups.id', 'user_groups.group_id')
    .select(['user_id', 'groups.name'])
    .orderBy('groups.name')
  const groupNames = prepared(database, groups.where('user_id', '=', 0).compile())
  const groupsOfAll = prepared(database, groups.where('user_id', 'in', listed('[]')).compile())
  const rolesOfAll = prepared(
    database,
    db
      .selectFrom('user_roles')
      .innerJoin('roles', 'roles.id', 'user_roles.role_id')
      .select(['user_id', 'roles.name'])
      .where('user_id', 'in', listed('[]'))
      .orderBy('roles.name')
      .compile(),
  )
  return {
    async groupsOf(id) {
      return (await groupNames(id)).map(({ name }) => name)
    },

    async groupsOfAll(ids) {
      return byUser(await groupsOfAll(JSON.stringify(ids)))
    },

    async rolesOfAll(ids) {
      return byUser(await rolesOfAll(JSON.stringify(ids)))
    },
  }
}

function byUser(
  rows: readonly { readonly user_id: number; readonly name: string }[],
): ReadonlyMap<number, readonly string[]> {
  const names = new Map<number, string[]>()
  for (const { user_id: id, name } of rows) {
    const known = names.get(id)
    if (known) known.push(name)
    else names.set(id, [name])
  }
  return names
}

const keyed = ({ id, name_key: key }: UserRow) => ({ id, key })

function fromRow(row: UserRow | undefined): User | null {
  return row ? known(row) : null
}

function known(row: UserRow): User {
  return listedUser([
    row.id,
    row.name,
    row.admin,
    row.blocked,
    row.created_at,
    row.last_activity_at,
    row.user_info,
  ])
}

function listedUser([id, name, admin, blocked, createdAt, activeAt, userInfo]: ListedUser): User {
  return {
    id,
    name,
    admin: admin === 1,
    blocked: blocked === 1,
    createdAt: new Date(createdAt),
    lastActivityAt: activeAt === null ? null : new Date(activeAt),
    userInfo: userInfo === null ? null : (JSON.parse(userInfo) as unknown),
  }
}
