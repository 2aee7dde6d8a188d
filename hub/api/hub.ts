import type { Request, RequestHandler, Router } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import { z } from 'zod'
import type { Routes } from '../domain/routes.ts'
import { strictRouter } from '../router.ts'
import { bodyOf, type Guard, pageOf } from './handlers.ts'

/** What an admin, or the operator on the socket, can make the hub do. */
export interface HubControl {
  /** Answers at once; the hub ends afterwards. Absent parts follow the config. */
  shutdown(options: { readonly proxy?: boolean; readonly servers?: boolean }): void
  /** Null when the authenticator has no login links. */
  issueLoginLink(): { readonly url: string; readonly expiresAt: Date } | null
  /** Copies the database and returns the new file's name. */
  backup(): Promise<string>
  /** What is not ready yet; empty when everything is. */
  unready(): Promise<readonly string[]>
}

/** The facts of `GET /info`. */
export interface HubInfo {
  readonly version: string
  readonly spawner: string
  readonly authenticator: string
}

/** The JupyterHub version whose wire this hub speaks. */
export const wireVersion = '6.0.0'

const shutdownBody = z.strictObject({
  proxy: z.boolean().optional(),
  servers: z.boolean().optional(),
})

/** 200 once the hub listens; with `?ready` only when nothing is missing any more. */
export function health(control: HubControl): RequestHandler {
  return async (req, res) => {
    const waiting = 'ready' in req.query ? await control.unready() : []
    if (waiting.length > 0)
      throw new HubError('unavailable', `not ready: ${waiting.join(', ')}`, { retryAfter: 1 })
    res.type('text/html').end()
  }
}

/** The hub itself (wire section 2.1) and the operator's calls. */
export function hubApi(deps: HubApiDeps): Router {
  const router = strictRouter()
  serveHub(router, deps)
  serveRoutes(router, deps)
  serveOperator(router, deps)
  return router
}

interface HubApiDeps {
  readonly guard: Guard
  readonly routes: Routes
  readonly control: HubControl
  readonly info: HubInfo
  readonly pages: { readonly default: number; readonly max: number }
}

function serveHub(router: Router, { guard, control, info }: HubApiDeps): void {
  router.get('/', (_req, res) => {
    res.set('Access-Control-Allow-Origin', '*').json({ version: wireVersion })
  })

  router.get('/health', health(control))

  router.get('/info', async (req, res) => {
    await guard.require(req, ['read:hub'], { kind: 'none' })
    res.json({
      version: wireVersion,
      portico: info.version,
      python: process.version,
      sys_executable: process.execPath,
      spawner: { class: info.spawner, version: info.version },
      authenticator: { class: info.authenticator, version: info.version },
    })
  })

  router.post('/shutdown', async (req, res) => {
    await guard.require(req, ['shutdown'], { kind: 'none' })
    const { proxy, servers } = bodyOf(req, shutdownBody)
    res.status(202).json({ message: 'Shutting down Hub' })
    control.shutdown({
      ...(proxy === undefined ? {} : { proxy }),
      ...(servers === undefined ? {} : { servers }),
    })
  })
}

function serveRoutes(router: Router, { guard, routes, pages }: HubApiDeps): void {
  router.get('/proxy', async (req, res) => {
    await guard.require(req, ['proxy'], { kind: 'none' })
    const { offset, limit } = pageOf(req, pages)
    const sorted = routes.all().toSorted((a, b) => (a.routespec < b.routespec ? -1 : 1))
    const shown = sorted.slice(offset, offset + limit)
    res.json(Object.fromEntries(shown.map((route) => [route.routespec, route])))
  })

  router.post('/proxy', async (req, res) => {
    await guard.require(req, ['proxy'], { kind: 'none' })
    await routes.check()
    res.status(200).end()
  })
}

/** Calls that no token allows. */
function serveOperator(router: Router, { guard, control }: HubApiDeps): void {
  router.post('/login-link', async (req, res) => {
    await requireOperator(guard, req)
    const link = control.issueLoginLink()
    if (!link)
      throw new HubError(
        'invalid_request',
        'this hub has no login links: people log in on its login page',
      )
    res.set('Cache-Control', 'no-store').json({ url: link.url, expires_at: link.expiresAt })
  })

  router.post('/database/backup', async (req, res) => {
    await requireOperator(guard, req)
    res.json({ file: await control.backup() })
  })
}

async function requireOperator(guard: Guard, req: Request): Promise<void> {
  const caller = await guard.anyone(req)
  if (caller.proof.kind !== 'socket')
    throw new HubError('forbidden', "only for the operator, on the hub's own socket")
}
