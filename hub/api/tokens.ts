import { z } from 'zod'
import { HubError, statusOf } from '../../packages/core/errors.ts'
import { allows } from '../../packages/core/scopes.ts'
import { type Access, nameOf, type Owner } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import type { Login } from '../domain/login.ts'
import type { ListedToken, Tokens } from '../domain/tokens.ts'
import type { User, Users } from '../domain/users.ts'
import { type Endpoint, empty, endpoint, json } from './endpoint.ts'
import { tokenModel, tokenSchema } from './models.ts'

/** Seconds: a hundred years. More than dates can hold would never end. */
const longestExpiry = 100 * 365 * 86_400

/** Other keys mean nothing, as on JupyterHub: scripts send some that older hubs knew. */
const newToken = z.object({
  note: z.string().max(1023).nullish(),
  expires_in: z.int().min(0).max(longestExpiry).nullable().default(null),
  scopes: z.array(z.string().max(1023)).max(200).nullable().default(null),
  /** Names of roles, resolved to their scopes at once; not together with `scopes`. */
  roles: z.array(z.string().max(255)).max(200).nullable().default(null),
  /** What a login form would send, for callers without credentials. */
  auth: z.record(z.string(), z.unknown()).nullish(),
})

export interface TokensApiDeps {
  readonly users: Users
  readonly access: Access
  readonly login: Login
  readonly tokens: Tokens
  readonly activity: Activity
}

/** A user's API tokens (wire section 2.7). */
export function tokenEndpoints(deps: TokensApiDeps): readonly Endpoint[] {
  return [...manyTokens(deps), ...oneToken(deps)]
}

type Model = (token: ListedToken, user: User) => ReturnType<typeof tokenModel>

const modelWith =
  ({ activity }: TokensApiDeps): Model =>
  (token, user) =>
    tokenModel(token, user, activity.latest('token', token.id, token.lastActivityAt))

function manyTokens(deps: TokensApiDeps): readonly Endpoint[] {
  const { users, tokens } = deps
  const model = modelWith(deps)
  return [
    endpoint({
      method: 'GET',
      path: '/users/:user/tokens',
      summary: "List a user's tokens, those longest unused first",
      access: { scopes: ['read:tokens'], on: 'user' },
      answers: { 200: z.object({ api_tokens: z.array(tokenSchema) }) },
      async handle({ params }) {
        const user = await users.byName(params.user)
        const all = await tokens.of(user)
        const used = ({ id, lastActivityAt, createdAt }: ListedToken): number =>
          (deps.activity.latest('token', id, lastActivityAt) ?? createdAt).getTime()
        const sorted = all.toSorted((one, other) => used(one) - used(other))
        return json({ api_tokens: sorted.map((token) => model(token, user)) })
      },
    }),
    endpoint({
      method: 'POST',
      path: '/users/:user/tokens',
      summary: 'Make a token; its secret is shown only here',
      access: { by: 'handler', scopes: ['tokens'] },
      body: newToken,
      answers: { 201: tokenSchema.extend({ token: z.string() }) },
      async handle({ params, body, require, identify, context }) {
        const { note, expires_in: expiresInSeconds, scopes, roles } = body
        const { creator, user } = await creatorOf(users, params.user, async () => {
          if (!body.auth || (await identify())) return (await require(['tokens'], 'user')).owner
          return ownerBy(deps, body.auth, { name: params.user, peer: context.peer })
        })
        const told = note || noteOf(creator, user)
        const wanted = { note: told, expiresInSeconds, scopes, roles }
        const { token, secret } = await tokens.create(user, wanted, nameOf(creator))
        return json({ ...model(token, user), token: secret }, 201)
      },
    }),
  ]
}

function oneToken(deps: TokensApiDeps): readonly Endpoint[] {
  const { users, tokens } = deps
  const model = modelWith(deps)
  return [
    endpoint({
      method: 'GET',
      path: '/users/:user/tokens/:token',
      summary: 'Read a token',
      access: { scopes: ['read:tokens'], on: 'user' },
      answers: { 200: tokenSchema },
      async handle({ params }) {
        const user = await users.byName(params.user)
        return json(model(await tokens.byId(user, tokenId(params.token)), user))
      },
    }),
    endpoint({
      method: 'DELETE',
      path: '/users/:user/tokens/:token',
      summary: 'Revoke a token; one of an OAuth client takes all of that client with it',
      access: { scopes: ['tokens'], on: 'user' },
      answers: { 204: 'It is worth nothing any more' },
      async handle({ caller, params }) {
        const user = await users.byName(params.user)
        await tokens.revoke(user, await tokens.byId(user, tokenId(params.token)), caller.name)
        return empty(204)
      },
    }),
  ]
}

/** Creating is 403 where other calls are 404: for users that the caller may not touch, and for those there are not. */
async function creatorOf(
  users: Users,
  name: string,
  admit: () => Promise<Owner>,
): Promise<{ readonly creator: Owner; readonly user: User }> {
  try {
    return { creator: await admit(), user: await users.byName(name) }
  } catch (error) {
    if (!(error instanceof HubError) || statusOf[error.code] !== 404) throw error
    throw new HubError('forbidden', `no token can be made for ${JSON.stringify(name.slice(0, 64))}`)
  }
}

/** What a token says of itself when nobody has said anything: who asked, unless that is its owner. */
function noteOf(creator: Owner, user: User): string {
  const note = 'Requested via api'
  if (creator.kind === 'operator') return `${note} by the operator`
  const isOwn = creator.kind === 'user' && creator.user.id === user.id
  return isOwn ? note : `${note} by ${creator.kind} ${nameOf(creator)}`
}

/**
 * Whoever these login data are of; like a login, but without a session, so that no site
 * can misuse a browser for it.
 * @throws {HubError} `forbidden` when they are wrong, or of somebody who may not make this user's tokens.
 */
async function ownerBy(
  { login, access }: TokensApiDeps,
  auth: Readonly<Record<string, unknown>>,
  { name, peer }: { readonly name: string; readonly peer: string },
): Promise<Owner> {
  const fields = Object.entries(auth).filter(([, value]) => typeof value === 'string')
  const user = await login.identify({
    form: Object.fromEntries(fields) as Record<string, string>,
    headers: {},
    peerAddress: peer,
    signal: AbortSignal.timeout(60_000),
  })
  if (!user) throw new HubError('forbidden', 'these login data are not accepted')
  const owner = { kind: 'user', user } as const
  const { scopes } = await access.rightsOf(owner)
  const groups = await access.groupsOf(name)
  if (allows(scopes, 'tokens', { kind: 'user', user: name }, () => groups)) return owner
  throw new HubError('forbidden', `${user.name} may not make tokens for this user`)
}

/** `a12` is the token with row id 12. */
export function tokenId(text: string): number {
  const id = /^a(\d{1,15})$/.exec(text)?.[1]
  if (id === undefined)
    throw new HubError('not_found', `there is no token ${JSON.stringify(text.slice(0, 32))}`)
  return Number(id)
}
