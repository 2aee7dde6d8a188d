import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import type { Servers } from '../domain/servers.ts'
import {
  type Grantee,
  serverFilter,
  type SharedServer,
  type ShareCodes,
  type Shares,
  type StoredShare,
  type StoredShareCode,
} from '../domain/shares.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { Users } from '../domain/users.ts'
import { type Endpoint, empty, endpoint, json } from './endpoint.ts'
import { type PageLimits, pageOf, pageQuery, pageSchema, paginated } from './paging.ts'
import type { RequestContext } from '../request.ts'

export interface SharesApiDeps {
  readonly shares: Shares
  readonly shareCodes: ShareCodes
  readonly users: Users
  readonly servers: Servers
  readonly urls: HubUrls
  readonly pages: PageLimits
}

/** What is shared; none at all means the same as no list. */
const scopes = z
  .array(z.string().max(1000))
  .max(200)
  .nullish()
  .transform((list) => (list && list.length > 0 ? list : null))

const granteeName = z.string().min(1).max(255).nullish()

/** Whom a request is about, and what. */
const grantBody = z
  .strictObject({ user: granteeName, group: granteeName, scopes })
  .refine(({ user, group }) => Boolean(user) !== Boolean(group), {
    error: 'needs either user or group',
  })
  .transform(({ user, group, scopes: what }) => ({
    grantee: { kind: user ? 'user' : 'group', name: user ?? group ?? '' } as const,
    scopes: what,
  }))

const codeBody = z.strictObject({
  scopes,
  /** Seconds. */
  expires_in: z.int().min(60).max(31_536_000).default(86_400),
})

const sharedServerSchema = z.object({
  user: z.object({ name: z.string() }),
  name: z.string(),
  url: z.string(),
  full_url: z.string().nullable(),
  ready: z.boolean(),
})

const timestamp = z.string().meta({ description: 'ISO 8601, UTC' })

const named = z.object({ name: z.string() }).nullable()

const shareSchema = z.object({
  server: sharedServerSchema,
  scopes: z.array(z.string()),
  user: named,
  group: named,
  kind: z.enum(['user', 'group']),
  created_at: timestamp,
})

const codeSchema = z.object({
  server: sharedServerSchema,
  scopes: z.array(z.string()),
  id: z.string(),
  created_at: timestamp,
  expires_at: timestamp,
  exchange_count: z.int(),
  last_exchanged_at: timestamp.nullable(),
  code: z.string().optional(),
  accept_url: z.string().optional(),
  full_accept_url: z.string().nullable().optional(),
})

/** Shares and share codes (wire section 2.10). Lists always come as pages. */
export function shareEndpoints(deps: SharesApiDeps): readonly Endpoint[] {
  return [
    ...(['/shares/:user/:server', '/shares/:user/'] as const).flatMap((path) =>
      serverShares(path, deps),
    ),
    ...(['/share-codes/:user/:server', '/share-codes/:user/'] as const).flatMap((path) =>
      serverCodes(path, deps),
    ),
    ...ofOwner(deps),
    ...received('user', deps),
    ...received('group', deps),
  ]
}

/** Finds the server that `:user` and `:server` name; without `:server`, the default one. */
function serverOf({ users, shares }: SharesApiDeps) {
  return async (params: unknown): Promise<SharedServer> => {
    const { user = '', server = '' } = params as {
      readonly user?: string
      readonly server?: string
    }
    return shares.server(await users.byName(user), server)
  }
}

function listOfShares(path: string, deps: SharesApiDeps): Endpoint {
  const { shares } = deps
  const server = serverOf(deps)
  return endpoint({
    method: 'GET',
    path,
    summary: 'List the shares of a server',
    access: { scopes: ['read:shares'], on: 'server' },
    query: z.object(pageQuery),
    answers: { 200: pageSchema(z.array(shareSchema)) },
    async handle({ params, query, context }) {
      const page = pageOf(context, query, deps.pages)
      const found = await shares.page({ by: 'server', id: (await server(params)).id }, page)
      return json(listed(deps, context, page, found))
    },
  })
}

function serverShares(path: string, deps: SharesApiDeps): readonly Endpoint[] {
  const { shares } = deps
  const server = serverOf(deps)
  return [
    listOfShares(path, deps),
    endpoint({
      method: 'POST',
      path,
      summary: 'Share a server with a user or group',
      access: { scopes: ['shares'], on: 'server' },
      body: grantBody,
      answers: { 200: shareSchema },
      async handle({ params, body, caller }) {
        const { grantee, scopes: wanted } = body
        const share = await shares.grant(caller, await server(params), grantee, wanted)
        return json(shareModel(deps, share))
      },
    }),
    endpoint({
      method: 'PATCH',
      path,
      summary: 'Take back what was shared with a user or group; all of it when no scopes are named',
      access: { scopes: ['shares'], on: 'server' },
      body: grantBody,
      answers: { 200: shareSchema.partial() },
      async handle({ params, body, caller }) {
        const shared = await server(params)
        const from = await shares.grantee(body.grantee)
        const left = from && (await shares.revoke(caller.name, shared, from, body.scopes))
        return json(left ? shareModel(deps, left) : {})
      },
    }),
    endpoint({
      method: 'DELETE',
      path,
      summary: 'Take back everything that was shared of a server',
      access: { scopes: ['shares'], on: 'server' },
      answers: { 204: 'The server is not shared any more' },
      async handle({ params, caller }) {
        await shares.revokeAll(caller.name, await server(params))
        return empty(204)
      },
    }),
  ]
}

function serverCodes(path: string, deps: SharesApiDeps): readonly Endpoint[] {
  const { shareCodes, urls } = deps
  const server = serverOf(deps)
  return [
    endpoint({
      method: 'GET',
      path,
      summary: 'List the share codes of a server',
      access: { scopes: ['read:shares'], on: 'server' },
      query: z.object(pageQuery),
      answers: { 200: pageSchema(z.array(codeSchema)) },
      async handle({ params, query, context }) {
        const page = pageOf(context, query, deps.pages)
        const found = await shareCodes.page({ by: 'server', id: (await server(params)).id }, page)
        return json(listedCodes(deps, context, page, found))
      },
    }),
    endpoint({
      method: 'POST',
      path,
      summary: 'Make a code that gives whoever accepts it a share of a server',
      access: { scopes: ['shares'], on: 'server' },
      body: codeBody,
      answers: { 200: codeSchema },
      async handle({ params, body, caller }) {
        const { code, stored } = await shareCodes.create(caller, await server(params), {
          scopes: body.scopes,
          expiresInSeconds: body.expires_in,
        })
        const acceptUrl = `${urls.hubPrefix}accept-share?code=${code}`
        return json({
          ...codeModel(deps, stored),
          code,
          accept_url: acceptUrl,
          full_accept_url: urls.publicUrl ? `${urls.publicUrl.origin}${acceptUrl}` : null,
        })
      },
    }),
    endpoint({
      method: 'DELETE',
      path,
      summary: 'Delete one share code of a server, by itself or by its id, or all of them',
      access: { scopes: ['shares'], on: 'server' },
      query: z.object({ code: z.string().max(200).optional(), id: z.string().max(40).optional() }),
      answers: { 204: 'It is not valid any more' },
      async handle({ params, query: { code, id } }) {
        const shared = await server(params)
        if (code !== undefined) await shareCodes.delete(shared, { code })
        else if (id === undefined) await shareCodes.deleteAll(shared)
        else await shareCodes.delete(shared, { id: codeId(id) })
        return empty(204)
      },
    }),
  ]
}

function codeId(text: string): number {
  const [, digits] = /^sc_(\d{1,15})$/.exec(text) ?? []
  if (digits === undefined) throw new HubError('not_found', 'there is no such share code')
  return Number(digits)
}

/** The shares and codes of all servers of one owner. */
function ofOwner(deps: SharesApiDeps): readonly Endpoint[] {
  const { shares, shareCodes, users } = deps
  return [
    endpoint({
      method: 'GET',
      path: '/shares/:user',
      summary: "List the shares of a user's servers",
      access: { scopes: ['read:shares'], on: 'user' },
      query: z.object(pageQuery),
      answers: { 200: pageSchema(z.array(shareSchema)) },
      async handle({ params, query, context }) {
        const page = pageOf(context, query, deps.pages)
        const { id } = await users.byName(params.user)
        return json(listed(deps, context, page, await shares.page({ by: 'owner', id }, page)))
      },
    }),
    endpoint({
      method: 'GET',
      path: '/share-codes/:user',
      summary: "List the share codes of a user's servers",
      access: { scopes: ['read:shares'], on: 'user' },
      query: z.object(pageQuery),
      answers: { 200: pageSchema(z.array(codeSchema)) },
      async handle({ params, query, context }) {
        const page = pageOf(context, query, deps.pages)
        const { id } = await users.byName(params.user)
        const found = await shareCodes.page({ by: 'owner', id }, page)
        return json(listedCodes(deps, context, page, found))
      },
    }),
  ]
}

/** What is shared with a user or group. */
function received(kind: Grantee['kind'], deps: SharesApiDeps): readonly Endpoint[] {
  const { shares, users } = deps
  const reading = { scopes: [`read:${kind}s:shares`], on: kind } as const
  const leaving = { scopes: [`${kind}s:shares`], on: kind } as const
  const grantee = async (params: unknown): Promise<Grantee> => {
    const { [kind]: name = '' } = params as Readonly<Record<string, string>>
    const found = await shares.grantee({ kind, name })
    if (found) return found
    throw new HubError('not_found', `there is no ${kind} ${JSON.stringify(name.slice(0, 64))}`)
  }
  const shared = async (params: unknown): Promise<StoredShare> => {
    const { owner = '', name = '' } = params as Readonly<Record<string, string>>
    return shares.find(await shares.server(await users.byName(owner), name), await grantee(params))
  }
  const list = endpoint({
    method: 'GET',
    path: `/${kind}s/:${kind}/shared`,
    summary: `List what is shared with a ${kind}`,
    access: reading,
    query: z.object(pageQuery),
    answers: { 200: pageSchema(z.array(shareSchema)) },
    async handle({ params, query, context }) {
      const page = pageOf(context, query, deps.pages)
      const to = await grantee(params)
      const found =
        kind === 'user'
          ? await shares.pageOfUser(await users.byName(to.name), page)
          : await shares.page({ by: 'group', id: to.id }, page)
      return json(listed(deps, context, page, found))
    },
  })
  const one = (['/:owner/:name', '/:owner/'] as const).flatMap((rest) => [
    endpoint({
      method: 'GET',
      path: `/${kind}s/:${kind}/shared${rest}`,
      summary: `Read what of a server is shared with a ${kind}`,
      access: reading,
      answers: { 200: shareSchema },
      handle: async ({ params }) => json(shareModel(deps, await shared(params))),
    }),
    endpoint({
      method: 'DELETE',
      path: `/${kind}s/:${kind}/shared${rest}`,
      summary: `Give up what of a server is shared with a ${kind}`,
      access: leaving,
      answers: { 204: 'It is not shared any more' },
      async handle({ params, caller }) {
        const { server, grantee: from } = await shared(params)
        await shares.revoke(caller.name, server, from, null)
        return empty(204)
      },
    }),
  ])
  return [list, ...one]
}

type Found<Item> = { readonly items: readonly Item[]; readonly total: number }
type Page = ReturnType<typeof pageOf>

function listed(
  deps: SharesApiDeps,
  context: RequestContext,
  page: Page,
  { items, total }: Found<StoredShare>,
): unknown {
  const models = items.map((share) => shareModel(deps, share))
  return paginated(context, models, { ...page, isWanted: true }, total)
}

function listedCodes(
  deps: SharesApiDeps,
  context: RequestContext,
  page: Page,
  { items, total }: Found<StoredShareCode>,
): unknown {
  const models = items.map((code) => codeModel(deps, code))
  return paginated(context, models, { ...page, isWanted: true }, total)
}

type ModelDeps = Pick<SharesApiDeps, 'servers' | 'urls'>

function serverModel({ servers, urls }: ModelDeps, server: SharedServer) {
  const url = urls.serverPrefix(server.ownerName, server.name)
  return {
    user: { name: server.ownerName },
    name: server.name,
    url,
    full_url: urls.publicUrl ? `${urls.publicUrl.origin}${url}` : null,
    ready: servers.run({ id: server.ownerId }, server.name)?.state.kind === 'ready',
  }
}

/** A share (wire section 3.6). */
function shareModel(deps: ModelDeps, { server, scopes: bare, grantee, createdAt }: StoredShare) {
  return {
    server: serverModel(deps, server),
    scopes: bare.map((scope) => scope + serverFilter(server)),
    user: grantee.kind === 'user' ? { name: grantee.name } : null,
    group: grantee.kind === 'group' ? { name: grantee.name } : null,
    kind: grantee.kind,
    created_at: createdAt.toISOString(),
  }
}

/** A share code without the code (wire section 3.6). */
function codeModel(deps: ModelDeps, code: StoredShareCode) {
  return {
    server: serverModel(deps, code.server),
    scopes: code.scopes.map((scope) => scope + serverFilter(code.server)),
    id: `sc_${code.id}`,
    created_at: code.createdAt.toISOString(),
    expires_at: code.expiresAt.toISOString(),
    exchange_count: code.exchangeCount,
    last_exchanged_at: code.lastExchangedAt?.toISOString() ?? null,
  }
}
