import type { Request, Response, Router } from 'express'
import type { Authenticator } from '../../packages/core/authenticator.ts'
import { HubError, statusOf } from '../../packages/core/errors.ts'
import { allows } from '../../packages/core/scopes.ts'
import { isSafeSlug, readableSlug, safeSlug } from '../../packages/core/slug.ts'
import type { Caller } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import type { Servers } from '../domain/servers.ts'
import type { SharedServer, Shares } from '../domain/shares.ts'
import type { User } from '../domain/users.ts'
import { strictRouter } from '../router.ts'
import { type Pages, viewOf } from './page.ts'

export interface HomePageDeps {
  readonly pages: Pages
  readonly servers: Servers
  readonly shares: Pick<Shares, 'pageOfUser'>
  readonly activity: Activity
  readonly authenticator: Pick<Authenticator, 'accountLinks'>
  readonly options: { readonly allowNamedServers: boolean }
}

type Visitor = Caller & { readonly user: User }

/** What went wrong with a server that was to be added. */
interface Failure {
  readonly text: string
  readonly typed: string
  readonly status: number
}

/** Most shares of others' servers that the page shows. */
const shownShares = 100

/** The home page: one's servers, what others share, and where named ones are added (wire section 9). */
export function homePage(deps: HomePageDeps): Router {
  const { pages } = deps
  const router = strictRouter()

  router.get('/home', async (req, res) => {
    const caller = await pages.loggedIn(req, res)
    if (caller) await show(deps, req, res, { caller, failure: null })
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
      await show(deps, req, res, { caller, failure })
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
  { user, name: by }: Visitor,
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
  deps: HomePageDeps,
  req: Request,
  res: Response,
  { caller, failure }: { readonly caller: Visitor; readonly failure: Failure | null },
): Promise<void> {
  const { pages, servers, activity, options } = deps
  const { user } = caller
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
      ...(await sharedWith(deps, caller)),
      allowNamedServers: options.allowNamedServers,
      invalidNames: all.slice(1).flatMap(({ name }) => (isSafeSlug(name) ? [] : [name])),
      addError: failure?.text ?? '',
      typedName: failure?.typed ?? '',
      accountLinks: accountLinks(deps, user),
    },
    failure?.status ?? 200,
  )
}

/** Where somebody can see to their account, as far as the authenticator has pages for that. */
function accountLinks({ authenticator, pages }: HomePageDeps, { name, admin }: User) {
  const links = authenticator.accountLinks?.({ userName: name, admin }) ?? []
  return links.map(({ label, path }) => ({
    label,
    url: `${pages.urls.hubPrefix.slice(0, -1)}${path}`,
  }))
}

/** Servers of others that the caller may use, each once; whether they run is all that is told of them. */
async function sharedWith({ shares, servers, pages }: HomePageDeps, { user, scopes }: Visitor) {
  const { items, total } = await shares.pageOfUser(user, { offset: 0, limit: shownShares })
  const distinct = new Map(items.map(({ server }) => [server.id, server]))
  const viewOfShared = ({ name, ownerId, ownerName }: SharedServer) => {
    const resource = { kind: 'server', user: ownerName, server: name } as const
    return {
      name,
      ownerName,
      state: servers.run({ id: ownerId }, name)?.state.kind === 'ready' ? 'ready' : 'stopped',
      url: pages.urls.serverPrefix(ownerName, name),
      spawnUrl: pages.urls.serverPage('spawn', ownerName, name),
      mayOpen: allows(scopes, 'access:servers', resource),
      mayStart: allows(scopes, 'servers', resource),
    }
  }
  return {
    shared: [...distinct.values()].map(viewOfShared),
    unlistedShares: Math.max(total - shownShares, 0),
  }
}
