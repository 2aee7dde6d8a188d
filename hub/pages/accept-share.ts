import type { Request, Response, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { describeScope } from '../../packages/core/scopes.ts'
import { safeNext } from '../domain/next-url.ts'
import type { Servers } from '../domain/servers.ts'
import type { ShareCodes } from '../domain/shares.ts'
import { contextOf } from '../request.ts'
import { strictRouter } from '../router.ts'
import type { Pages } from './page.ts'

export interface AcceptSharePageDeps {
  readonly pages: Pages
  readonly servers: Servers
  readonly shareCodes: ShareCodes
}

/** Where somebody who was given a code takes up what it offers (wire section 9). */
export function acceptSharePage(deps: AcceptSharePageDeps): Router {
  const { pages, shareCodes } = deps
  const router = strictRouter()

  router.get('/accept-share', async (req, res) => {
    const caller = await pages.loggedIn(req, res)
    if (!caller) return
    const code = text(req.query['code'])
    if (code === '') throw new HubError('invalid_request', 'the address lacks its share code')
    const stored = await shareCodes.find(code)
    if (!stored)
      throw new HubError(
        'not_found',
        'This share code does not exist or has expired. Ask for another',
      )
    if (stored.server.ownerId === caller.user.id)
      throw new HubError('forbidden', 'This is your own server; nothing needs to be shared')
    await confirm(deps, req, res, { code, ...stored })
  })

  router.post('/accept-share', async (req, res) => {
    await pages.checkXsrf(req)
    const caller = await pages.loggedIn(req, res)
    if (!caller) return
    const { code } = (req.body ?? {}) as Record<string, unknown>
    const { server } = await shareCodes.exchange(text(code), caller.user)
    res.redirect(nextOf(deps, req) ?? pages.urls.serverPrefix(server.ownerName, server.name))
  })

  return router
}

async function confirm(
  deps: AcceptSharePageDeps,
  req: Request,
  res: Response,
  offer: { readonly code: string } & NonNullable<Awaited<ReturnType<ShareCodes['find']>>>,
): Promise<void> {
  const { pages, servers } = deps
  const { server, code } = offer
  const run = servers.run({ id: server.ownerId }, server.name)
  const url = pages.urls.serverPrefix(server.ownerName, server.name)
  await pages.show(req, res, 'accept-share', {
    code,
    ownerName: server.ownerName,
    serverName: server.name,
    serverUrl: url,
    isReady: run?.state.kind === 'ready',
    scopes: offer.scopes.map((scope) => ({
      raw: scope,
      ...describeScope(scope, pages.access.catalogue),
    })),
    landing: nextOf(deps, req) ?? url,
    expiresAt: offer.expiresAt.toISOString(),
    formAction: req.originalUrl,
  })
}

const text = (value: unknown): string =>
  typeof value === 'string' && value.length <= 200 ? value : ''

function nextOf({ pages }: AcceptSharePageDeps, req: Request): string | null {
  return safeNext(req.query['next'], { baseUrl: pages.urls.baseUrl, host: contextOf(req).host })
}
