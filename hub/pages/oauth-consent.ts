import type { Request, Response, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { formFields } from '../api/body.ts'
import type { OauthProvider } from '../domain/oauth-provider.ts'
import { allowFormsTo } from '../response-headers.ts'
import { strictRouter } from '../router.ts'
import type { Pages } from './page.ts'
import { filterInWords } from './scope-words.ts'

/** The authorize endpoint of the OAuth provider (RFC 6749 section 3.1; wire sections 7.2 to 7.4). */
export function oauthConsentPages({
  pages,
  provider,
}: {
  readonly pages: Pages
  readonly provider: OauthProvider
}): Router {
  const router = strictRouter()

  const answer = async (
    req: Request,
    res: Response,
    consented: readonly string[] | 'denied' | null,
  ): Promise<void> => {
    const caller = await pages.loggedIn(req, res)
    if (!caller) return
    const query = formFields(new URL(req.originalUrl, 'http://site.invalid').search)
    const authorization = await provider.authorize(query, caller, consented)
    switch (authorization.kind) {
      case 'refused':
        throw new HubError(
          authorization.status === 403 ? 'forbidden' : 'invalid_request',
          authorization.message,
        )
      case 'redirect':
        return res.redirect(authorization.location)
      case 'consent': {
        const { client, scopes } = authorization
        const { redirectUri } = client
        if (URL.canParse(redirectUri)) allowFormsTo(res, new URL(redirectUri).origin)
        return pages.show(req, res, 'oauth', {
          clientDescription: client.description,
          redirectUri,
          scopes: scopes.map((scope) => ({
            ...scope,
            description: scope.isImplied ? null : scope.description,
            filter: scope.filter === null ? null : filterInWords(scope.filter),
          })),
          identifyOnly: scopes.every(({ isImplied }) => isImplied),
          formAction: req.originalUrl,
        })
      }
    }
  }

  router.get('/oauth2/authorize', (req, res) => answer(req, res, null))

  router.post('/oauth2/authorize', async (req, res) => {
    await pages.checkXsrf(req)
    const body = (req.body ?? {}) as Record<string, unknown>
    const scopes = [body['scopes'] ?? []].flat().map(String)
    await answer(req, res, body['action'] === 'deny' ? 'denied' : scopes)
  })

  return router
}
