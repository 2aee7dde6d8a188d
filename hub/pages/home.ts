import type { Request, Response, Router } from 'express'
import { HubError, statusOf } from '../../packages/core/errors.ts'
import { isSafeSlug, readableSlug, safeSlug } from '../../packages/core/slug.ts'
import type { Caller } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import type { Servers } from '../domain/servers.ts'
import type { User } from '../domain/users.ts'
import { strictRouter } from '../router.ts'
import { type Pages, viewOf } from './page.ts'

export interface HomePageDeps {
  readonly pages: Pages
  readonly servers: Servers
  readonly activity: Activity
  readonly options: { readonly allowNamedServers: boolean }
}

/** What went wrong with a server that was to be added. */
interface Failure {
  readonly text: string
  readonly typed: string
  readonly status: number
}

/** The home page: one's servers, and where named ones are added (wire section 9). */
export function homePage(deps: HomePageDeps): Router {
  const { pages } = deps
  const router = strictRouter()

  router.get('/home', async (req, res) => {
    const caller = await pages.loggedIn(req, res)
    if (caller) await show(deps, req, res, caller.user, null)
  })

  router.post('/home', async (req, res) => {
    await pages.checkXsrf(req)
    const caller = await pages.loggedIn(req, res)
    if (!caller) return
    const { name } = (req.body ?? {}) as Record<string, unknown>
    const typed = typeof name === 'string' ? name : ''
    try {
      const server = await add(deps, caller, typed)
      res.redirect(303, pages.urls.serverPage('spawn', caller.user.name, server))
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      const failure = { text: error.message, typed, status: statusOf[error.code] }
      await show(deps, req, res, caller.user, failure)
    }
  })

  return router
}

/**
 * Makes a server that is shown as what was typed, and called something like it. Resolves to its name.
 * @throws {HubError} as `ServerEdits.create` does.
 */
async function add(
  { servers }: HomePageDeps,
  { user, name: by }: Caller & { readonly user: User },
  typed: string,
): Promise<string> {
  const displayName = typed.normalize('NFC').trim().replaceAll(/\s+/g, ' ')
  const readable = isSafeSlug(displayName) ? displayName : readableSlug(displayName)
  const isTaken = (await servers.find(user, readable)) !== null
  const name = isTaken ? safeSlug(displayName) : readable
  await servers.edits.create(user, name, { displayName, userOptions: null }, by)
  return name
}

async function show(
  { pages, servers, activity, options }: HomePageDeps,
  req: Request,
  res: Response,
  user: User,
  failure: Failure | null,
): Promise<void> {
  await servers.check(user)
  const all = (await servers.ofUser(user)).map((server) => {
    const at =
      server.id === null ? null : activity.latest('server', server.id, server.lastActivityAt)
    return viewOf(server, pages.urls, at)
  })
  await pages.show(
    req,
    res,
    'home',
    {
      server: all[0],
      servers: all.slice(1),
      allowNamedServers: options.allowNamedServers,
      invalidNames: all.slice(1).flatMap(({ name }) => (isSafeSlug(name) ? [] : [name])),
      addError: failure?.text ?? '',
      typedName: failure?.typed ?? '',
    },
    failure?.status ?? 200,
  )
}
