import { createHash, hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { ExpressionBuilder, Nullable, Selectable } from 'kysely'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'

/** An API token as stored; its secret is known only to whoever was given it. */
export interface Token {
  readonly id: number
  /** Null for a service's token. */
  readonly userId: number | null
  readonly serviceId: number | null
  /** The server whose own token this is (`$JUPYTERHUB_API_TOKEN`), or null. */
  readonly serverId: number | null
  /** The OAuth client that it was issued to, or null for tokens of the hub itself. */
  readonly client: TokenClient | null
  readonly sessionId: number | null
  readonly browserSessionId: string | null
  /** Raw, as requested; `inherit` stands for all rights of the owner. */
  readonly scopes: readonly string[]
  readonly note: string
  readonly createdAt: Date
  readonly expiresAt: Date | null
  readonly lastActivityAt: Date | null
}

/** The OAuth client behind a token: a server, a service, or neither. */
export interface TokenClient {
  readonly id: number
  readonly description: string
  /** `user/server`, or null. */
  readonly server: string | null
  readonly service: string | null
}

/** A service as far as its tokens are concerned. */
export interface ServiceIdentity {
  readonly id: number
  readonly name: string
  readonly admin: boolean
}

/** What a new token is made of. Exactly one of `userId` and `serviceId` is its owner. */
export type NewToken = Pick<Token, 'userId' | 'scopes' | 'note' | 'expiresAt'> &
  Partial<Pick<Token, 'serviceId' | 'serverId' | 'sessionId' | 'browserSessionId'>> & {
    readonly clientId?: number | null
    readonly codeId?: number | null
  }

export interface TokenStore {
  /** Stores the hash and returns the secret, which nobody can read again. */
  issue(token: NewToken, now: Date): Promise<{ readonly id: number; readonly secret: string }>
  /** Null when the secret is unknown or expired. Reads JupyterHub's hash format too. */
  find(secret: string, now: Date): Promise<Token | null>
  findById(id: number, now: Date): Promise<Token | null>
  /** Newest activity first; expired ones left out. */
  ofUser(userId: number, now: Date): Promise<readonly Token[]>
  /** The service that owns some token. */
  findService(id: number): Promise<ServiceIdentity | null>
  revoke(id: number): Promise<void>
  /** All tokens that `userId` got through one OAuth client. */
  revokeOfClient(userId: number, clientId: number): Promise<void>
  /** What the code was exchanged for. Resolves to the ids. */
  revokeOfCode(codeId: number): Promise<readonly number[]>
  /** All tokens of a user; `servers` also those that their servers run with. Resolves to how many. */
  revokeOfUser(userId: number, options: { readonly servers: boolean }): Promise<number>
  purgeExpired(now: Date): Promise<void>
  recordUse(entries: ReadonlyMap<number, Date>): Promise<void>
}

type Row = Selectable<Schema['api_tokens']> & {
  readonly client: string | null
  readonly clientServer: string | null
  readonly clientUser: string | null
  readonly clientService: string | null
}

/** The stored form of a secret that the hub made: 256 random bits need no salt and no rounds. */
export function hashSecret(secret: string): string {
  return `sha256:${hash('sha256', secret, 'hex')}`
}

/** Whether this stored form, ours or JupyterHub's, is that of `secret`. Takes the same time for every answer. */
export function matchesHash(secret: string, stored: string): boolean {
  if (stored.startsWith('sha512:')) return matchesJupyterHubHash(secret, stored)
  const actual = Buffer.from(hashSecret(secret))
  const expected = Buffer.from(stored)
  return actual.length === expected.length && timingSafeEqual(actual, expected)
}

/** Ids of the users who hold tokens that match; `oauth_clients` are those that the tokens were issued to. */
export async function tokenHolders(
  db: Database['db'],
  which: (e: TokenExpression) => ReturnType<TokenExpression['or']>,
): Promise<readonly number[]> {
  const rows = await db
    .selectFrom('api_tokens')
    .leftJoin('oauth_clients', 'oauth_clients.id', 'api_tokens.client_id')
    .select('api_tokens.user_id')
    .distinct()
    .where((e) => which(e))
    .execute()
  return rows.flatMap((row) => row.user_id ?? [])
}

type TokenExpression = ExpressionBuilder<
  Schema & { oauth_clients: Nullable<Schema['oauth_clients']> },
  'api_tokens' | 'oauth_clients'
>

/** A url-safe secret of 256 random bits. */
export const newSecret = (): string => randomBytes(32).toString('base64url')

export function tokenStore({ db }: Database): TokenStore {
  const alive = (now: Date) =>
    db
      .selectFrom('api_tokens')
      .leftJoin('oauth_clients', 'oauth_clients.id', 'api_tokens.client_id')
      .leftJoin('servers', 'servers.id', 'oauth_clients.server_id')
      .leftJoin('users', 'users.id', 'servers.user_id')
      .leftJoin('services', 'services.id', 'oauth_clients.service_id')
      .selectAll('api_tokens')
      .select([
        'oauth_clients.description as client',
        'servers.name as clientServer',
        'users.name as clientUser',
        'services.name as clientService',
      ])
      .where((e) => e.or([e('expires_at', 'is', null), e('expires_at', '>', now.getTime())]))

  return {
    async issue(token, now) {
      const secret = newSecret()
      const { id } = await db
        .insertInto('api_tokens')
        .values({
          user_id: token.userId,
          service_id: token.serviceId ?? null,
          server_id: token.serverId ?? null,
          client_id: token.clientId ?? null,
          session_id: token.sessionId ?? null,
          code_id: token.codeId ?? null,
          browser_session_id: token.browserSessionId ?? null,
          hashed: hashSecret(secret),
          prefix: secret.slice(0, 4),
          scopes: JSON.stringify(token.scopes),
          note: token.note,
          created_at: now.getTime(),
          expires_at: token.expiresAt?.getTime() ?? null,
          last_activity_at: null,
        })
        .returning('id')
        .executeTakeFirstOrThrow()
      return { id, secret }
    },

    async find(secret, now) {
      const own = await alive(now).where('hashed', '=', hashSecret(secret)).executeTakeFirst()
      if (own) return fromRow(own)
      const imported = await alive(now)
        .where('prefix', '=', secret.slice(0, 4))
        .where('hashed', 'like', 'sha512:%')
        .execute()
      const match = imported.find((row) => matchesJupyterHubHash(secret, row.hashed))
      return match ? fromRow(match) : null
    },

    async findById(id, now) {
      const row = await alive(now).where('api_tokens.id', '=', id).executeTakeFirst()
      return row ? fromRow(row) : null
    },

    async ofUser(userId, now) {
      const rows = await alive(now)
        .where('api_tokens.user_id', '=', userId)
        .orderBy(
          (e) => e.fn.coalesce('api_tokens.last_activity_at', 'api_tokens.created_at'),
          'desc',
        )
        .execute()
      return rows.map(fromRow)
    },

    async findService(id) {
      const row = await db
        .selectFrom('services')
        .select(['id', 'name', 'admin'])
        .where('id', '=', id)
        .executeTakeFirst()
      return row ? { id: row.id, name: row.name, admin: row.admin === 1 } : null
    },

    async revoke(id) {
      await db.deleteFrom('api_tokens').where('id', '=', id).execute()
    },

    async revokeOfClient(userId, clientId) {
      await db
        .deleteFrom('api_tokens')
        .where('user_id', '=', userId)
        .where('client_id', '=', clientId)
        .execute()
    },

    async revokeOfCode(codeId) {
      const query = db.deleteFrom('api_tokens').where('code_id', '=', codeId).returning('id')
      return (await query.execute()).map(({ id }) => id)
    },

    async revokeOfUser(userId, { servers }) {
      const all = db.deleteFrom('api_tokens').where('user_id', '=', userId)
      const query = servers ? all : all.where('server_id', 'is', null)
      return Number((await query.executeTakeFirst()).numDeletedRows)
    },

    async purgeExpired(now) {
      await db.deleteFrom('api_tokens').where('expires_at', '<=', now.getTime()).execute()
    },

    async recordUse(entries) {
      await db.transaction().execute(async (transaction) => {
        for (const [id, at] of entries)
          await transaction
            .updateTable('api_tokens')
            .set({ last_activity_at: at.getTime() })
            .where('id', '=', id)
            .execute()
      })
    },
  }
}

/**
 * JupyterHub's `algorithm:rounds:salt:digest`: the salt's text once, then the token `rounds` times
 * into one hash.
 */
function matchesJupyterHubHash(secret: string, stored: string): boolean {
  const [algorithm, rounds, salt, digest] = stored.split(':')
  if (algorithm !== 'sha512' || !salt || !digest) return false
  const rounded = createHash('sha512').update(salt)
  const bytes = Buffer.from(secret)
  for (let round = Math.min(Number(rounds), 100_000); round > 0; round -= 1) rounded.update(bytes)
  const actual = rounded.digest()
  const expected = Buffer.from(digest, 'hex')
  return actual.length === expected.length && timingSafeEqual(actual, expected)
}

const date = (time: number | null): Date | null => (time === null ? null : new Date(time))

function fromRow(row: Row): Token {
  return {
    id: row.id,
    userId: row.user_id,
    serviceId: row.service_id,
    serverId: row.server_id,
    client: clientOf(row),
    sessionId: row.session_id,
    browserSessionId: row.browser_session_id,
    scopes: JSON.parse(row.scopes) as string[],
    note: row.note,
    createdAt: new Date(row.created_at),
    expiresAt: date(row.expires_at),
    lastActivityAt: date(row.last_activity_at),
  }
}

function clientOf(row: Row): TokenClient | null {
  if (row.client_id === null) return null
  return {
    id: row.client_id,
    description: row.client ?? '',
    server: row.clientUser === null ? null : `${row.clientUser}/${row.clientServer ?? ''}`,
    service: row.clientService,
  }
}
