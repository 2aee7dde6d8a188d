import type { Request, Router } from 'express'
import { HubError, statusOf } from '../../packages/core/errors.ts'
import { z } from 'zod'
import type { Caller } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import type { ListedToken, Tokens } from '../domain/tokens.ts'
import type { User, Users } from '../domain/users.ts'
import { strictRouter } from '../router.ts'
import { bodyOf, type Guard } from './handlers.ts'
import { tokenModel } from './models.ts'

/** Seconds: a hundred years. More than dates can hold would never end. */
const longestExpiry = 100 * 365 * 86_400

const newToken = z.strictObject({
  note: z.string().max(1023).optional(),
  expires_in: z.int().min(0).max(longestExpiry).nullable().default(null),
  scopes: z.array(z.string().max(1023)).max(200).nullable().default(null),
  auth: z.unknown().optional(),
})

/** A user's API tokens (wire section 2.7). */
export function tokensApi({
  guard,
  users,
  tokens,
  activity,
}: {
  readonly guard: Guard
  readonly users: Users
  readonly tokens: Tokens
  readonly activity: Activity
}): Router {
  const router = strictRouter()
  const model = (token: ListedToken, user: User) =>
    tokenModel(token, user, activity.latest('token', token.id, token.lastActivityAt))

  router.get('/users/:user/tokens', async (req, res) => {
    await guard.require(req, ['read:tokens'], { kind: 'user', user: req.params.user })
    const user = await users.byName(req.params.user)
    const all = await tokens.of(user)
    res.json({ api_tokens: all.map((token) => model(token, user)) })
  })

  router.post('/users/:user/tokens', async (req, res) => {
    const { caller, user } = await creatorOf({ guard, users }, req, req.params.user)
    const { note, expires_in: expiresInSeconds, scopes } = bodyOf(req, newToken)
    const by = caller.name === user.name ? '' : ` by ${caller.name}`
    const wanted = { note: note ?? `Requested via api${by}`, expiresInSeconds, scopes }
    const { token, secret } = await tokens.create(user, wanted, caller.name)
    res
      .status(201)
      .set('Cache-Control', 'no-store')
      .json({ ...model(token, user), token: secret })
  })

  router.get('/users/:user/tokens/:token', async (req, res) => {
    await guard.require(req, ['read:tokens'], { kind: 'user', user: req.params.user })
    const user = await users.byName(req.params.user)
    res.json(model(await tokens.byId(user, tokenId(req.params.token)), user))
  })

  router.delete('/users/:user/tokens/:token', async (req, res) => {
    const caller = await guard.require(req, ['tokens'], { kind: 'user', user: req.params.user })
    const user = await users.byName(req.params.user)
    await tokens.revoke(user, await tokens.byId(user, tokenId(req.params.token)), caller.name)
    res.status(204).end()
  })

  return router
}

/** Creating is 403 where other calls are 404: for users that the caller may not touch, and for those there are not. */
async function creatorOf(
  { guard, users }: { readonly guard: Guard; readonly users: Users },
  req: Request,
  name: string,
): Promise<{ caller: Caller; user: User }> {
  try {
    const caller = await guard.require(req, ['tokens'], { kind: 'user', user: name })
    return { caller, user: await users.byName(name) }
  } catch (error) {
    if (!(error instanceof HubError) || statusOf[error.code] !== 404) throw error
    throw new HubError('forbidden', `no token can be made for ${JSON.stringify(name.slice(0, 64))}`)
  }
}

/** `a12` is the token with row id 12. */
function tokenId(text: string): number {
  const id = /^a(\d{1,15})$/.exec(text)?.[1]
  if (id === undefined)
    throw new HubError('not_found', `there is no token ${JSON.stringify(text.slice(0, 32))}`)
  return Number(id)
}
