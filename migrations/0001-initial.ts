import { type CreateTableBuilder, type Kysely, sql } from 'kysely'

type Table = CreateTableBuilder<string, string>

/** An integer primary key that is never reused: token ids are public (`a12`). */
const withId = (table: Table): Table =>
  table.addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement()) as Table

const text = (table: Table, ...names: readonly string[]): Table =>
  names.reduce<Table>(
    (built, name) =>
      (name.endsWith('?')
        ? built.addColumn(name.slice(0, -1), 'text')
        : built.addColumn(name, 'text', (column) => column.notNull())) as Table,
    table,
  )

/** Integers: counters, booleans as 0 or 1, and times in milliseconds since the epoch, UTC (`*_at`). */
const integers = (table: Table, ...names: readonly string[]): Table =>
  names.reduce<Table>(
    (built, name) =>
      (name.endsWith('?')
        ? built.addColumn(name.slice(0, -1), 'integer')
        : built.addColumn(name, 'integer', (column) => column.notNull())) as Table,
    table,
  )

const references = (
  table: Table,
  column: string,
  target: string,
  onDelete: 'cascade' | 'set null' = 'cascade',
): Table =>
  table.addColumn(column.replace('?', ''), 'integer', (built) => {
    const referring = built.references(target).onDelete(onDelete)
    return column.endsWith('?') ? referring : referring.notNull()
  }) as Table

/** Who there is: users, their identities at providers, groups, native passwords. */
async function createPeople(db: Kysely<unknown>): Promise<void> {
  const create = (name: string): Table => db.schema.createTable(name) as unknown as Table

  let users = text(withId(create('users')), 'name', 'name_key', 'cookie_id?', 'user_info?')
  users = integers(users, 'admin', 'blocked', 'created_at', 'last_activity_at?')
  await users
    .addColumn('encrypted_auth_state', 'blob')
    .addUniqueConstraint('users_name_key', ['name_key'])
    .addUniqueConstraint('users_cookie_id', ['cookie_id'])
    .execute()

  let identities = references(withId(create('identities')), 'user_id', 'users.id')
  identities = text(identities, 'provider', 'issuer', 'subject')
  await integers(identities, 'created_at', 'last_login_at?')
    .addUniqueConstraint('identities_subject', ['provider', 'issuer', 'subject'])
    .execute()

  await integers(
    text(withId(create('groups')), 'name', 'name_key', 'properties'),
    'managed_by_auth',
    'created_at',
  )
    .addUniqueConstraint('groups_name_key', ['name_key'])
    .execute()

  const members = references(create('user_groups'), 'user_id', 'users.id')
  await integers(references(members, 'group_id', 'groups.id'), 'managed_by_auth')
    .addPrimaryKeyConstraint('user_groups_pk', ['user_id', 'group_id'])
    .execute()

  const native = references(create('native_passwords'), 'user_id', 'users.id')
  await integers(text(native, 'password_hash'), 'approved', 'created_at', 'changed_at?')
    .addColumn('encrypted_totp_secret', 'blob')
    .addColumn('totp_last_step', 'integer')
    .addPrimaryKeyConstraint('native_passwords_pk', ['user_id'])
    .execute()
}

/** Programs registered with the hub, and roles with their links to users, groups, services and tokens. */
async function createServicesAndRoles(db: Kysely<unknown>): Promise<void> {
  const create = (name: string): Table => db.schema.createTable(name) as unknown as Table

  let services = text(withId(create('services')), 'name', 'url?', 'info', 'command', 'environment')
  services = text(services, 'cwd?', 'os_user?', 'oauth_client_id?', 'oauth_client_allowed_scopes')
  services = text(services, 'oauth_redirect_uri?', 'oauth_required_pkce?')
  services = integers(services, 'admin', 'display', 'oauth_no_confirm', 'timeout_seconds')
  await integers(services, 'from_config', 'created_at')
    .addUniqueConstraint('services_name', ['name'])
    .execute()

  await integers(text(withId(create('roles')), 'name', 'description', 'scopes'), 'managed_by_auth')
    .addUniqueConstraint('roles_name', ['name'])
    .execute()

  for (const kind of ['user', 'group', 'service'] as const) {
    const links = references(create(`${kind}_roles`), `${kind}_id`, `${kind}s.id`)
    await integers(references(links, 'role_id', 'roles.id'), 'managed_by_auth')
      .addPrimaryKeyConstraint(`${kind}_roles_pk`, [`${kind}_id`, 'role_id'])
      .execute()
  }
}

/** Servers with what a restarted hub needs, and processes of the hub that outlive it. */
async function createServers(db: Kysely<unknown>): Promise<void> {
  const create = (name: string): Table => db.schema.createTable(name) as unknown as Table

  let servers = references(withId(create('servers')), 'user_id', 'users.id')
  servers = text(servers, 'name', 'display_name?', 'state', 'url?', 'spawner', 'spawner_state')
  servers = text(servers, 'user_options', 'last_options', 'last_exit?')
  servers = integers(servers, 'generation', 'state_since_at', 'created_at')
  await integers(servers, 'deadline_at?', 'started_at?', 'last_activity_at?')
    .addUniqueConstraint('servers_user_name', ['user_id', 'name'])
    .execute()
  await db.schema.createIndex('servers_state').on('servers').column('state').execute()

  const processes = text(create('processes'), 'name', 'start_time', 'boot_id', 'data')
  await integers(processes, 'pid', 'recorded_at')
    .addPrimaryKeyConstraint('processes_pk', ['name'])
    .execute()
}

/** Browser sessions, API tokens, OAuth clients and codes, login attempts. Secrets are stored as hashes. */
async function createCredentials(db: Kysely<unknown>): Promise<void> {
  const create = (name: string): Table => db.schema.createTable(name) as unknown as Table

  let sessions = references(withId(create('sessions')), 'user_id', 'users.id')
  sessions = text(sessions, 'secret_hash', 'browser_session_id', 'cookie_key_id', 'provider')
  sessions = integers(sessions, 'created_at', 'last_seen_at', 'authenticated_at', 'expires_at')
  await sessions.addUniqueConstraint('sessions_secret_hash', ['secret_hash']).execute()
  await db.schema.createIndex('sessions_user').on('sessions').column('user_id').execute()

  let clients = text(withId(create('oauth_clients')), 'identifier', 'description', 'secret_hash')
  clients = integers(text(clients, 'redirect_uri', 'allowed_scopes'), 'require_pkce')
  clients = references(clients, 'server_id?', 'servers.id')
  await references(clients, 'service_id?', 'services.id')
    .addUniqueConstraint('oauth_clients_identifier', ['identifier'])
    .execute()

  let codes = references(withId(create('oauth_codes')), 'client_id', 'oauth_clients.id')
  codes = references(references(codes, 'user_id', 'users.id'), 'session_id?', 'sessions.id')
  codes = text(codes, 'code_hash', 'redirect_uri', 'scopes', 'browser_session_id?')
  codes = text(codes, 'code_challenge?', 'code_challenge_method?')
  await integers(codes, 'expires_at', 'consumed_at?')
    .addUniqueConstraint('oauth_codes_hash', ['code_hash'])
    .execute()

  let tokens = references(withId(create('api_tokens')), 'user_id?', 'users.id')
  tokens = references(tokens, 'service_id?', 'services.id')
  tokens = references(tokens, 'server_id?', 'servers.id')
  tokens = references(tokens, 'client_id?', 'oauth_clients.id')
  tokens = references(tokens, 'session_id?', 'sessions.id')
  tokens = references(tokens, 'code_id?', 'oauth_codes.id', 'set null')
  tokens = text(tokens, 'hashed', 'prefix', 'scopes', 'note', 'browser_session_id?')
  await integers(tokens, 'created_at', 'expires_at?', 'last_activity_at?')
    .addUniqueConstraint('api_tokens_hashed', ['hashed'])
    .addCheckConstraint('api_tokens_owner', sql`(user_id IS NULL) <> (service_id IS NULL)`)
    .execute()
  const tokenLinks = references(create('token_roles'), 'token_id', 'api_tokens.id')
  await references(tokenLinks, 'role_id', 'roles.id')
    .addPrimaryKeyConstraint('token_roles_pk', ['token_id', 'role_id'])
    .execute()
  for (const column of ['prefix', 'user_id', 'server_id', 'client_id', 'session_id', 'code_id'])
    await db.schema.createIndex(`api_tokens_${column}`).on('api_tokens').column(column).execute()

  const attempts = text(withId(create('login_attempts')), 'secret_hash', 'provider', 'data')
  await integers(text(attempts, 'next_url?'), 'created_at', 'expires_at')
    .addUniqueConstraint('login_attempts_hash', ['secret_hash'])
    .execute()
}

/** Who may enter whose server besides its owner. */
async function createShares(db: Kysely<unknown>): Promise<void> {
  const create = (name: string): Table => db.schema.createTable(name) as unknown as Table

  let shares = references(withId(create('shares')), 'server_id', 'servers.id')
  shares = references(shares, 'owner_id', 'users.id')
  shares = references(references(shares, 'user_id?', 'users.id'), 'group_id?', 'groups.id')
  await integers(text(shares, 'scopes'), 'created_at', 'expires_at?')
    .addUniqueConstraint('shares_user', ['server_id', 'user_id'])
    .addUniqueConstraint('shares_group', ['server_id', 'group_id'])
    .addCheckConstraint('shares_grantee', sql`(user_id IS NULL) <> (group_id IS NULL)`)
    .execute()

  let codes = references(withId(create('share_codes')), 'server_id', 'servers.id')
  codes = text(references(codes, 'owner_id', 'users.id'), 'hashed', 'prefix', 'scopes')
  await integers(codes, 'created_at', 'expires_at', 'exchange_count', 'last_exchanged_at?')
    .addUniqueConstraint('share_codes_hashed', ['hashed'])
    .execute()
  await db.schema.createIndex('share_codes_prefix').on('share_codes').column('prefix').execute()
}

/** The hub's own notes: settings, audit trail, announcements. */
async function createRecords(db: Kysely<unknown>): Promise<void> {
  const create = (name: string): Table => db.schema.createTable(name) as unknown as Table

  await text(create('settings'), 'key', 'value')
    .addPrimaryKeyConstraint('settings_pk', ['key'])
    .execute()

  const audit = text(
    withId(create('audit_events')),
    'action',
    'actor?',
    'target?',
    'peer?',
    'detail',
  )
  await integers(audit, 'at').execute()
  await db.schema.createIndex('audit_events_at').on('audit_events').column('at').execute()

  const notices = text(withId(create('announcements')), 'text', 'level', 'audience')
  await integers(
    references(notices, 'author_id?', 'users.id', 'set null'),
    'created_at',
    'starts_at',
    'ends_at?',
  ).execute()
}

/** The first schema. Times are integer milliseconds, JSON is text, names are unique on their normalised form (`name_key`). */
export async function up(db: Kysely<unknown>): Promise<void> {
  await createPeople(db)
  await createServicesAndRoles(db)
  await createServers(db)
  await createCredentials(db)
  await createShares(db)
  await createRecords(db)
}
