import type { Database } from './database.ts'
import { hashSecret } from './tokens.ts'

/** A login that has left for its provider and is to come back. Stored under a hash of its secret. */
export interface LoginAttempt {
  readonly provider: string
  /** What the strategy has put aside: verifier, nonce, state. */
  readonly data: Readonly<Record<string, unknown>>
  /** Where to go afterwards. */
  readonly next: string | null
}

export interface LoginAttemptStore {
  add(secret: string, attempt: LoginAttempt, times: AttemptTimes): Promise<void>
  /** The attempt, once: whoever comes second gets null, as for one that has expired. */
  take(secret: string, now: Date): Promise<LoginAttempt | null>
  purgeExpired(now: Date): Promise<void>
}

interface AttemptTimes {
  readonly now: Date
  readonly expiresAt: Date
}

/** Most attempts that wait at once: strangers can begin as many as they like. */
const capacity = 50_000

export function loginAttemptStore({ db }: Database): LoginAttemptStore {
  return {
    async add(secret, { provider, data, next }, { now, expiresAt }) {
      const { id } = await db
        .insertInto('login_attempts')
        .values({
          secret_hash: hashSecret(secret),
          provider,
          data: JSON.stringify(data),
          next_url: next,
          created_at: now.getTime(),
          expires_at: expiresAt.getTime(),
        })
        .returning('id')
        .executeTakeFirstOrThrow()
      // Ids grow by one: what is so far behind can only be the oldest.
      await db
        .deleteFrom('login_attempts')
        .where('id', '<=', id - capacity)
        .execute()
    },

    async take(secret, now) {
      const row = await db
        .deleteFrom('login_attempts')
        .where('secret_hash', '=', hashSecret(secret))
        .returningAll()
        .executeTakeFirst()
      if (!row || row.expires_at <= now.getTime()) return null
      return {
        provider: row.provider,
        data: JSON.parse(row.data) as LoginAttempt['data'],
        next: row.next_url,
      }
    },

    async purgeExpired(now) {
      await db.deleteFrom('login_attempts').where('expires_at', '<=', now.getTime()).execute()
    },
  }
}
