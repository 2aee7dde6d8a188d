import type { Kysely } from 'kysely'

/**
 * Servers that are deleted when their stop ends, and what the lists of users and of shares need to
 * cost the same for many as for few.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await db.schema
    .alterTable('servers')
    .addColumn('removing', 'integer', (column) => column.notNull().defaultTo(0))
    .execute()
  await db.schema
    .createIndex('users_activity')
    .on('users')
    .columns(['last_activity_at', 'name_key'])
    .execute()
  const indexes: readonly (readonly [table: string, column: string])[] = [
    ['user_groups', 'group_id'],
    ['shares', 'user_id'],
    ['shares', 'group_id'],
    ['shares', 'owner_id'],
    ['share_codes', 'server_id'],
    ['share_codes', 'owner_id'],
    ['oauth_clients', 'server_id'],
    ['oauth_codes', 'client_id'],
    ['oauth_codes', 'user_id'],
  ]
  for (const [table, column] of indexes)
    await db.schema
      .createIndex(`${table}_${column}`)
      .ifNotExists()
      .on(table)
      .column(column)
      .execute()
}
