import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import type { Access, Caller } from '../domain/access.ts'
import type { Services } from '../domain/services.ts'
import type { Requests } from '../request.ts'
import { readText } from './body.ts'
import { type Call, type Endpoint, endpoint, json, type Reply } from './endpoint.ts'
import { identifiedService } from './services.ts'
import { type UserModelDeps, UserModels } from './user-models.ts'

export interface AuthorizationsApiDeps extends UserModelDeps {
  readonly access: Access
  readonly requests: Requests
  readonly services: Pick<Services, 'byName'>
}

/** Bytes: far more than a cookie can have. */
const longestCookie = 16 * 1024

type AnyCall = Pick<Call<string, unknown, unknown>, 'identify'>

const ownerSchema = z.looseObject({ kind: z.string(), name: z.string() })

/**
 * Whose credentials somebody else has presented: what services asked before OAuth (wire section
 * 2.11). Deprecated; only callers with a token may ask.
 */
export function authorizationEndpoints(deps: AuthorizationsApiDeps): readonly Endpoint[] {
  const { access, requests, services } = deps
  const models = new UserModels(deps)
  const answer = async (call: AnyCall, find: () => Promise<Caller | null>): Promise<Reply> => {
    const asking = await call.identify()
    if (!asking || asking.proof.kind === 'session')
      throw new HubError('not_authenticated', 'Missing or invalid credentials.')
    const owner = (await find())?.owner
    if (owner?.kind === 'user') return json(await models.identified(owner.user, asking))
    if (owner?.kind === 'service')
      return json(identifiedService(await services.byName(owner.service.name), asking))
    throw new HubError('not_found', 'these credentials are not known, or not valid any more')
  }
  return [
    endpoint({
      method: 'GET',
      path: '/authorizations/token/:token',
      summary: 'Whose token this is (deprecated: use GET /user)',
      access: { by: 'handler' },
      answers: { 200: ownerSchema },
      handle: (call) => answer(call, () => access.ofToken(call.params.token)),
    }),
    endpoint({
      method: 'GET',
      path: '/authorizations/cookie/:name/:value',
      summary: 'Whose login cookie this is (deprecated: use OAuth)',
      access: { by: 'handler' },
      answers: { 200: ownerSchema },
      handle: (call) =>
        answer(call, () => requests.callerOfCookie(call.params.name, call.params.value)),
    }),
    endpoint({
      method: 'GET',
      path: '/authorizations/cookie/:name',
      summary: 'Whose login cookie the body is (deprecated: use OAuth)',
      access: { by: 'handler' },
      answers: { 200: ownerSchema },
      handle: (call) =>
        answer(call, async () => {
          const value = await readText(call.context.request, longestCookie)
          return requests.callerOfCookie(call.params.name, value)
        }),
    }),
    endpoint({
      method: 'POST',
      path: '/authorizations/token',
      summary: 'Gone: tokens are made by POST /users/NAME/tokens',
      access: { by: 'handler' },
      answers: { 404: 'Always' },
      handle() {
        throw new HubError(
          'not_found',
          'this way to make tokens is gone; use POST /hub/api/users/NAME/tokens',
        )
      },
    }),
  ]
}
