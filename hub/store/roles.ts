import { sql } from 'kysely'
import { type Database, prepared } from './database.ts'

export interface RoleDefinition {
  readonly name: string
  readonly description: string
  readonly scopes: readonly string[]
}

/** One source of scopes that somebody has: a role, or a share. */
export interface Grant {
  readonly kind: 'role' | 'share'
  /** The role's name; of a share, whose server it is: `user/server`. */
  readonly name: string
  /** The group that has the role or the share; null for one's own. */
  readonly group: string | null
  /** Raw. */
  readonly scopes: readonly string[]
}

export interface RoleStore {
  /** Writes these roles, replacing description and scopes of those that exist. */
  define(roles: readonly RoleDefinition[]): Promise<void>
  /** Raw scopes of one role, or null when there is none of that name. */
  scopesOf(name: string): Promise<readonly string[] | null>
  /** All that a user has: their roles, their groups' roles, and what is shared with them and their groups. */
  grantsOfUser(userId: number, now: Date): Promise<readonly Grant[]>
  grantsOfService(serviceId: number): Promise<readonly Grant[]>
}

export function roleStore(database: Database): RoleStore {
  const { db } = database
  return {
    ...grants(database),

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

/** Where scopes come from. */
function grants(database: Database): Pick<RoleStore, 'grantsOfUser' | 'grantsOfService'> {
  const { db } = database
  const own = <T>(value: T) => sql<T>`${sql.lit(value)}`
  const roles = db
    .selectFrom('user_roles')
    .innerJoin('roles', 'roles.id', 'user_roles.role_id')
    .select(['roles.name', 'roles.scopes'])
    .select([own<string | null>(null).as('group'), own<'role' | 'share'>('role').as('kind')])
    .where('user_roles.user_id', '=', 0)
  const rolesOfGroups = db
    .selectFrom('user_groups')
    .innerJoin('groups', 'groups.id', 'user_groups.group_id')
    .innerJoin('group_roles', 'group_roles.group_id', 'groups.id')
    .innerJoin('roles', 'roles.id', 'group_roles.role_id')
    .select(['roles.name', 'roles.scopes'])
    .select(['groups.name as group', own<'role' | 'share'>('role').as('kind')])
    .where('user_groups.user_id', '=', 0)
  const shares = db
    .selectFrom('shares')
    .innerJoin('servers', 'servers.id', 'shares.server_id')
    .innerJoin('users', 'users.id', 'shares.owner_id')
    .where((e) => e.or([e('expires_at', 'is', null), e('expires_at', '>', 0)]))
    .select([sql<string>`users.name || '/' || servers.name`.as('name'), 'shares.scopes'])
  const direct = shares
    .select([own<string | null>(null).as('group'), own<'role' | 'share'>('share').as('kind')])
    .where('shares.user_id', '=', 0)
  const ofGroups = shares
    .innerJoin('groups', 'groups.id', 'shares.group_id')
    .innerJoin('user_groups', 'user_groups.group_id', 'groups.id')
    .select(['groups.name as group', own<'role' | 'share'>('share').as('kind')])
    .where('user_groups.user_id', '=', 0)
  const ofUser = prepared(
    database,
    roles.unionAll(rolesOfGroups).unionAll(direct).unionAll(ofGroups).orderBy('name').compile(),
  )
  return {
    async grantsOfUser(userId, now) {
      const time = now.getTime()
      const rows = await ofUser(userId, userId, time, userId, time, userId)
      return rows.map((row) => ({ ...row, scopes: JSON.parse(row.scopes) as string[] }))
    },

    async grantsOfService(serviceId) {
      const rows = await db
        .selectFrom('service_roles')
        .innerJoin('roles', 'roles.id', 'service_roles.role_id')
        .select(['roles.name', 'roles.scopes'])
        .where('service_roles.service_id', '=', serviceId)
        .orderBy('roles.name')
        .execute()
      return rows.map(({ name, scopes }) => ({
        kind: 'role',
        name,
        group: null,
        scopes: JSON.parse(scopes) as string[],
      }))
    },
  }
}
