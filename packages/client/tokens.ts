import type { NewTokenModel, TokenModel } from './models.ts'
import { json, segment, type Transport } from './transport.ts'

export interface NewToken {
  readonly note?: string
  /** Seconds; absent or 0: as long as the hub allows. */
  readonly expiresIn?: number
  /** Absent: everything that the owner may do. Not together with `roles`. */
  readonly scopes?: readonly string[]
  /** Resolved to their scopes at once. */
  readonly roles?: readonly string[]
  /** Logs in with these fields, for callers without credentials of their own. */
  readonly auth?: { readonly username: string; readonly password: string }
}

/** API tokens of users. */
export function tokenCalls({ send }: Transport) {
  const path = (user: string): string => `users/${segment(user)}/tokens`
  return {
    /** All of them, also those of servers and of OAuth clients. */
    async tokens(user: string) {
      const answer = await send(path(user))
      return json<{ readonly api_tokens: readonly TokenModel[] }>(answer).api_tokens
    },

    token: async (user: string, id: string) =>
      json<TokenModel>(await send(`${path(user)}/${segment(id)}`)),

    /** The only time that the secret, `token`, is shown. */
    async createToken(user: string, { expiresIn, ...token }: NewToken = {}) {
      const request = { method: 'POST', body: { ...token, expires_in: expiresIn } } as const
      return json<NewTokenModel>(await send(path(user), request))
    },

    /** Of a token that an OAuth client got, all tokens of that user and client. */
    async revokeToken(user: string, id: string): Promise<void> {
      await send(`${path(user)}/${segment(id)}`, { method: 'DELETE' })
    },
  }
}
