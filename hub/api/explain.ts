import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import { allows, type Resource } from '../../packages/core/scopes.ts'
import { type Access, type Caller, type Owner, requireScope, userOf } from '../domain/access.ts'
import { filterOf, readTarget } from '../domain/explain.ts'
import type { About, Explanations, Overview } from '../domain/explanations.ts'
import type { Login } from '../domain/login.ts'
import type { User, Users } from '../domain/users.ts'
import { type Endpoint, endpoint, json, type Reply } from './endpoint.ts'
import { tokenId } from './tokens.ts'

export interface ExplainApiDeps {
  readonly access: Access
  readonly users: Users
  readonly explanations: Explanations
}

const reason = z.object({
  kind: z.enum(['role', 'share']),
  name: z.string(),
  group: z.string().nullable(),
  scope: z.string(),
})

const question = z.object({
  user: z.string().optional().meta({ description: 'Whom it is about' }),
  token: z.string().optional().meta({ description: 'Or which token, such as a12' }),
  scope: z.string().max(1023).meta({ description: 'Such as read:users' }),
  target: z.string().max(1023).optional().meta({ description: 'Such as user=ada, server=ada/' }),
})

/** Why somebody may do something, or may not; Portico's own. */
export function explainEndpoints(
  deps: ExplainApiDeps & { readonly login: Pick<Login, 'explain'> },
): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/explain',
      summary: 'Why a user or token has a scope, or lacks it',
      access: { by: 'handler', scopes: ['admin:users'] },
      query: question,
      answers: {
        200: z.object({
          allowed: z.boolean(),
          scope: z.string(),
          target: z.string().nullable(),
          because: z.array(reason),
          by_token: z.boolean().nullable(),
          message: z.string(),
        }),
      },
      async handle({ query, identify }) {
        const about = await subjectOf(deps, query, await identify())
        const [scope = '', filter] = query.scope.split('!', 2)
        const target = query.target ?? filter
        const resource = target === undefined ? ({ kind: 'none' } as const) : targetOf(target)
        const { byToken, ...answer } = await deps.explanations.ask(about, scope, resource)
        const named = filterOf(resource).slice(1) || null
        return json({ ...answer, by_token: byToken, scope, target: named })
      },
    }),
    endpoint({
      method: 'GET',
      path: '/explain/login',
      summary: 'Which rule lets somebody log in, or keeps them out',
      access: { scopes: ['admin:users'], on: 'none' },
      query: z.object({
        user: z.string().min(1).max(255).meta({ description: 'Whoever proves to be this user' }),
      }),
      answers: {
        200: z.object({
          user: z.string(),
          exists: z.boolean(),
          allowed: z.boolean(),
          rule: z.string(),
          message: z.string(),
        }),
      },
      async handle({ query }) {
        const { userName, ...answer } = await deps.login.explain(query.user)
        const { allowed, rule, exists } = answer
        const who = `${userName}${exists ? '' : ' (no user yet)'}`
        const message = allowed
          ? `${who} may log in, by ${rule}. Whether the password or the provider's word is right is not looked at.`
          : `${who} may not log in: ${rule}.`
        return json({ user: userName, ...answer, message })
      },
    }),
  ]
}

function targetOf(text: string): Resource {
  const resource = readTarget(text)
  if (resource) return resource
  throw new HubError(
    'invalid_request',
    'target must be user=NAME, server=USER/NAME, group=NAME or service=NAME',
  )
}

async function subjectOf(
  deps: ExplainApiDeps,
  {
    user: name,
    token,
  }: { readonly user?: string | undefined; readonly token?: string | undefined },
  caller: Caller | null,
): Promise<About> {
  if ((name === undefined) === (token === undefined))
    throw new HubError('invalid_request', 'ask about either a user or a token')
  if (name !== undefined) {
    await mayAsk(deps, caller, name)
    return { owner: { kind: 'user', user: await deps.users.byName(name) }, token: null }
  }
  if (!caller) throw new HubError('not_authenticated', 'Missing or invalid credentials.')
  const about = await deps.explanations.ofToken(tokenId(token ?? ''))
  await mayAskOf(deps, caller, about.owner)
  return about
}

/** Whoever administers a user may know why they may do something, and so may they themselves. */
async function mayAsk(
  { access }: Pick<ExplainApiDeps, 'access'>,
  caller: Caller | null,
  name: string,
): Promise<void> {
  const scopes = userOf(caller)?.name === name ? ['admin:users', 'read:users'] : ['admin:users']
  await requireScope(access, caller, scopes, { kind: 'user', user: name })
}

async function mayAskOf(deps: ExplainApiDeps, caller: Caller, owner: Owner): Promise<void> {
  if (owner.kind === 'user') {
    const { name } = owner.user
    await requireScope(deps.access, caller, ['read:tokens'], { kind: 'user', user: name })
    return mayAsk(deps, caller, name)
  }
  const service = owner.kind === 'service' ? owner.service.name : ''
  await requireScope(deps.access, caller, ['admin:services'], { kind: 'service', service })
}

/** The shape of such an explanation. */
export const explanationSchema = z.object({
  kind: z.literal('explanation'),
  name: z.string(),
  grants: z.array(
    z.object({
      kind: z.enum(['role', 'share']),
      name: z.string(),
      group: z.string().nullable(),
      scopes: z.array(z.string()),
    }),
  ),
  scopes: z.record(z.string(), z.array(reason)),
  tokens: z.array(
    z.object({
      id: z.string(),
      note: z.string().nullable(),
      requested: z.array(z.string()),
      scopes: z.array(z.string()),
    }),
  ),
})

/** `GET /users/NAME?explain`: everything that the user may do, and what from; tokens for who may read them. */
export async function explained(
  deps: ExplainApiDeps,
  caller: Caller,
  name: string,
): Promise<Reply> {
  await mayAsk(deps, caller, name)
  const user = await deps.users.byName(name)
  const { tokens, ...rest } = await deps.explanations.ofUser(user)
  const seesTokens = await holds(deps, caller, 'read:tokens', name)
  return json(overviewModel(user, { ...rest, tokens: seesTokens ? tokens : [] }))
}

async function holds(
  { access }: ExplainApiDeps,
  { scopes }: Caller,
  scope: string,
  name: string,
): Promise<boolean> {
  const groups = await access.groupsOf(name)
  return allows(scopes, scope, { kind: 'user', user: name }, () => groups)
}

function overviewModel(user: User, { grants, scopes, tokens }: Overview) {
  return {
    kind: 'explanation',
    name: user.name,
    grants,
    scopes: Object.fromEntries([...scopes].toSorted(([one], [other]) => (one < other ? -1 : 1))),
    tokens: tokens.map(({ id, note, raw, scopes: effective }) => ({
      id: `a${id}`,
      note,
      requested: raw,
      scopes: effective,
    })),
  }
}
