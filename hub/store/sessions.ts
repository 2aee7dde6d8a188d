import type { Selectable } from 'kysely'
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
}

export interface SessionStore {
  /** Returns the secret that goes, signed, into the login cookie. */
  create(
    session: Omit<Session, 'id'> & {
      readonly cookieKeyId: string
      readonly provider: string
      /** The session at the provider (`sid`), where it names one. */
      readonly providerSession?: string | undefined
    },
  ): Promise<{ readonly session: Session; readonly secret: string }>
  /** Null when the secret is unknown or the session has expired. */
  find(secret: string, now: Date): Promise<Session | null>
  delete(id: number): Promise<void>
  deleteOfUser(userId: number): Promise<void>
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
}

type Row = Selectable<Schema['sessions']>

export function sessionStore({ db }: Database): SessionStore {
  return {
    async create({ userId, browserSessionId, createdAt, expiresAt, ...session }) {
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

    async deleteOfUser(userId) {
      await db.deleteFrom('sessions').where('user_id', '=', userId).execute()
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
  }
}
