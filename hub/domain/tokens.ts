import { HubError } from '../../packages/core/errors.ts'
import { covers, expandScopes, isScope } from '../../packages/core/scopes.ts'
import type { Events } from '../events.ts'
import type { Token, TokenStore } from '../store/tokens.ts'
import type { User } from '../store/users.ts'
import type { Access } from './access.ts'
import type { Changes } from './changes.ts'

/** A token whose `scopes` are those it has now, expanded. */
export type ListedToken = Token

export interface NewApiToken {
  readonly note: string
  /** Null or 0: no expiry, unless the hub caps it. */
  readonly expiresInSeconds: number | null
  /** Raw scopes; null: all rights of the owner (`inherit`). */
  readonly scopes: readonly string[] | null
}

export interface Tokens {
  of(user: User): Promise<readonly ListedToken[]>
  /** @throws {HubError} `not_found`. */
  byId(user: User, id: number): Promise<ListedToken>
  /** @throws {HubError} `invalid_request` for unknown scopes, scopes the owner lacks, or too long a life. */
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
  readonly access: Access
  readonly changes: Changes
  readonly events: Events
  readonly clock: () => Date
  /** Seconds; 0 is no cap. */
  readonly longestLife: number
}

export function createTokens(deps: TokensDeps): Tokens {
  const { store, access, changes, events, clock, longestLife } = deps

  const of = async (user: User): Promise<readonly ListedToken[]> => {
    const effective = await access.effectiveScopes({ kind: 'user', user })
    const stored = await store.ofUser(user.id, clock())
    return stored.map((token) => ({ ...token, scopes: [...effective(token)].toSorted() }))
  }

  const byId = async (user: User, id: number): Promise<ListedToken> => {
    const token = (await of(user)).find((candidate) => candidate.id === id)
    if (!token) throw new HubError('not_found', `there is no token a${id}`)
    return token
  }

  return {
    of,
    byId,

    async create(user, { note, expiresInSeconds, scopes }, by) {
      const raw = scopes ?? ['inherit']
      const expiresAt = expiry(expiresInSeconds, longestLife, clock())
      await checkScopes(access, user, raw)
      const wanted = { userId: user.id, scopes: raw, note, expiresAt }
      const { id, secret } = await store.issue(wanted, clock())
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

/** A token never gets what its owner does not have. */
async function checkScopes(access: Access, user: User, scopes: readonly string[]): Promise<void> {
  const unknown = scopes.filter((scope) => !isScope(scope))
  if (unknown.length > 0)
    throw new HubError('invalid_request', `unknown scopes: ${unknown.join(', ')}`)
  if (scopes.includes('inherit')) return
  const { scopes: owned, groups } = await access.rightsOf({ kind: 'user', user })
  const groupsOf = (name: string): readonly string[] => (name === user.name ? groups : [])
  const wanted = [...expandScopes(scopes, { userName: user.name })]
  const excess = wanted.filter((scope) => !covers(owned, scope, groupsOf))
  if (excess.length > 0)
    throw new HubError(
      'invalid_request',
      `Not assigning requested scopes ${excess.join(', ')}: ${user.name} does not have them`,
    )
}
