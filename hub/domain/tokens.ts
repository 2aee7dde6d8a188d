import { HubError } from '../../packages/core/errors.ts'
import { unknownScopes } from '../../packages/core/scopes.ts'
import type { Events } from '../events.ts'
import type { RoleStore } from '../store/roles.ts'
import type { Token, TokenStore } from '../store/tokens.ts'
import type { User } from '../store/users.ts'
import type { Access, Owner } from './access.ts'
import type { Changes } from './changes.ts'
import { scopesOfRoles } from './roles.ts'

/** A token whose `scopes` are those it has now, expanded; `raw` are those it was made with. */
export type ListedToken = Token & { readonly raw: readonly string[] }

export interface NewApiToken {
  readonly note: string
  /** Null or 0: no expiry, unless the hub caps it. */
  readonly expiresInSeconds: number | null
  /** Raw scopes; null, without `roles` either: those of the role `token`, which is all rights of the owner. */
  readonly scopes: readonly string[] | null
  /** Names of roles whose scopes the token gets once and for all. Not together with `scopes`. */
  readonly roles?: readonly string[] | null
}

export interface Tokens {
  of(user: User): Promise<readonly ListedToken[]>
  /** @throws {HubError} `not_found`. */
  byId(user: User, id: number): Promise<ListedToken>
  /** Whosever it is. @throws {HubError} `not_found`. */
  find(id: number): Promise<{ readonly token: ListedToken; readonly owner: Owner }>
  /**
   * Whoever may make tokens for a user acts for them: only what the user holds is a limit, not what
   * the maker holds, as on JupyterHub.
   * @throws {HubError} `invalid_request` for unknown roles or scopes, scopes the owner lacks, or too long a life.
   */
  create(
    user: User,
    token: NewApiToken,
    by: string,
  ): Promise<{ readonly token: ListedToken; readonly secret: string }>
  /** Revokes it; of a token that an OAuth client got, all tokens of that user and client. */
  revoke(user: User, token: Token, by: string): Promise<void>
}

export interface TokensDeps {
  readonly store: TokenStore
  readonly roles: RoleStore
  readonly access: Access
  readonly changes: Changes
  readonly events: Events
  readonly clock: () => Date
  /** Seconds; 0 is no cap. */
  readonly longestLife: number
}

export function createTokens(deps: TokensDeps): Tokens {
  const { store, access, changes, events, clock, longestLife } = deps

  const effective = async (owner: Owner, tokens: readonly Token[]): Promise<ListedToken[]> => {
    const scopes = await access.effectiveScopes(owner, tokens)
    return tokens.map((token, index) => {
      const own = [...(scopes[index] ?? [])]
      return {
        ...token,
        raw: token.scopes,
        scopes: own.toSorted((one, other) => (one < other ? -1 : 1)),
      }
    })
  }

  const find: Tokens['find'] = async (id) => {
    const stored = await store.findById(id, clock())
    const owner = stored && (await access.ownerOf(stored))
    const [token] = owner ? await effective(owner, [stored]) : []
    if (owner && token) return { token, owner }
    throw new HubError('not_found', `there is no token a${id}`)
  }

  const byId = async (user: User, id: number): Promise<ListedToken> => {
    const stored = await store.findById(id, clock())
    const [token] =
      stored?.userId === user.id ? await effective({ kind: 'user', user }, [stored]) : []
    if (!token) throw new HubError('not_found', `there is no token a${id}`)
    return token
  }

  return {
    of: async (user) => effective({ kind: 'user', user }, await store.ofUser(user.id, clock())),
    byId,
    find,

    async create(user, { note, expiresInSeconds, ...wanted }, by) {
      const expiresAt = expiry(expiresInSeconds, longestLife, clock())
      const scopes = await scopesFor(deps, user, wanted)
      const { id, secret } = await store.issue(
        { userId: user.id, scopes, note, expiresAt },
        clock(),
      )
      events.emit({ kind: 'token-issued', user: user.name, by })
      return { token: await byId(user, id), secret }
    },

    async revoke(user, token, by) {
      await (token.client === null
        ? store.revoke(token.id)
        : store.revokeOfClient(user.id, token.client.id))
      changes.touchRights(user.id)
      events.emit({ kind: 'token-revoked', user: user.name, by })
    },
  }
}

/** When a token made now ends: the cap also holds for those who ask for no end. */
function expiry(seconds: number | null, longestLife: number, now: Date): Date | null {
  const wanted = seconds === null || seconds === 0 ? null : seconds
  if (longestLife > 0 && wanted !== null && wanted > longestLife)
    throw new HubError('invalid_request', `expires_in must not exceed ${longestLife}`)
  const life = wanted ?? (longestLife > 0 ? longestLife : null)
  return life === null ? null : new Date(now.getTime() + life * 1000)
}

/** The raw scopes of a new token. It never gets what its owner does not have. */
async function scopesFor(
  { roles, access }: TokensDeps,
  user: User,
  wanted: Pick<NewApiToken, 'scopes' | 'roles'>,
): Promise<readonly string[]> {
  if (wanted.scopes && wanted.roles)
    throw new HubError('invalid_request', 'a token gets either scopes or roles, not both')
  const scopes = wanted.scopes ?? (await scopesOfRoles(roles, wanted.roles ?? ['token']))
  const unknown = unknownScopes(scopes, access.catalogue)
  if (unknown.length > 0)
    throw new HubError('invalid_request', `unknown scopes: ${unknown.join(', ')}`)
  const excess = await access.excessOf({ kind: 'user', user }, scopes)
  if (excess.length === 0) return scopes
  throw new HubError(
    'invalid_request',
    `Not assigning requested scopes ${excess.join(', ')}: ${user.name} does not have them`,
  )
}
