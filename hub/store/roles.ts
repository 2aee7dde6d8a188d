import type { Database } from './database.ts'

export interface RoleDefinition {
  readonly name: string
  readonly description: string
  readonly scopes: readonly string[]
}

export interface RoleStore {
  /** Writes these roles, replacing description and scopes of those that exist. */
  define(roles: readonly RoleDefinition[]): Promise<void>
  /** Raw scopes of one role, or null when there is none of that name. */
  scopesOf(name: string): Promise<readonly string[] | null>
}

export function roleStore({ db }: Database): RoleStore {
  return {
    async define(roles) {
      for (const { name, description, scopes } of roles) {
        const text = JSON.stringify(scopes)
        await db
          .insertInto('roles')
          .values({ name, description, scopes: text, managed_by_auth: 0 })
          .onConflict((conflict) =>
            conflict.column('name').doUpdateSet({ description, scopes: text }),
          )
          .execute()
      }
    },
    async scopesOf(name) {
      const row = await db
        .selectFrom('roles')
        .select('scopes')
        .where('name', '=', name)
        .executeTakeFirst()
      return row ? (JSON.parse(row.scopes) as string[]) : null
    },
  }
}
