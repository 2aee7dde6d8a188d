import type { Selectable } from 'kysely'
import { HubError } from '../../packages/core/errors.ts'
import type { Json } from '../../packages/core/spawner.ts'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'
import { hashSecret } from './tokens.ts'

/** A service as stored. What only starts its command (variables, account) stays in the config. */
export interface StoredService {
  readonly id: number
  readonly name: string
  readonly admin: boolean
  readonly url: string | null
  /** Empty for services that run by themselves. */
  readonly command: readonly string[]
  readonly info: Readonly<Record<string, Json>>
  readonly display: boolean
  /** Seconds. */
  readonly timeout: number
  /** Null: `service-NAME`. */
  readonly oauthClientId: string | null
  /** Null: below the service's prefix. */
  readonly oauthRedirectUri: string | null
  readonly oauthClientAllowedScopes: readonly string[]
  readonly oauthNoConfirm: boolean
  /** False for services made through the API. */
  readonly fromConfig: boolean
}

export interface ServiceStore {
  all(): Promise<readonly StoredService[]>
  /** Makes the service, or gives the one of that name these values; `admin` also is the role of that name. */
  save(service: Omit<StoredService, 'id'>, now: Date): Promise<StoredService>
  /** Deletes it with its token, its OAuth client and the tokens that people got through that. */
  delete(id: number): Promise<void>
  /**
   * Makes this the one token of the service; null: it has none.
   * @throws {HubError} `invalid_request` when the token belongs to somebody else.
   */
  setToken(id: number, secret: string | null, now: Date): Promise<void>
}

export function serviceStore({ db }: Database): ServiceStore {
  return {
    async all() {
      const rows = await db.selectFrom('services').selectAll().orderBy('id').execute()
      return rows.map(fromRow)
    },

    async save(service, now) {
      const values = toRow(service)
      return db.transaction().execute(async (transaction) => {
        const row = await transaction
          .insertInto('services')
          .values({ name: service.name, ...values, created_at: now.getTime() })
          .onConflict((conflict) => conflict.column('name').doUpdateSet(values))
          .returningAll()
          .executeTakeFirstOrThrow()
        await syncAdminRole(transaction, row.id, service.admin)
        return fromRow(row)
      })
    },

    async delete(id) {
      await db.deleteFrom('services').where('id', '=', id).execute()
    },

    async setToken(id, secret, now) {
      const hashed = secret === null ? null : hashSecret(secret)
      await db.transaction().execute(async (transaction) => {
        const former = await transaction
          .selectFrom('api_tokens')
          .select(['id', 'service_id', 'hashed'])
          .where((e) => e.or([e('service_id', '=', id), e('hashed', '=', hashed ?? '')]))
          .execute()
        if (former.some((token) => token.service_id !== id))
          throw new HubError('invalid_request', 'this token belongs to somebody else: take another')
        const stale = former.filter((token) => token.hashed !== hashed).map((token) => token.id)
        await transaction.deleteFrom('api_tokens').where('id', 'in', stale).execute()
        if (secret !== null && hashed !== null && stale.length === former.length)
          await transaction
            .insertInto('api_tokens')
            .values(newToken(id, secret, now))
            .execute()
      })
    },
  }
}

async function syncAdminRole(db: Database['db'], id: number, admin: boolean): Promise<void> {
  const role = await db
    .selectFrom('roles')
    .select('id')
    .where('name', '=', 'admin')
    .executeTakeFirst()
  if (!role) return
  await (admin
    ? db
        .insertInto('service_roles')
        .values({ service_id: id, role_id: role.id, managed_by_auth: 0 })
        .onConflict((conflict) => conflict.doNothing())
        .execute()
    : db
        .deleteFrom('service_roles')
        .where('service_id', '=', id)
        .where('role_id', '=', role.id)
        .execute())
}

function newToken(serviceId: number, secret: string, now: Date) {
  return {
    user_id: null,
    service_id: serviceId,
    server_id: null,
    client_id: null,
    session_id: null,
    code_id: null,
    browser_session_id: null,
    hashed: hashSecret(secret),
    prefix: secret.slice(0, 4),
    scopes: JSON.stringify(['inherit']),
    note: 'the token of the service',
    created_at: now.getTime(),
    expires_at: null,
    last_activity_at: null,
  }
}

function toRow(service: Omit<StoredService, 'id'>) {
  return {
    url: service.url,
    info: JSON.stringify(service.info),
    command: JSON.stringify(service.command),
    environment: '{}',
    cwd: null,
    os_user: null,
    oauth_client_id: service.oauthClientId,
    oauth_client_allowed_scopes: JSON.stringify(service.oauthClientAllowedScopes),
    oauth_redirect_uri: service.oauthRedirectUri,
    oauth_required_pkce: null,
    admin: Number(service.admin),
    display: Number(service.display),
    oauth_no_confirm: Number(service.oauthNoConfirm),
    timeout_seconds: service.timeout,
    from_config: Number(service.fromConfig),
  }
}

function fromRow(row: Selectable<Schema['services']>): StoredService {
  return {
    id: row.id,
    name: row.name,
    admin: row.admin === 1,
    url: row.url,
    command: JSON.parse(row.command) as string[],
    info: JSON.parse(row.info) as Record<string, Json>,
    display: row.display === 1,
    timeout: row.timeout_seconds,
    oauthClientId: row.oauth_client_id,
    oauthRedirectUri: row.oauth_redirect_uri,
    oauthClientAllowedScopes: JSON.parse(row.oauth_client_allowed_scopes) as string[],
    oauthNoConfirm: row.oauth_no_confirm === 1,
    fromConfig: row.from_config === 1,
  }
}
