import { HubError } from '../../packages/core/errors.ts'
import { expandScopes, isScope, type Resource } from '../../packages/core/scopes.ts'
import type { Grant } from '../store/roles.ts'
import { type Access, nameOf, type Owner, rawScopesOf, scopeOwnerOf } from './access.ts'
import { type Explanation, explain, type Reason } from './explain.ts'
import type { ListedToken, Tokens } from './tokens.ts'
import type { User } from './users.ts'

/** About whom is asked: a user or service itself, or one of its tokens. */
export interface About {
  readonly owner: Owner
  readonly token: ListedToken | null
}

/** Everything that somebody may do, and what from. */
export interface Overview {
  /** Raw, as roles and shares have them. */
  readonly grants: readonly Grant[]
  /** Each expanded scope with what grants it. */
  readonly scopes: ReadonlyMap<string, readonly Reason[]>
  readonly tokens: readonly ListedToken[]
}

/** Answers why somebody may do something, or may not. */
export interface Explanations {
  ofUser(user: User): Promise<Overview>
  /** @throws {HubError} `not_found`. */
  ofToken(id: number): Promise<About>
  /** @throws {HubError} `invalid_request` for a scope that does not exist. */
  ask(about: About, scope: string, resource: Resource): Promise<Explanation>
}

export interface ExplanationsDeps {
  readonly access: Access
  readonly tokens: Tokens
}

export function createExplanations({ access, tokens }: ExplanationsDeps): Explanations {
  return {
    async ofUser(user) {
      const owner = { kind: 'user', user } as const
      const { grants, scopes } = await access.rightsOf(owner)
      const named = scopeOwnerOf(owner, null)
      const found = new Map([...scopes].map((scope) => [scope, [] as Reason[]]))
      for (const { kind, name, group, scopes: raw } of grants)
        for (const scope of raw)
          for (const one of expandScopes([scope], named, access.catalogue))
            found.get(one)?.push({ kind, name, group, scope })
      return { grants, scopes: found, tokens: await tokens.of(user) }
    },

    ofToken: (id) => tokens.find(id),

    async ask({ owner, token }, scope, resource) {
      if (scope.includes('!') || !isScope(scope, access.catalogue))
        throw new HubError(
          'invalid_request',
          `there is no scope ${JSON.stringify(scope.slice(0, 100))}`,
        )
      const { grants } = await access.rightsOf(owner)
      const groups = 'user' in resource ? await access.groupsOf(resource.user) : []
      const narrows = token && !token.raw.includes('inherit')
      const subject = {
        name: token ? `token a${token.id} of ${nameOf(owner)}` : nameOf(owner),
        grants,
        tokenScopes: narrows ? rawScopesOf({ ...token, scopes: token.raw }) : null,
        owner: scopeOwnerOf(owner, token?.client ?? null),
      }
      return explain(subject, { scope, resource, groups }, access.catalogue)
    },
  }
}
