import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import type { Routes } from '../domain/routes.ts'
import { type Endpoint, empty, endpoint, json } from './endpoint.ts'
import { type PageLimits, pagedSchema, pageOf, pageQuery, paginated } from './paging.ts'

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

export interface HubApiDeps {
  readonly routes: Routes
  readonly control: HubControl
  readonly info: HubInfo
  readonly pages: PageLimits
}

/** The hub itself (wire section 2.1) and the operator's calls. */
export function hubEndpoints(deps: HubApiDeps): readonly Endpoint[] {
  return [...aboutHub(deps), shutdown(deps), ...proxyEndpoints(deps), ...operatorCalls(deps)]
}

const driver = z.object({ class: z.string(), version: z.string() })

function aboutHub({ control, info }: HubApiDeps): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/',
      summary: 'The version of the protocol',
      access: { by: 'handler' },
      answers: { 200: z.object({ version: z.string() }) },
      handle: () => json({ version: wireVersion }, 200, { 'Access-Control-Allow-Origin': '*' }),
    }),
    endpoint({
      method: 'GET',
      path: '/health',
      summary: 'Whether the hub answers; with `ready` also whether it can do all its work',
      access: { by: 'handler' },
      query: z.object({ ready: z.string().optional() }),
      answers: { 200: 'It does' },
      async handle({ query }) {
        await checkHealth(control, query.ready !== undefined)
        return empty(200, 'text/html')
      },
    }),
    endpoint({
      method: 'GET',
      path: '/info',
      summary: 'Versions of the hub and its drivers',
      access: { scopes: ['read:hub'], on: 'none' },
      answers: {
        200: z.object({
          version: z.string(),
          portico: z.string(),
          python: z.string(),
          sys_executable: z.string(),
          spawner: driver,
          authenticator: driver,
        }),
      },
      handle: () =>
        json({
          version: wireVersion,
          portico: info.version,
          python: process.version,
          sys_executable: process.execPath,
          spawner: { class: info.spawner, version: info.version },
          authenticator: { class: info.authenticator, version: info.version },
        }),
    }),
  ]
}

/** @throws {HubError} `unavailable`, naming what is missing, when readiness is asked for. */
export async function checkHealth(control: HubControl, asksReady: boolean): Promise<void> {
  const waiting = asksReady ? await control.unready() : []
  if (waiting.length > 0)
    throw new HubError('unavailable', `not ready: ${waiting.join(', ')}`, { retryAfter: 1 })
}

function shutdown({ control }: HubApiDeps): Endpoint {
  return endpoint({
    method: 'POST',
    path: '/shutdown',
    summary: 'End the hub; absent parts follow the config',
    access: { scopes: ['shutdown'], on: 'none' },
    body: z.strictObject({ proxy: z.boolean().optional(), servers: z.boolean().optional() }),
    answers: { 202: z.object({ message: z.string() }) },
    handle({ body: { proxy, servers } }) {
      setImmediate(() =>
        control.shutdown({
          ...(proxy === undefined ? {} : { proxy }),
          ...(servers === undefined ? {} : { servers }),
        }),
      )
      return json({ message: 'Shutting down Hub' }, 202)
    },
  })
}

const route = z.object({
  routespec: z.string(),
  target: z.string(),
  data: z.record(z.string(), z.unknown()),
})

function proxyEndpoints({ routes, pages }: HubApiDeps): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/proxy',
      summary: 'The routing table, by routespec',
      access: { scopes: ['proxy'], on: 'none' },
      query: z.object(pageQuery),
      answers: { 200: pagedSchema(z.record(z.string(), route)) },
      handle({ context, query }) {
        const page = pageOf(context, query, pages)
        const all = routes.all()
        const sorted = all.toSorted((a, b) => (a.routespec < b.routespec ? -1 : 1))
        const shown = sorted.slice(page.offset, page.offset + page.limit)
        const table = Object.fromEntries(shown.map((entry) => [entry.routespec, entry]))
        return json(paginated(context, table, page, all.length))
      },
    }),
    endpoint({
      method: 'POST',
      path: '/proxy',
      summary: 'Compare the proxy with the table and mend every difference',
      access: { scopes: ['proxy'], on: 'none' },
      answers: { 200: 'It is equal now' },
      async handle() {
        await routes.check()
        return empty(200)
      },
    }),
    endpoint({
      method: 'PATCH',
      path: '/proxy',
      summary: 'Tell the hub of another address or token of the proxy',
      access: { scopes: ['proxy'], on: 'none' },
      body: z.object({
        api_url: z.url({ protocol: /^https?$/ }).optional(),
        auth_token: z
          .string()
          .regex(/^[\x21-\x7e]+$/, 'must be printable, without spaces')
          .optional(),
      }),
      bodyRequired: true,
      answers: { 200: 'The routes are there' },
      async handle({ body }) {
        await routes.moveProxy({
          ...(body.api_url === undefined ? {} : { apiUrl: new URL(body.api_url) }),
          ...(body.auth_token === undefined ? {} : { authToken: body.auth_token }),
        })
        return empty(200)
      },
    }),
  ]
}

/** Calls that no token allows. */
function operatorCalls({ control }: HubApiDeps): readonly Endpoint[] {
  return [
    endpoint({
      method: 'POST',
      path: '/login-link',
      summary: 'A fresh one-time link for logging in to a quick start',
      access: { by: 'operator' },
      answers: { 200: z.object({ url: z.string(), expires_at: z.string() }) },
      handle() {
        const link = control.issueLoginLink()
        if (!link)
          throw new HubError(
            'invalid_request',
            'this hub has no login links: people log in on its login page',
          )
        return json({ url: link.url, expires_at: link.expiresAt })
      },
    }),
    endpoint({
      method: 'POST',
      path: '/database/backup',
      summary: 'Copy the database beside itself',
      access: { by: 'operator' },
      answers: { 200: z.object({ file: z.string() }) },
      handle: async () => json({ file: await control.backup() }),
    }),
  ]
}
