import type { Database } from './database.ts'

/** An account as its provider names it: the key by which it is one user for ever. */
export interface AccountKey {
  /** The authenticator's driver. */
  readonly provider: string
  readonly issuer: string
  readonly subject: string
}

export interface IdentityStore {
  /** The user this account belongs to, or null. */
  userIdOf(account: AccountKey): Promise<number | null>
  /** All accounts of a user. */
  ofUser(userId: number): Promise<readonly AccountKey[]>
  /** Gives the account to the user, unless the user has another one of the same issuer. False then. */
  link(userId: number, account: AccountKey, now: Date): Promise<boolean>
  recordLogin(account: AccountKey, now: Date): Promise<void>
}

export function identityStore({ db }: Database): IdentityStore {
  const byKey = ({ provider, issuer, subject }: AccountKey) =>
    db
      .selectFrom('identities')
      .where('provider', '=', provider)
      .where('issuer', '=', issuer)
      .where('subject', '=', subject)

  return {
    async userIdOf(account) {
      const row = await byKey(account).select('user_id').executeTakeFirst()
      return row?.user_id ?? null
    },

    async ofUser(userId) {
      return db
        .selectFrom('identities')
        .select(['provider', 'issuer', 'subject'])
        .where('user_id', '=', userId)
        .execute()
    },

    async link(userId, { provider, issuer, subject }, now) {
      return db.transaction().execute(async (transaction) => {
        const taken = await transaction
          .selectFrom('identities')
          .select('id')
          .where('provider', '=', provider)
          .where('issuer', '=', issuer)
          .where((either) =>
            either.or([either('user_id', '=', userId), either('subject', '=', subject)]),
          )
          .executeTakeFirst()
        if (taken) return false
        const row = { user_id: userId, provider, issuer, subject }
        await transaction
          .insertInto('identities')
          .values({ ...row, created_at: now.getTime(), last_login_at: now.getTime() })
          .execute()
        return true
      })
    },

    async recordLogin({ provider, issuer, subject }, now) {
      await db
        .updateTable('identities')
        .set({ last_login_at: now.getTime() })
        .where('provider', '=', provider)
        .where('issuer', '=', issuer)
        .where('subject', '=', subject)
        .execute()
    },
  }
}
