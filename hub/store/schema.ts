import type { ColumnType, Generated } from 'kysely'

type Id = Generated<number>
/** 0 or 1. */
type Flag = number
/** Milliseconds since the epoch, UTC. */
type Time = number
/** JSON as text. */
type JsonText = string
/** Set when the row is made, never again. */
type Fixed<T> = ColumnType<T, T, never>

interface UsersTable {
  id: Id
  name: string
  name_key: string
  cookie_id: string | null
  user_info: JsonText | null
  admin: Flag
  blocked: Flag
  created_at: Fixed<Time>
  last_activity_at: Time | null
  encrypted_auth_state: Buffer | null
  allowed_by: string | null
}

interface IdentitiesTable {
  id: Id
  user_id: number
  provider: string
  issuer: string
  subject: string
  created_at: Fixed<Time>
  last_login_at: Time | null
}

interface GroupsTable {
  id: Id
  name: string
  name_key: string
  properties: JsonText
  managed_by_auth: Flag
  created_at: Fixed<Time>
}

interface RolesTable {
  id: Id
  name: string
  description: string
  scopes: JsonText
  managed_by_auth: Flag
}

interface ServersTable {
  id: Id
  user_id: number
  name: string
  display_name: string | null
  state: 'stopped' | 'starting' | 'ready' | 'stopping'
  url: string | null
  spawner: string
  spawner_state: JsonText
  user_options: JsonText
  last_options: JsonText
  last_exit: JsonText | null
  generation: number
  /** The row goes when the run ends. */
  removing: Generated<Flag>
  state_since_at: Time
  created_at: Fixed<Time>
  deadline_at: Time | null
  started_at: Time | null
  last_activity_at: Time | null
}

interface ProcessesTable {
  name: string
  pid: number
  start_time: string
  boot_id: string
  data: JsonText
  recorded_at: Time
}

interface SessionsTable {
  id: Id
  user_id: number
  secret_hash: string
  browser_session_id: string
  cookie_key_id: string
  provider: string
  created_at: Fixed<Time>
  last_seen_at: Time
  authenticated_at: Time
  expires_at: Time
  provider_session: string | null
  admin: Generated<Flag>
}

interface LoginAttemptsTable {
  id: Id
  secret_hash: string
  provider: string
  data: JsonText
  next_url: string | null
  created_at: Fixed<Time>
  expires_at: Time
}

interface OauthClientsTable {
  id: Id
  identifier: string
  description: string
  secret_hash: string
  redirect_uri: string
  allowed_scopes: JsonText
  require_pkce: Flag
  server_id: number | null
  service_id: number | null
}

interface OauthCodesTable {
  id: Id
  client_id: number
  user_id: number
  session_id: number | null
  code_hash: string
  redirect_uri: string
  scopes: JsonText
  browser_session_id: string | null
  code_challenge: string | null
  code_challenge_method: string | null
  expires_at: Time
  consumed_at: Time | null
}

interface ApiTokensTable {
  id: Id
  user_id: number | null
  service_id: number | null
  server_id: number | null
  client_id: number | null
  session_id: number | null
  code_id: number | null
  hashed: string
  prefix: string
  scopes: JsonText
  note: string
  browser_session_id: string | null
  created_at: Fixed<Time>
  expires_at: Time | null
  last_activity_at: Time | null
}

interface AuditEventsTable {
  id: Id
  action: string
  actor: string | null
  target: string | null
  peer: string | null
  detail: JsonText
  at: Time
}

interface ServicesTable {
  id: Id
  name: string
  url: string | null
  info: JsonText
  command: JsonText
  environment: JsonText
  cwd: string | null
  os_user: string | null
  oauth_client_id: string | null
  oauth_client_allowed_scopes: JsonText
  oauth_redirect_uri: string | null
  oauth_required_pkce: string | null
  admin: Flag
  display: Flag
  oauth_no_confirm: Flag
  timeout_seconds: number
  from_config: Flag
  created_at: Fixed<Time>
}

interface SharesTable {
  id: Id
  server_id: number
  owner_id: number
  /** Either this or `group_id` is set. */
  user_id: number | null
  group_id: number | null
  scopes: JsonText
  created_at: Fixed<Time>
  expires_at: Time | null
}

interface ShareCodesTable {
  id: Id
  server_id: number
  owner_id: number
  hashed: string
  prefix: string
  scopes: JsonText
  created_at: Fixed<Time>
  expires_at: Time
  exchange_count: number
  last_exchanged_at: Time | null
}

/** The tables that the store reads and writes so far; `migrations/` has them all. */
export interface Schema {
  users: UsersTable
  identities: IdentitiesTable
  groups: GroupsTable
  user_groups: { user_id: number; group_id: number; managed_by_auth: Flag }
  roles: RolesTable
  user_roles: { user_id: number; role_id: number; managed_by_auth: Flag }
  group_roles: { group_id: number; role_id: number; managed_by_auth: Flag }
  service_roles: { service_id: number; role_id: number; managed_by_auth: Flag }
  services: ServicesTable
  servers: ServersTable
  shares: SharesTable
  share_codes: ShareCodesTable
  native_passwords: {
    user_id: number
    password_hash: string
    approved: Flag
    created_at: Fixed<Time>
    changed_at: Time | null
    encrypted_totp_secret: Buffer | null
    totp_last_step: number | null
  }
  processes: ProcessesTable
  sessions: SessionsTable
  login_attempts: LoginAttemptsTable
  oauth_clients: OauthClientsTable
  oauth_codes: OauthCodesTable
  api_tokens: ApiTokensTable
  settings: { key: string; value: string }
  audit_events: AuditEventsTable
  schema_migrations: { name: string; applied_at: Time }
}
