import type { Selectable } from 'kysely'
import type { PasswordStore, StoredPassword } from '../../packages/core/authenticator.ts'
import { HubError } from '../../packages/core/errors.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Database } from './database.ts'
import type { Cipher } from './fernet.ts'
import type { Schema } from './schema.ts'
import type { UserStore } from './users.ts'

export interface PasswordStoreOptions {
  /** Null when the hub has no `JUPYTERHUB_CRYPT_KEY`: second factors cannot be kept then. */
  readonly cipher: Cipher | null
  readonly clock: () => Date
  readonly users: UserStore
}

type Row = Selectable<Schema['native_passwords']> & {
  readonly name: string
  readonly user_created_at: number
}

/**
 * The passwords of authenticators without a provider. A second factor whose key is gone throws
 * `unavailable` rather than let its owner in without it.
 */
export function passwordStore(database: Database, options: PasswordStoreOptions): PasswordStore {
  return { ...passwordQueries(database, options), ...passwordChanges(database, options) }
}

function passwordQueries(
  { db }: Database,
  { cipher }: PasswordStoreOptions,
): Pick<PasswordStore, 'keepsSecrets' | 'find' | 'pending' | 'countPending'> {
  const rows = () =>
    db
      .selectFrom('native_passwords')
      .innerJoin('users', 'users.id', 'native_passwords.user_id')
      .selectAll('native_passwords')
      .select(['users.name', 'users.created_at as user_created_at'])
  return {
    keepsSecrets: cipher !== null,

    async find(userName) {
      const row = await rows().where('name_key', '=', nameKey(userName)).executeTakeFirst()
      return row ? fromRow(row, cipher) : null
    },

    async pending(limit) {
      const waiting = rows().where('approved', '=', 0).orderBy('native_passwords.created_at')
      const found = await waiting.orderBy('user_id').limit(limit).execute()
      return found.map((row) => ({ ...fromRow({ ...row, encrypted_totp_secret: null }, null) }))
    },

    async countPending() {
      const count = db.selectFrom('native_passwords').where('approved', '=', 0)
      const query = count.select((e) => e.fn.countAll<number>().as('total'))
      return (await query.executeTakeFirstOrThrow()).total
    },
  }
}

function passwordChanges(
  { db }: Database,
  { cipher, clock, users }: PasswordStoreOptions,
): Omit<PasswordStore, 'keepsSecrets' | 'find' | 'pending' | 'countPending'> {
  const isOf = (userName: string) =>
    db.selectFrom('users').select('id').where('name_key', '=', nameKey(userName))
  return {
    async add(userName, { passwordHash, approved }) {
      const now = clock()
      const made = await users.create(userName, { admin: false, now })
      const added = await db
        .insertInto('native_passwords')
        .values({
          user_id: isOf(userName),
          password_hash: passwordHash,
          approved: Number(approved === 'if-new' ? made !== null : approved),
          created_at: now.getTime(),
          changed_at: null,
          encrypted_totp_secret: null,
          totp_last_step: null,
        } as never)
        .onConflict((conflict) => conflict.column('user_id').doNothing())
        .executeTakeFirst()
      return (added.numInsertedOrUpdatedRows ?? 0n) > 0n
    },

    async approve(userName) {
      const query = db.updateTable('native_passwords').set({ approved: 1 })
      const result = await query.where('user_id', 'in', isOf(userName)).executeTakeFirst()
      return result.numUpdatedRows > 0n
    },

    async setPassword(userName, passwordHash) {
      const query = db
        .updateTable('native_passwords')
        .set({ password_hash: passwordHash, changed_at: clock().getTime() })
      const result = await query.where('user_id', 'in', isOf(userName)).executeTakeFirst()
      return result.numUpdatedRows > 0n
    },

    async setTotpSecret(userName, secret) {
      const query = db
        .updateTable('native_passwords')
        .set({ encrypted_totp_secret: secret && seal(secret, cipher), totp_last_step: null })
      const result = await query.where('user_id', 'in', isOf(userName)).executeTakeFirst()
      return result.numUpdatedRows > 0n
    },

    async remove(userName) {
      const removed = await db
        .deleteFrom('native_passwords')
        .where('user_id', 'in', isOf(userName))
        .returning(['user_id', 'created_at'])
        .executeTakeFirst()
      if (removed) await users.deleteUnused(removed.user_id, new Date(removed.created_at))
      return removed !== undefined
    },

    async takeTotpStep(userName, step) {
      const result = await db
        .updateTable('native_passwords')
        .set({ totp_last_step: step })
        .where('user_id', 'in', isOf(userName))
        .where((e) => e.or([e('totp_last_step', 'is', null), e('totp_last_step', '<', step)]))
        .executeTakeFirst()
      return result.numUpdatedRows > 0n
    },
  }
}

function seal(secret: Buffer, cipher: Cipher | null): Buffer {
  if (cipher) return cipher.encrypt(secret)
  throw new HubError(
    'unavailable',
    'A second factor cannot be kept: the hub has no JUPYTERHUB_CRYPT_KEY',
  )
}

function fromRow(row: Row, cipher: Cipher | null): StoredPassword {
  const { name, password_hash, approved, created_at, changed_at, encrypted_totp_secret } = row
  return {
    userName: name,
    passwordHash: password_hash,
    approved: approved === 1,
    createdAt: new Date(created_at),
    userExisted: row.user_created_at < created_at,
    changedAt: changed_at === null ? null : new Date(changed_at),
    totpSecret: encrypted_totp_secret && unseal(name, encrypted_totp_secret, cipher),
  }
}

function unseal(name: string, encrypted: Buffer, cipher: Cipher | null): Buffer {
  const clear = cipher?.decrypt(encrypted)
  if (clear) return clear
  throw new HubError(
    'unavailable',
    `The second factor of ${name} cannot be read: JUPYTERHUB_CRYPT_KEY has changed or is missing`,
  )
}
