import type { Kysely } from 'kysely'

/** What a service owns is found, and goes with it, without a look at everybody's tokens. */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const table of ['api_tokens', 'oauth_clients'])
    await db.schema.createIndex(`${table}_service_id`).on(table).column('service_id').execute()
}
