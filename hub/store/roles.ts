import { sql } from 'kysely'
import { type Database, listed, prepared } from './database.ts'

export interface RoleDefinition {
  readonly name: string
  readonly description: string
  readonly scopes: readonly string[]
}

/** A role as an authenticator gives it. */
export type ManagedRole = Pick<RoleDefinition, 'name'> & Partial<RoleDefinition>

/** The same with members, by row id. */
export interface ManagedRolePlan extends ManagedRole {
  readonly users: readonly number[]
  readonly groups: readonly number[]
}

/** A role with its members, by row id. Null: whoever has the role keeps it. */
export interface RolePlan extends RoleDefinition {
  readonly users: readonly number[] | null
  readonly groups: readonly number[] | null
  readonly services: readonly number[] | null
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
  /** Makes those of these roles that do not exist. */
  define(roles: readonly RoleDefinition[]): Promise<void>
  /**
   * Makes these the roles there are, with these members, in one transaction. Roles that an
   * authenticator manages stay as they are. Every user has the role `user`, and those with the role
   * `admin` carry the mark. Ids that do not exist are passed over.
   */
  load(roles: readonly RolePlan[]): Promise<void>
  /**
   * Makes these the roles that a user has from the authenticator; what the config or the API has given
   * stays. A role that does not exist is made; the scopes of one that the authenticator has made follow.
   */
  replaceManagedOf(userId: number, roles: readonly ManagedRole[]): Promise<void>
  /**
   * Gives these roles in the authenticator's name, beside what it has given before; with `reset` that
   * is gone, and so are roles that it has made and that are not among these.
   */
  loadManaged(
    roles: readonly ManagedRolePlan[],
    options: { readonly reset: boolean },
  ): Promise<void>
  all(): Promise<readonly RoleDefinition[]>
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
    replaceManagedOf: (userId, roles) =>
      db.transaction().execute((transaction) => replaceManaged(transaction, userId, roles)),
    loadManaged: (roles, options) =>
      db.transaction().execute((transaction) => loadManaged(transaction, roles, options)),
    load: (roles) => db.transaction().execute((transaction) => load(transaction, roles)),
    async all() {
      const rows = await db.selectFrom('roles').selectAll().orderBy('id').execute()
      return rows.map(({ name, description, scopes }) => ({
        name,
        description,
        scopes: JSON.parse(scopes) as string[],
      }))
    },
    async define(roles) {
      for (const role of roles)
        await db
          .insertInto('roles')
          .values(toRow(role))
          .onConflict((conflict) => conflict.doNothing())
          .execute()
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

async function replaceManaged(
  db: Database['db'],
  userId: number,
  roles: readonly ManagedRole[],
): Promise<void> {
  await db
    .deleteFrom('user_roles')
    .where('user_id', '=', userId)
    .where('managed_by_auth', '=', 1)
    .execute()
  for (const role of roles) {
    await define(db, role)
    await give(db, role.name, { kind: 'user', ids: [userId] })
  }
}

async function loadManaged(
  db: Database['db'],
  roles: readonly ManagedRolePlan[],
  { reset }: { readonly reset: boolean },
): Promise<void> {
  if (reset) {
    const names = listed(JSON.stringify(roles.map(({ name }) => name)))
    const stale = db.deleteFrom('roles').where('managed_by_auth', '=', 1)
    await stale.where('name', 'not in', names).execute()
    for (const table of ['user_roles', 'group_roles'] as const)
      await db.deleteFrom(table).where('managed_by_auth', '=', 1).execute()
  }
  for (const role of roles) {
    await define(db, role)
    await give(db, role.name, { kind: 'user', ids: role.users })
    await give(db, role.name, { kind: 'group', ids: role.groups })
  }
}

/** Makes the role where there is none; the scopes of one that an authenticator has made follow. */
async function define(
  db: Database['db'],
  { name, description = '', scopes }: ManagedRole,
): Promise<void> {
  const row = { ...toRow({ name, description, scopes: scopes ?? [] }), managed_by_auth: 1 }
  const made = db.insertInto('roles').values(row)
  await made
    .onConflict((conflict) =>
      scopes
        ? conflict
            .column('name')
            .doUpdateSet({ scopes: row.scopes })
            .where('roles.managed_by_auth', '=', 1)
        : conflict.doNothing(),
    )
    .execute()
}

/** In the authenticator's name; what the config has given stays the config's. */
async function give(
  db: Database['db'],
  role: string,
  { kind, ids }: { readonly kind: 'user' | 'group'; readonly ids: readonly number[] },
): Promise<void> {
  const [links, id] = [sql.table(`${kind}_roles`), sql.ref(`${kind}_id`)]
  await sql`
    INSERT INTO ${links} (${id}, role_id, managed_by_auth)
    SELECT value, roles.id, 1 FROM json_each(${JSON.stringify(ids)}) JOIN roles ON roles.name = ${role}
    WHERE true ON CONFLICT DO NOTHING
  `.execute(db)
}

const toRow = ({ name, description, scopes }: RoleDefinition) => ({
  name,
  description,
  scopes: JSON.stringify(scopes),
  managed_by_auth: 0,
})

async function load(db: Database['db'], roles: readonly RolePlan[]): Promise<void> {
  const names = listed(JSON.stringify(roles.map(({ name }) => name)))
  await db
    .deleteFrom('roles')
    .where('managed_by_auth', '=', 0)
    .where('name', 'not in', names)
    .execute()
  for (const role of roles) {
    const row = toRow(role)
    const { id } = await db
      .insertInto('roles')
      .values(row)
      .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
      .returning('id')
      .executeTakeFirstOrThrow()
    for (const kind of ['user', 'group', 'service'] as const) {
      const members = role[`${kind}s`]
      if (members) await assign(db, kind, id, members)
    }
  }
  await sql`
    INSERT INTO user_roles (user_id, role_id, managed_by_auth)
    SELECT users.id, roles.id, 0 FROM users JOIN roles ON roles.name = 'user'
    WHERE NOT EXISTS (SELECT 1 FROM user_roles WHERE user_id = users.id AND role_id = roles.id)
  `.execute(db)
  for (const kind of ['user', 'service'] as const) await markAdmins(db, kind)
}

/** Makes these the members of the role, but for those that an authenticator has assigned. */
async function assign(
  db: Database['db'],
  kind: 'user' | 'group' | 'service',
  roleId: number,
  members: readonly number[],
): Promise<void> {
  const [links, entities] = [sql.table(`${kind}_roles`), sql.table(`${kind}s`)]
  const id = sql.ref(`${kind}_id`)
  const ids = listed(JSON.stringify(members))
  await sql`
    DELETE FROM ${links} WHERE role_id = ${roleId} AND managed_by_auth = 0 AND ${id} NOT IN ${ids}
  `.execute(db)
  await sql`
    INSERT INTO ${links} (${id}, role_id, managed_by_auth)
    SELECT id, ${roleId}, 0 FROM ${entities} WHERE id IN ${ids}
    ON CONFLICT DO NOTHING
  `.execute(db)
}

/** The mark `admin` follows the role of that name. */
async function markAdmins(db: Database['db'], kind: 'user' | 'service'): Promise<void> {
  const [links, entities] = [sql.table(`${kind}_roles`), sql.table(`${kind}s`)]
  const has = sql`EXISTS (
    SELECT 1 FROM ${links} JOIN roles ON roles.id = role_id
    WHERE ${sql.ref(`${kind}_id`)} = ${entities}.id AND roles.name = 'admin')`
  await sql`UPDATE ${entities} SET admin = ${has} WHERE admin <> ${has}`.execute(db)
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
      return rows.map((row) => {
        const scopes = JSON.parse(row.scopes) as string[]
        const here = `!server=${row.name}`
        return { ...row, scopes: row.kind === 'share' ? scopes.map((base) => base + here) : scopes }
      })
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
