import type { Kysely } from 'kysely'

/**
 * What a look at an old login needs: the rule of the authenticator that let the user in, and whether
 * the user was an admin when the session's secret was given out.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('users').addColumn('allowed_by', 'text').execute()
  await db.schema
    .alterTable('sessions')
    .addColumn('admin', 'integer', (column) => column.notNull().defaultTo(0))
    .execute()
  await db.schema
    .createIndex('sessions_last_seen_at')
    .on('sessions')
    .column('last_seen_at')
    .execute()
}
