import type { Request, Response } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { type Access, type Caller, userOf } from '../domain/access.ts'
import type { Login } from '../domain/login.ts'
import type { User } from '../domain/users.ts'
import { isPlanned } from '../domain/exits.ts'
import { type LastExit, wireState } from '../domain/server-state.ts'
import type { ServerView } from '../domain/servers.ts'
import type { Services } from '../domain/services.ts'
import type { HubUrls } from '../domain/urls.ts'
import { contextOf, type Requests } from '../request.ts'
import type { Render } from './render.ts'
import { createStrangerPages } from './stranger-pages.ts'

/** What every page router needs. */
export interface Pages {
  readonly urls: HubUrls
  readonly access: Access
  /** Renders a view with what every page needs: who is logged in, their services, the XSRF token. */
  show(req: Request, res: Response, view: string, data: object, status?: number): Promise<void>
  /** The caller by the login cookie. Null when the browser was sent to the login page instead. */
  loggedIn(req: Request, res: Response): Promise<(Caller & { readonly user: User }) | null>
  checkXsrf(req: Request): Promise<void>
}

interface PagesDeps {
  readonly render: Render
  readonly requests: Requests
  readonly urls: HubUrls
  readonly access: Access
  readonly services: Pick<Services, 'linksFor'>
  readonly login: Pick<Login, 'renew'>
}

export function createPages(deps: PagesDeps): Pages {
  const { render, requests, urls, access, services } = deps
  const toStranger = createStrangerPages(render)
  return {
    urls,
    access,

    async show(req, res, view, data, status = 200) {
      const context = contextOf(req)
      const caller = await context.cookieCaller().catch(() => null)
      const user = userOf(caller)
      const xsrfToken = requests.xsrf.issue(req, res, caller)
      const html =
        caller && user
          ? render(view, {
              user: { name: user.name, admin: user.admin },
              services: services.linksFor(caller.scopes),
              xsrfToken,
              requestId: context.id,
              ...data,
            })
          : toStranger(view, data, { xsrfToken, requestId: () => context.id })
      res.statusCode = status
      res.setHeader('Cache-Control', 'no-store')
      res.setHeader('Content-Type', 'text/html; charset=utf-8')
      res.setHeader('Content-Length', Buffer.byteLength(html))
      res.end(html)
    },

    async loggedIn(req, res) {
      const caller = await contextOf(req).cookieCaller()
      const user = userOf(caller)
      if (caller && user) {
        if (await renews(deps, caller, req, res)) return null
        requests.cookies.restore(req, res, caller)
        return { ...caller, user }
      }
      if (req.method !== 'GET' && req.method !== 'HEAD')
        throw new HubError(
          'not_authenticated',
          'You are not logged in any more. Log in and try again',
        )
      res.redirect(`${urls.hubPrefix}login?next=${encodeURIComponent(req.originalUrl)}`)
      return null
    },

    async checkXsrf(req) {
      const context = contextOf(req)
      requests.xsrf.check(context, await context.cookieCaller(), req.body)
    },
  }
}

/** Who has become an admin, or is none any more, is sent on with other secrets (checklist C-3). */
async function renews(
  { login, requests }: PagesDeps,
  caller: Caller,
  req: Request,
  res: Response,
): Promise<boolean> {
  const user = userOf(caller)
  const { proof } = caller
  const { mode } = contextOf(req).provenance
  const navigates = req.method === 'GET' && (mode === null || mode === 'navigate')
  if (!user || proof.kind !== 'session' || !navigates || proof.session.admin === user.admin)
    return false
  const renewed = await login.renew(user, proof.session)
  if (!renewed) return false
  requests.cookies.set(req, res, renewed)
  res.redirect(req.originalUrl)
  return true
}

/** A server as the views know it. */
export function viewOf(server: ServerView, urls: HubUrls, lastActivityAt = server.lastActivityAt) {
  const { userName, name, state } = server
  return {
    name,
    userName,
    displayName: server.displayName,
    state: state.kind === 'checking' ? 'starting' : state.kind,
    pending: wireState(state).pending,
    url: server.prefix,
    spawnUrl: urls.serverPage('spawn', userName, name),
    pendingUrl: urls.serverPage('spawn-pending', userName, name),
    apiUrl: urls.serverApi(userName, name),
    startedAt: state.kind === 'stopped' ? null : (server.startedAt?.toISOString() ?? null),
    lastActivity: lastActivityAt?.toISOString() ?? null,
    exit: state.kind === 'stopped' && state.exit ? exitView(state.exit) : null,
  }
}

/** Whether a server could not be started. */
export function isFailedStart(exit: LastExit): boolean {
  const { cause, wasReady } = exit
  return !wasReady && cause !== 'stopped' && cause !== 'cancelled' && cause !== 'hub-restarted'
}

/** The end of a server, unless it was asked for. */
export function exitView(exit: LastExit) {
  const { cause, message, code, wasReady = false } = exit
  if (cause === 'stopped' || cause === 'cancelled') return null
  return { cause, message, code, crashed: wasReady && !isPlanned(exit), wasReady }
}
