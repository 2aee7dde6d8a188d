import { CompiledQuery, type Selectable } from 'kysely'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'
import { hashSecret, newSecret } from './tokens.ts'

/** One logged-in browser. Deleting it ends every OAuth token that was issued through it. */
export interface Session {
  readonly id: number
  readonly userId: number
  /** The value of `jupyterhub-session-id`, which servers and services also see. */
  readonly browserSessionId: string
  readonly createdAt: Date
  readonly expiresAt: Date
  readonly lastSeenAt: Date
  /** Whether the user was an admin when the secret was given out. */
  readonly admin: boolean
  /** Changes with the secret: what else is bound to it is worth nothing afterwards. */
  readonly key: string
}

export interface SessionStore {
  /** Returns the secret that goes, signed, into the login cookie. */
  create(
    session: Omit<Session, 'id' | 'key' | 'lastSeenAt'> & {
      readonly cookieKeyId: string
      readonly provider: string
      /** The session at the provider (`sid`), where it names one. */
      readonly providerSession?: string | undefined
    },
  ): Promise<{ readonly session: Session; readonly secret: string }>
  /** Gives the session another secret; the old one is worth nothing from now on. Null when it is gone. */
  renew(
    id: number,
    admin: boolean,
  ): Promise<{ readonly session: Session; readonly secret: string } | null>
  /** Null when the secret is unknown or the session has expired. */
  find(secret: string, now: Date): Promise<Session | null>
  delete(id: number): Promise<void>
  /** Resolves to how many there were. */
  deleteOfUser(userId: number): Promise<number>
  /**
   * Ends sessions that came through a provider: those of one session there, of one user, or both.
   * Returns their users, one entry for each session.
   */
  deleteOfProvider(
    provider: string,
    which: { readonly userId?: number; readonly providerSession?: string },
  ): Promise<readonly number[]>
  /** Ends sessions made under another cookie key. Returns how many. */
  deleteOfOtherKeys(cookieKeyId: string): Promise<number>
  purgeExpired(now: Date): Promise<void>
  /** Ends sessions that were last seen before this. Returns their users, one entry for each session. */
  deleteUnseenSince(time: Date): Promise<readonly number[]>
  /** Writes later times only. */
  recordSeen(entries: ReadonlyMap<number, Date>): Promise<void>
}

const seenLater = `
  UPDATE sessions SET last_seen_at = latest.at
  FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS at FROM json_each(?)) AS latest
  WHERE sessions.id = latest.id AND last_seen_at < latest.at`

type Row = Selectable<Schema['sessions']>

export function sessionStore({ db }: Database): SessionStore {
  return {
    async create({ userId, browserSessionId, createdAt, expiresAt, admin, ...session }) {
      const { cookieKeyId, provider, providerSession = null } = session
      const secret = newSecret()
      const row = await db
        .insertInto('sessions')
        .values({
          user_id: userId,
          secret_hash: hashSecret(secret),
          browser_session_id: browserSessionId,
          cookie_key_id: cookieKeyId,
          provider,
          created_at: createdAt.getTime(),
          last_seen_at: createdAt.getTime(),
          authenticated_at: createdAt.getTime(),
          expires_at: expiresAt.getTime(),
          provider_session: providerSession,
          admin: Number(admin),
        })
        .returningAll()
        .executeTakeFirstOrThrow()
      return { session: fromRow(row), secret }
    },

    async find(secret, now) {
      const row = await db
        .selectFrom('sessions')
        .selectAll()
        .where('secret_hash', '=', hashSecret(secret))
        .where('expires_at', '>', now.getTime())
        .executeTakeFirst()
      return row ? fromRow(row) : null
    },

    async delete(id) {
      await db.deleteFrom('sessions').where('id', '=', id).execute()
    },

    async renew(id, admin) {
      const secret = newSecret()
      const row = await db
        .updateTable('sessions')
        .set({ secret_hash: hashSecret(secret), admin: Number(admin) })
        .where('id', '=', id)
        .returningAll()
        .executeTakeFirst()
      return row ? { session: fromRow(row), secret } : null
    },

    async deleteOfUser(userId) {
      const query = db.deleteFrom('sessions').where('user_id', '=', userId)
      return Number((await query.executeTakeFirst()).numDeletedRows)
    },

    async deleteOfProvider(provider, { userId, providerSession }) {
      if (userId === undefined && providerSession === undefined) return []
      let query = db.deleteFrom('sessions').where('provider', '=', provider)
      if (userId !== undefined) query = query.where('user_id', '=', userId)
      if (providerSession !== undefined)
        query = query.where('provider_session', '=', providerSession)
      return (await query.returning('user_id').execute()).map((row) => row.user_id)
    },

    async deleteOfOtherKeys(cookieKeyId) {
      const result = await db
        .deleteFrom('sessions')
        .where('cookie_key_id', '!=', cookieKeyId)
        .executeTakeFirst()
      return Number(result.numDeletedRows)
    },

    async deleteUnseenSince(time) {
      const query = db.deleteFrom('sessions').where('last_seen_at', '<', time.getTime())
      return (await query.returning('user_id').execute()).map((row) => row.user_id)
    },

    async recordSeen(entries) {
      const times = JSON.stringify([...entries].map(([id, at]) => [id, at.getTime()]))
      await db.executeQuery(CompiledQuery.raw(seenLater, [times]))
    },

    async purgeExpired(now) {
      await db.deleteFrom('sessions').where('expires_at', '<=', now.getTime()).execute()
    },
  }
}

function fromRow(row: Row): Session {
  return {
    id: row.id,
    userId: row.user_id,
    browserSessionId: row.browser_session_id,
    createdAt: new Date(row.created_at),
    expiresAt: new Date(row.expires_at),
    lastSeenAt: new Date(row.last_seen_at),
    admin: row.admin === 1,
    key: `${row.id}.${row.secret_hash.slice(-16)}`,
  }
}
