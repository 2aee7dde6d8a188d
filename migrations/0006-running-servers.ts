import type { Kysely } from 'kysely'

/** Lists of the users whose servers run, or do not, are answered from an index alone. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema.dropIndex('servers_state').execute()
  await db.schema
    .createIndex('servers_state_user_id')
    .on('servers')
    .columns(['state', 'user_id'])
    .execute()
}
