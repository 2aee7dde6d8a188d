import type { Selectable } from 'kysely'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'
import {
  addToShare,
  type Grantee,
  type SharedServer,
  type ShareFilter,
  type SharePage,
  type StoredShare,
} from './shares.ts'
import { hashSecret, matchesHash, newSecret } from './tokens.ts'

/** A code that gives whoever has it a share of one server. The code itself is not kept. */
export interface StoredShareCode {
  readonly id: number
  readonly server: SharedServer
  /** Without their filter: they are for this server. */
  readonly scopes: readonly string[]
  readonly createdAt: Date
  readonly expiresAt: Date
  readonly exchangeCount: number
  readonly lastExchangedAt: Date | null
}

export interface ShareCodeStore {
  /** Codes that have not expired, oldest first. */
  page(
    filter: ShareFilter,
    place: { readonly offset: number; readonly limit: number },
    now: Date,
  ): Promise<SharePage<StoredShareCode>>
  /** Stores the hash; `code` is 43 url-safe characters that nobody can read again. */
  create(
    server: SharedServer,
    options: {
      readonly scopes: readonly string[]
      readonly expiresAt: Date
      readonly now: Date
    },
  ): Promise<{ readonly code: string; readonly stored: StoredShareCode }>
  /** Null when the code is unknown or expired. */
  find(code: string, now: Date): Promise<StoredShareCode | null>
  /** Gives the user the share and counts the exchange, in one transaction; null when the code is gone. */
  exchange(id: number, user: Grantee, now: Date): Promise<StoredShare | null>
  /** True when there was such a code of this server. */
  delete(serverId: number, id: number): Promise<boolean>
  deleteAll(serverId: number): Promise<void>
  purgeExpired(now: Date): Promise<void>
}

type Row = Selectable<Schema['share_codes']> & {
  readonly serverName: string
  readonly ownerName: string
}

/** Characters by which stored codes are looked up, as in JupyterHub. */
const prefixLength = 4

const rowsOf = (db: Database['db']) =>
  db
    .selectFrom('share_codes')
    .innerJoin('servers', 'servers.id', 'share_codes.server_id')
    .innerJoin('users as owners', 'owners.id', 'share_codes.owner_id')
    .selectAll('share_codes')
    .select(['servers.name as serverName', 'owners.name as ownerName'])

export function shareCodeStore({ db }: Database): ShareCodeStore {
  const alive = (now: Date) => rowsOf(db).where('share_codes.expires_at', '>', now.getTime())
  return {
    async page({ by, id }, { offset, limit }, now) {
      const column = by === 'owner' ? 'share_codes.owner_id' : 'share_codes.server_id'
      const { total } = await db
        .selectFrom('share_codes')
        .select((e) => e.fn.countAll<number>().as('total'))
        .where(column, '=', id)
        .where('expires_at', '>', now.getTime())
        .executeTakeFirstOrThrow()
      const rows = alive(now).where(column, '=', id).orderBy('share_codes.id')
      return { items: (await rows.limit(limit).offset(offset).execute()).map(fromRow), total }
    },

    async create(server, { scopes, expiresAt, now }) {
      const code = newSecret()
      const { id } = await db
        .insertInto('share_codes')
        .values({
          server_id: server.id,
          owner_id: server.ownerId,
          hashed: hashSecret(code),
          prefix: code.slice(0, prefixLength),
          scopes: JSON.stringify(scopes),
          created_at: now.getTime(),
          expires_at: expiresAt.getTime(),
          exchange_count: 0,
          last_exchanged_at: null,
        })
        .returning('id')
        .executeTakeFirstOrThrow()
      const row = await rowsOf(db).where('share_codes.id', '=', id).executeTakeFirstOrThrow()
      return { code, stored: fromRow(row) }
    },

    async find(code, now) {
      const rows = await alive(now)
        .where('share_codes.prefix', '=', code.slice(0, prefixLength))
        .execute()
      const row = rows.find(({ hashed }) => matchesHash(code, hashed))
      return row ? fromRow(row) : null
    },

    async exchange(id, user, now) {
      return db.transaction().execute(async (transaction) => {
        const row = await rowsOf(transaction)
          .where('share_codes.id', '=', id)
          .where('share_codes.expires_at', '>', now.getTime())
          .executeTakeFirst()
        if (!row) return null
        await transaction
          .updateTable('share_codes')
          .set({ exchange_count: row.exchange_count + 1, last_exchanged_at: now.getTime() })
          .where('id', '=', id)
          .execute()
        const { server, scopes } = fromRow(row)
        return addToShare(transaction, server, user, { scopes, now })
      })
    },

    async delete(serverId, id) {
      const { numDeletedRows } = await db
        .deleteFrom('share_codes')
        .where('server_id', '=', serverId)
        .where('id', '=', id)
        .executeTakeFirst()
      return numDeletedRows > 0n
    },

    async deleteAll(serverId) {
      await db.deleteFrom('share_codes').where('server_id', '=', serverId).execute()
    },

    async purgeExpired(now) {
      await db.deleteFrom('share_codes').where('expires_at', '<=', now.getTime()).execute()
    },
  }
}

function fromRow(row: Row): StoredShareCode {
  return {
    id: row.id,
    server: {
      id: row.server_id,
      name: row.serverName,
      ownerId: row.owner_id,
      ownerName: row.ownerName,
    },
    scopes: JSON.parse(row.scopes) as string[],
    createdAt: new Date(row.created_at),
    expiresAt: new Date(row.expires_at),
    exchangeCount: row.exchange_count,
    lastExchangedAt: row.last_exchanged_at === null ? null : new Date(row.last_exchanged_at),
  }
}
