import type { Kysely } from 'kysely'

/** The session that a login has at its provider, so that a logout there can end it here. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.alterTable('sessions').addColumn('provider_session', 'text').execute()
  await db.schema
    .createIndex('sessions_provider_session')
    .on('sessions')
    .column('provider_session')
    .execute()
}
