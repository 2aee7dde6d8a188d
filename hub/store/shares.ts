import type { Selectable } from 'kysely'
import { nameKey } from '../../packages/core/slug.ts'
import { type Database, prepared } from './database.ts'
import type { Schema } from './schema.ts'

/** The server that is shared. */
export interface SharedServer {
  readonly id: number
  readonly name: string
  readonly ownerId: number
  readonly ownerName: string
}

/** Whom a server is shared with. */
export interface Grantee {
  readonly kind: 'user' | 'group'
  readonly id: number
  readonly name: string
}

/** What somebody, or everybody in a group, may do with one server. */
export interface StoredShare {
  readonly id: number
  readonly server: SharedServer
  readonly grantee: Grantee
  /** Without their filter: they are for this server, whatever it is called by now. */
  readonly scopes: readonly string[]
  readonly createdAt: Date
}

/** Which shares or codes: those of all servers of an owner, of one server, or those made to somebody. */
export interface ShareFilter {
  readonly by: 'owner' | 'server' | 'group'
  readonly id: number
}

export interface SharePage<Item> {
  readonly items: readonly Item[]
  readonly total: number
}

interface Place {
  readonly offset: number
  readonly limit: number
}

export interface ShareStore {
  page(filter: ShareFilter, place: Place): Promise<SharePage<StoredShare>>
  /** What is shared with a user, also through groups. */
  pageOfUser(userId: number, place: Place): Promise<SharePage<StoredShare>>
  find(serverId: number, grantee: Grantee): Promise<StoredShare | null>
  /** Null when there is no such user or group. */
  grantee(kind: Grantee['kind'], name: string): Promise<Grantee | null>
  /** Adds scopes to the share, which is made if need be. */
  grant(
    server: SharedServer,
    grantee: Grantee,
    scopes: readonly string[],
    now: Date,
  ): Promise<StoredShare>
  /** Takes scopes, or all, from the share; null when nothing is left, or nothing was there. */
  revoke(
    serverId: number,
    grantee: Grantee,
    scopes: readonly string[] | null,
  ): Promise<StoredShare | null>
  revokeAll(serverId: number): Promise<void>
  /** Ids of the users who have the share: the user, or the members of the group. */
  usersOf(grantee: Grantee): Promise<readonly number[]>
  /** Ids of the users with whom the server is shared, also through groups. */
  holders(serverId: number): Promise<readonly number[]>
  /** Others than the owner who hold tokens for this server by its OAuth client. */
  visitors(server: SharedServer): Promise<readonly { readonly id: number; readonly name: string }[]>
  /** Ends the tokens that this user got for this server by its OAuth client. */
  endVisit(serverId: number, userId: number): Promise<void>
}

type Row = Selectable<Schema['shares']> & {
  readonly serverName: string
  readonly ownerName: string
  readonly userName: string | null
  readonly groupName: string | null
}

export function shareStore(database: Database): ShareStore {
  return { ...shareQueries(database), ...shareChanges(database), ...visits(database) }
}

const rowsOf = (db: Database['db']) =>
  db
    .selectFrom('shares')
    .innerJoin('servers', 'servers.id', 'shares.server_id')
    .innerJoin('users as owners', 'owners.id', 'shares.owner_id')
    .leftJoin('users', 'users.id', 'shares.user_id')
    .leftJoin('groups', 'groups.id', 'shares.group_id')
    .selectAll('shares')
    .select([
      'servers.name as serverName',
      'owners.name as ownerName',
      'users.name as userName',
      'groups.name as groupName',
    ])

const columnOf = { owner: 'owner_id', server: 'server_id', group: 'group_id' } as const

const granteeColumn = { user: 'user_id', group: 'group_id' } as const

/** Finding shares. */
function shareQueries(
  database: Database,
): Pick<ShareStore, 'page' | 'pageOfUser' | 'find' | 'grantee'> {
  const { db } = database
  const count = db.selectFrom('shares').select((e) => e.fn.countAll<number>().as('total'))
  return {
    async page({ by, id }, { offset, limit }) {
      const column = `shares.${columnOf[by]}` as const
      const rows = rowsOf(db).where(column, '=', id).orderBy('shares.id')
      const { total } = await count.where(column, '=', id).executeTakeFirstOrThrow()
      const page = await rows.limit(limit).offset(offset).execute()
      return { items: page.map(fromRow), total }
    },

    async pageOfUser(userId, { offset, limit }) {
      const groups = db
        .selectFrom('user_groups')
        .select('group_id')
        .where('user_groups.user_id', '=', userId)
      const { total } = await count
        .where((e) => e.or([e('shares.user_id', '=', userId), e('shares.group_id', 'in', groups)]))
        .executeTakeFirstOrThrow()
      const page = await rowsOf(db)
        .where((e) => e.or([e('shares.user_id', '=', userId), e('shares.group_id', 'in', groups)]))
        .orderBy('shares.id')
        .limit(limit)
        .offset(offset)
        .execute()
      return { items: page.map(fromRow), total }
    },

    async find(serverId, grantee) {
      return shareOf(db, serverId, grantee)
    },

    async grantee(kind, name) {
      const table = kind === 'user' ? 'users' : 'groups'
      const row = await db
        .selectFrom(table)
        .select(['id', 'name'])
        .where('name_key', '=', nameKey(name))
        .executeTakeFirst()
      return row ? { kind, ...row } : null
    },
  }
}

async function shareOf(
  db: Database['db'],
  serverId: number,
  { kind, id }: Grantee,
): Promise<StoredShare | null> {
  const row = await rowsOf(db)
    .where('shares.server_id', '=', serverId)
    .where(`shares.${granteeColumn[kind]}`, '=', id)
    .executeTakeFirst()
  return row ? fromRow(row) : null
}

/**
 * Adds scopes to a share within a transaction of the caller's.
 * @throws when the server or the grantee is gone.
 */
export async function addToShare(
  db: Database['db'],
  server: Pick<SharedServer, 'id' | 'ownerId'>,
  grantee: Grantee,
  { scopes, now }: { readonly scopes: readonly string[]; readonly now: Date },
): Promise<StoredShare> {
  const known = await shareOf(db, server.id, grantee)
  const all = JSON.stringify([...new Set([...(known?.scopes ?? []), ...scopes])].toSorted())
  if (known)
    await db.updateTable('shares').set({ scopes: all }).where('id', '=', known.id).execute()
  else
    await db
      .insertInto('shares')
      .values({
        server_id: server.id,
        owner_id: server.ownerId,
        user_id: grantee.kind === 'user' ? grantee.id : null,
        group_id: grantee.kind === 'group' ? grantee.id : null,
        scopes: all,
        created_at: now.getTime(),
        expires_at: null,
      })
      .execute()
  const made = await shareOf(db, server.id, grantee)
  if (!made) throw new Error('a share that was just written is not there')
  return made
}

/** Making and ending shares. */
function shareChanges({ db }: Database): Pick<ShareStore, 'grant' | 'revoke' | 'revokeAll'> {
  return {
    async grant(server, grantee, scopes, now) {
      return db
        .transaction()
        .execute((transaction) => addToShare(transaction, server, grantee, { scopes, now }))
    },

    async revoke(serverId, grantee, scopes) {
      return db.transaction().execute(async (transaction) => {
        const known = await shareOf(transaction, serverId, grantee)
        if (!known) return null
        const left = scopes === null ? [] : known.scopes.filter((scope) => !scopes.includes(scope))
        if (left.length === 0) {
          await transaction.deleteFrom('shares').where('id', '=', known.id).execute()
          return null
        }
        const text = JSON.stringify(left)
        await transaction
          .updateTable('shares')
          .set({ scopes: text })
          .where('id', '=', known.id)
          .execute()
        return { ...known, scopes: left }
      })
    },

    async revokeAll(serverId) {
      await db.deleteFrom('shares').where('server_id', '=', serverId).execute()
    },
  }
}

/** Ids of the users with whom a server is shared, also through groups. */
export async function shareHolders(
  db: Database['db'],
  serverId: number,
): Promise<readonly number[]> {
  const members = db
    .selectFrom('shares')
    .innerJoin('user_groups', 'user_groups.group_id', 'shares.group_id')
    .select('user_groups.user_id as id')
    .where('shares.server_id', '=', serverId)
  const rows = await db
    .selectFrom('shares')
    .select('shares.user_id as id')
    .where('shares.server_id', '=', serverId)
    .where('shares.user_id', 'is not', null)
    .union(members)
    .execute()
  return rows.flatMap(({ id }) => id ?? [])
}

/** Who is let in by shares, and who has come in. */
function visits(
  database: Database,
): Pick<ShareStore, 'usersOf' | 'holders' | 'visitors' | 'endVisit'> {
  const { db } = database
  const members = prepared(
    database,
    db.selectFrom('user_groups').select('user_id').where('group_id', '=', 0).compile(),
  )
  const clientsOf = (serverId: number) =>
    db.selectFrom('oauth_clients').select('id').where('server_id', '=', serverId)
  return {
    async usersOf({ kind, id }) {
      return kind === 'user' ? [id] : (await members(id)).map((row) => row.user_id)
    },

    holders: (serverId) => shareHolders(db, serverId),

    async visitors({ id, ownerId }) {
      return db
        .selectFrom('api_tokens')
        .innerJoin('users', 'users.id', 'api_tokens.user_id')
        .select(['users.id', 'users.name'])
        .distinct()
        .where('api_tokens.client_id', 'in', clientsOf(id))
        .where('users.id', '!=', ownerId)
        .execute()
    },

    async endVisit(serverId, userId) {
      await db
        .deleteFrom('api_tokens')
        .where('user_id', '=', userId)
        .where('client_id', 'in', clientsOf(serverId))
        .execute()
    },
  }
}

function fromRow(row: Row): StoredShare {
  const grantee: Grantee =
    row.user_id === null
      ? { kind: 'group', id: row.group_id ?? 0, name: row.groupName ?? '' }
      : { kind: 'user', id: row.user_id, name: row.userName ?? '' }
  return {
    id: row.id,
    server: {
      id: row.server_id,
      name: row.serverName,
      ownerId: row.owner_id,
      ownerName: row.ownerName,
    },
    grantee,
    scopes: JSON.parse(row.scopes) as string[],
    createdAt: new Date(row.created_at),
  }
}
