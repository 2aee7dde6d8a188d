import type { Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import type { OauthProvider, Parameters, TokenAnswer } from '../domain/oauth-provider.ts'
import { contextOf } from '../request.ts'
import { strictRouter } from '../router.ts'

/** The token endpoint of the OAuth provider (RFC 6749 section 3.2; wire section 7.6). The authorize endpoint is a page. */
export function oauthApi({ provider }: { readonly provider: OauthProvider }): Router {
  const router = strictRouter()
  router.post('/oauth2/token', async (req, res) => {
    const { provenance } = contextOf(req)
    if (provenance.origin !== null || provenance.site !== null)
      throw new HubError('xsrf_failed', 'the token endpoint is not for browsers')
    res.set({ 'Cache-Control': 'no-store', Pragma: 'no-cache' })
    const answer = hasParameters(req.query)
      ? inQuery
      : await provider.token(formParameters(req.body))
    if (answer.kind === 'token') {
      res.json({
        access_token: answer.accessToken,
        expires_in: answer.expiresInSeconds,
        token_type: 'Bearer',
        scope: answer.scope,
      })
      return
    }
    if (answer.status === 401) res.set('WWW-Authenticate', 'Bearer error="invalid_client"')
    res.status(answer.status).json({ error: answer.error, error_description: answer.description })
  })
  return router
}

/** Query strings end up in logs: nothing of a token request may stand there (RFC 6749 section 2.3.1). */
function hasParameters(query: Readonly<Record<string, unknown>>): boolean {
  return ['client_id', 'client_secret', 'code', 'code_verifier'].some((name) => name in query)
}

const inQuery: TokenAnswer = {
  kind: 'error',
  status: 400,
  error: 'invalid_request',
  description: 'send the parameters in the body, not in the query',
}

/** All values of each field of a form body or query string. */
export function formParameters(text: unknown): Parameters {
  const parameters = new Map<string, string[]>()
  for (const [name, value] of new URLSearchParams(typeof text === 'string' ? text : ''))
    parameters.set(name, [...(parameters.get(name) ?? []), value])
  return parameters
}
