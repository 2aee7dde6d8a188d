import type { Selectable } from 'kysely'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'
import { hashSecret, tokenHolders } from './tokens.ts'

/** A server or service that may send browsers to the hub's authorize page. */
export interface OauthClient {
  readonly id: number
  readonly identifier: string
  readonly description: string
  readonly secretHash: string
  readonly redirectUri: string
  readonly allowedScopes: readonly string[]
  readonly requirePkce: boolean
  /** The server it stands for, with its owner's name; null for other clients. */
  readonly server: {
    readonly userId: number
    readonly userName: string
    readonly name: string
  } | null
  /** The service it stands for; null for other clients. */
  readonly service: {
    readonly id: number
    readonly name: string
    /** Whether people are logged in without being asked. */
    readonly noConfirm: boolean
  } | null
}

type ClientSettings = Omit<OauthClient, 'id' | 'secretHash' | 'server' | 'service'> & {
  readonly secret: string
}

export type NewOauthClient = ClientSettings & { readonly serverId: number | null }

export type ServiceOauthClient = ClientSettings & { readonly serviceId: number }

/** An authorization code, found by its hash. */
export interface OauthCode {
  readonly id: number
  readonly clientId: number
  readonly userId: number
  readonly sessionId: number | null
  readonly browserSessionId: string | null
  readonly redirectUri: string
  readonly scopes: readonly string[]
  readonly codeChallenge: string | null
  readonly codeChallengeMethod: string | null
  readonly expiresAt: Date
  readonly consumed: boolean
}

export interface OauthStore {
  /**
   * Makes the client, or replaces one of the same identifier together with its codes and tokens.
   * Resolves to the ids of the users who thereby lose tokens.
   */
  registerClient(client: NewOauthClient): Promise<readonly number[]>
  /**
   * Makes or changes the one client of a service. Its codes and tokens stay valid unless the client
   * id, where it returns to or what it may ask for is another one; resolves to the ids of the users
   * who thereby lose tokens.
   */
  saveServiceClient(client: ServiceOauthClient): Promise<readonly number[]>
  /** The same for a service that logs nobody in any more. */
  deleteServiceClient(serviceId: number): Promise<readonly number[]>
  findClient(identifier: string): Promise<OauthClient | null>
  saveCode(code: string, record: Omit<OauthCode, 'id' | 'consumed'>): Promise<void>
  findCode(code: string): Promise<OauthCode | null>
  /** True exactly once per code. */
  consumeCode(id: number, now: Date): Promise<boolean>
  /** Raw scopes of the tokens `userId` already holds from this client. */
  grantedScopes(userId: number, clientId: number, now: Date): Promise<readonly string[]>
  purgeExpired(now: Date): Promise<void>
}

type ClientRow = Selectable<Schema['oauth_clients']> & {
  readonly ownerId: number | null
  readonly ownerName: string | null
  readonly serverName: string | null
  readonly serviceName: string | null
  readonly noConfirm: number | null
}
type CodeRow = Selectable<Schema['oauth_codes']>

/** Consumed codes are remembered this long, so that a second use still revokes what the first one gave. */
const replayMemory = 24 * 3600 * 1000

export function oauthStore({ db }: Database): OauthStore {
  return {
    async registerClient(client) {
      return db.transaction().execute(async (transaction) => {
        const holders = await tokenHolders(transaction, (e) =>
          e('oauth_clients.identifier', '=', client.identifier),
        )
        await transaction
          .deleteFrom('oauth_clients')
          .where('identifier', '=', client.identifier)
          .execute()
        await transaction
          .insertInto('oauth_clients')
          .values({ ...settingsOf(client), server_id: client.serverId, service_id: null })
          .execute()
        return holders
      })
    },

    async saveServiceClient(client) {
      const { serviceId } = client
      const settings = settingsOf(client)
      return db.transaction().execute(async (transaction) => {
        const { numUpdatedRows } = await transaction
          .updateTable('oauth_clients')
          .set(settings)
          .where('service_id', '=', serviceId)
          .where('identifier', '=', settings.identifier)
          .where('redirect_uri', '=', settings.redirect_uri)
          .where('allowed_scopes', '=', settings.allowed_scopes)
          .executeTakeFirst()
        if (numUpdatedRows > 0n) return []
        const holders = await dropServiceClient(transaction, serviceId)
        await transaction
          .insertInto('oauth_clients')
          .values({ ...settings, server_id: null, service_id: serviceId })
          .execute()
        return holders
      })
    },

    async deleteServiceClient(serviceId) {
      return db.transaction().execute((transaction) => dropServiceClient(transaction, serviceId))
    },

    async findClient(identifier) {
      const row = await db
        .selectFrom('oauth_clients')
        .leftJoin('servers', 'servers.id', 'oauth_clients.server_id')
        .leftJoin('users', 'users.id', 'servers.user_id')
        .leftJoin('services', 'services.id', 'oauth_clients.service_id')
        .selectAll('oauth_clients')
        .select(['users.id as ownerId', 'users.name as ownerName', 'servers.name as serverName'])
        .select(['services.name as serviceName', 'services.oauth_no_confirm as noConfirm'])
        .where('identifier', '=', identifier)
        .executeTakeFirst()
      return row ? clientFrom(row) : null
    },

    async saveCode(code, record) {
      await db
        .insertInto('oauth_codes')
        .values({
          client_id: record.clientId,
          user_id: record.userId,
          session_id: record.sessionId,
          code_hash: hashSecret(code),
          redirect_uri: record.redirectUri,
          scopes: JSON.stringify(record.scopes),
          browser_session_id: record.browserSessionId,
          code_challenge: record.codeChallenge,
          code_challenge_method: record.codeChallengeMethod,
          expires_at: record.expiresAt.getTime(),
          consumed_at: null,
        })
        .execute()
    },

    async findCode(code) {
      const row = await db
        .selectFrom('oauth_codes')
        .selectAll()
        .where('code_hash', '=', hashSecret(code))
        .executeTakeFirst()
      return row ? codeFrom(row) : null
    },

    async consumeCode(id, now) {
      const result = await db
        .updateTable('oauth_codes')
        .set({ consumed_at: now.getTime() })
        .where('id', '=', id)
        .where('consumed_at', 'is', null)
        .executeTakeFirst()
      return result.numUpdatedRows === 1n
    },

    async grantedScopes(userId, clientId, now) {
      const rows = await db
        .selectFrom('api_tokens')
        .select('scopes')
        .where('user_id', '=', userId)
        .where('client_id', '=', clientId)
        .where((e) => e.or([e('expires_at', 'is', null), e('expires_at', '>', now.getTime())]))
        .execute()
      return rows.flatMap((row) => JSON.parse(row.scopes) as string[])
    },

    async purgeExpired(now) {
      const before = now.getTime() - replayMemory
      await db.deleteFrom('oauth_codes').where('expires_at', '<=', before).execute()
    },
  }
}

function settingsOf(client: ClientSettings) {
  return {
    identifier: client.identifier,
    description: client.description,
    secret_hash: hashSecret(client.secret),
    redirect_uri: client.redirectUri,
    allowed_scopes: JSON.stringify(client.allowedScopes),
    require_pkce: Number(client.requirePkce),
  }
}

async function dropServiceClient(
  db: Database['db'],
  serviceId: number,
): Promise<readonly number[]> {
  const holders = await tokenHolders(db, (e) => e('oauth_clients.service_id', '=', serviceId))
  await db.deleteFrom('oauth_clients').where('service_id', '=', serviceId).execute()
  return holders
}

function clientFrom(row: ClientRow): OauthClient {
  return {
    id: row.id,
    identifier: row.identifier,
    description: row.description,
    secretHash: row.secret_hash,
    redirectUri: row.redirect_uri,
    allowedScopes: JSON.parse(row.allowed_scopes) as string[],
    requirePkce: row.require_pkce === 1,
    server:
      row.ownerId === null || row.ownerName === null || row.serverName === null
        ? null
        : { userId: row.ownerId, userName: row.ownerName, name: row.serverName },
    service:
      row.service_id === null || row.serviceName === null
        ? null
        : { id: row.service_id, name: row.serviceName, noConfirm: row.noConfirm === 1 },
  }
}

function codeFrom(row: CodeRow): OauthCode {
  return {
    id: row.id,
    clientId: row.client_id,
    userId: row.user_id,
    sessionId: row.session_id,
    browserSessionId: row.browser_session_id,
    redirectUri: row.redirect_uri,
    scopes: JSON.parse(row.scopes) as string[],
    codeChallenge: row.code_challenge,
    codeChallengeMethod: row.code_challenge_method,
    expiresAt: new Date(row.expires_at),
    consumed: row.consumed_at !== null,
  }
}
