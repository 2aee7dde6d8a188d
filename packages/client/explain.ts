import type { ExplanationModel, LoginExplanationModel, UserExplanationModel } from './models.ts'
import { json, segment, type Transport } from './transport.ts'

/** May this user, or this token, do what the scope allows, on this target? */
export type Question = ({ readonly user: string } | { readonly token: string }) & {
  readonly scope: string
  /** `user=ada`, `server=ada/lab`, `group=g`, `service=s`; absent: on everything. */
  readonly target?: string
}

/** Why somebody may do something, or may not. */
export function explainCalls({ send }: Transport) {
  return {
    explain: async (question: Question) =>
      json<ExplanationModel>(await send('explain', { query: { ...question } })),

    /** Which rule lets somebody of this name log in, or keeps them out. */
    explainLogin: async (name: string) =>
      json<LoginExplanationModel>(await send('explain/login', { query: { user: name } })),

    /** Everything that a user may do, and what from. */
    async explainUser(name: string) {
      const query = { explain: 1 }
      return json<UserExplanationModel>(await send(`users/${segment(name)}`, { query }))
    },
  }
}
