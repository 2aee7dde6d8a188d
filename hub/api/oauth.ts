import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import type { OauthProvider, TokenAnswer } from '../domain/oauth-provider.ts'
import type { FormFields } from './body.ts'
import { type Endpoint, endpoint, json } from './endpoint.ts'

const noStore = { Pragma: 'no-cache' }

/** The token endpoint of the OAuth provider (RFC 6749 section 3.2; wire section 7.6). The authorize endpoint is a page. */
export function oauthEndpoints({
  provider,
}: {
  readonly provider: OauthProvider
}): readonly Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/oauth2/token',
      summary: 'Exchange an authorization code for an access token (RFC 6749)',
      access: { by: 'handler' },
      body: z.custom<FormFields>(),
      bodyFormat: 'form',
      bodyLimit: 64 * 1024,
      answers: {
        200: z.object({
          access_token: z.string(),
          expires_in: z.number(),
          token_type: z.literal('Bearer'),
          scope: z.string(),
        }),
        400: 'An error of RFC 6749 section 5.2',
        401: 'The client is unknown or its secret is wrong',
      },
      async handle({ context, body }) {
        const { provenance } = context
        if (provenance.origin !== null || provenance.site !== null)
          throw new HubError('xsrf_failed', 'the token endpoint is not for browsers')
        return replyOf(hasParameters(context.query) ? inQuery : await provider.token(body))
      },
    }),
  ]
}

function replyOf(answer: TokenAnswer) {
  if (answer.kind === 'token') {
    const { accessToken, expiresInSeconds, scope } = answer
    const model = { access_token: accessToken, expires_in: expiresInSeconds, scope }
    return json({ ...model, token_type: 'Bearer' }, 200, noStore)
  }
  const challenge =
    answer.status === 401 ? { 'WWW-Authenticate': 'Bearer error="invalid_client"' } : {}
  const model = { error: answer.error, error_description: answer.description }
  return json(model, answer.status, { ...noStore, ...challenge })
}

/** Query strings end up in logs: nothing of a token request may stand there (RFC 6749 section 2.3.1). */
function hasParameters(query: URLSearchParams): boolean {
  return ['client_id', 'client_secret', 'code', 'code_verifier'].some((name) => query.has(name))
}

const inQuery: TokenAnswer = {
  kind: 'error',
  status: 400,
  error: 'invalid_request',
  description: 'send the parameters in the body, not in the query',
}
