import type { Request } from 'express'
import { HubError } from '../../packages/core/errors.ts'
import type { Resource } from '../../packages/core/scopes.ts'
import type { z } from 'zod'
import { type Access, type Caller, requireScope } from '../domain/access.ts'
import { apiNeedsToken } from '../domain/xsrf.ts'
import { contextOf, type XsrfGuard } from '../request.ts'

/** Who may call the API, decided per request. */
export interface Guard {
  /** The caller, when any of `scopes` is held on `resource`. @throws {HubError} 403 or 404. */
  require(req: Request, scopes: readonly string[], resource: Resource): Promise<Caller>
  /** Whoever it is. @throws {HubError} `not_authenticated`. */
  anyone(req: Request, refusal?: string): Promise<Caller>
}

export function createGuard(access: Access, xsrf: XsrfGuard): Guard {
  const caller = async (req: Request): Promise<Caller | null> => {
    const found = await contextOf(req).caller()
    if (found?.proof.kind !== 'session') return found
    if (isCrossFormat(req)) return null
    if (apiNeedsToken(contextOf(req).provenance)) xsrf.check(req, found)
    return found
  }
  return {
    require: async (req, scopes, resource) =>
      requireScope(access, await caller(req), scopes, resource),
    async anyone(req, refusal = 'Forbidden') {
      const found = await caller(req)
      if (!found) throw new HubError('not_authenticated', refusal)
      return found
    },
  }
}

/** A form of another site can post only some content types: a cookie counts with JSON alone (wire section 1.6). */
function isCrossFormat(req: Request): boolean {
  const type = req.headers['content-type']
  if (req.method !== 'POST' || type === undefined) return false
  return !type.split(';').some((part) => part.trim().toLowerCase().startsWith('application/json'))
}

/** The JSON body, or null when there is none. @throws {HubError} `invalid_request`. */
export function jsonBody(req: Request): unknown {
  const text: unknown = req.body
  if (typeof text !== 'string' || text.trim() === '') return null
  try {
    return JSON.parse(text, (key, value: unknown) => (key === '__proto__' ? undefined : value))
  } catch {
    throw new HubError('invalid_request', 'Invalid JSON in body of request')
  }
}

/** The body as an object of this shape; an empty body is `{}`. Unknown keys are errors. */
export function bodyOf<Schema extends z.ZodType>(req: Request, schema: Schema): z.output<Schema> {
  return schema.parse(jsonBody(req) ?? {})
}

/** `offset` and `limit` of the query within the hub's bounds, and whether the client asked for pages. */
export interface Page {
  readonly offset: number
  readonly limit: number
  readonly isWanted: boolean
}

export function pageOf(
  req: Request,
  limits: { readonly default: number; readonly max: number },
): Page {
  const isWanted = String(req.headers.accept ?? '')
    .split(',')
    .some((type) => type.trim().toLowerCase() === 'application/jupyterhub-pagination+json')
  const offset = Math.abs(integer(req, 'offset') ?? 0)
  const limit = Math.abs(integer(req, 'limit') ?? (isWanted ? limits.default : limits.max))
  return { offset, limit: Math.min(Math.max(limit, 1), limits.max), isWanted }
}

function integer(req: Request, name: string): number | null {
  const text = req.query[name]
  if (text === undefined) return null
  if (typeof text !== 'string' || !/^[+-]?\d{1,15}$/.test(text.trim()))
    throw new HubError('invalid_request', `${name} must be an integer`)
  return Number(text)
}

/** The bare list, or with its place in the whole for clients that asked for pages (wire section 1.8). */
export function paginated(
  req: Request,
  items: readonly unknown[],
  page: Page,
  total: number,
): unknown {
  if (!page.isWanted) return items
  const { protocol, host } = contextOf(req)
  const { offset, limit } = page
  const hasMore = offset + limit < total
  const url = new URL(req.originalUrl, `${protocol}://${host}`)
  url.searchParams.set('offset', String(offset + limit))
  url.searchParams.set('limit', String(limit))
  const next = hasMore ? { offset: offset + limit, limit, url: url.href } : null
  return { items, _pagination: { offset, limit, total, next } }
}
