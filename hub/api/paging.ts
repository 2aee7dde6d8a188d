import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import type { RequestContext } from '../request.ts'

/** The hub's bounds for pages: `hub.apiPageDefaultLimit` and `hub.apiPageMaxLimit`. */
export interface PageLimits {
  readonly default: number
  readonly max: number
}

/** A part of a list, and whether the client asked for it to be marked as one (wire section 1.8). */
export interface Page {
  readonly offset: number
  readonly limit: number
  readonly isWanted: boolean
}

/** For the query of endpoints that give pages. */
export const pageQuery = {
  offset: z.string().optional().meta({ description: 'First item, counted from 0' }),
  limit: z.string().optional().meta({ description: 'Most items' }),
}

/** What is in `items` of a page, with its place in the whole. */
export const pageSchema = <Items extends z.ZodType>(items: Items) =>
  z.object({
    items,
    _pagination: z.object({
      offset: z.int(),
      limit: z.int(),
      total: z.int(),
      next: z.object({ offset: z.int(), limit: z.int(), url: z.string() }).nullable(),
    }),
  })

/** Answers of calls that give pages to those who ask for them, and bare items to all others. */
export const pagedSchema = <Items extends z.ZodType>(items: Items) =>
  z.union([items, pageSchema(items)])

/** @throws {HubError} `invalid_request` for what is no integer. */
export function pageOf(
  context: RequestContext,
  query: { readonly offset?: string | undefined; readonly limit?: string | undefined },
  limits: PageLimits,
): Page {
  const isWanted = (context.header('accept') ?? '')
    .split(',')
    .some((type) => type.trim().toLowerCase() === 'application/jupyterhub-pagination+json')
  const offset = Math.abs(integer('offset', query.offset) ?? 0)
  const limit = Math.abs(integer('limit', query.limit) ?? (isWanted ? limits.default : limits.max))
  return { offset, limit: Math.min(Math.max(limit, 1), limits.max), isWanted }
}

function integer(name: string, text: string | undefined): number | null {
  if (text === undefined) return null
  if (!/^[+-]?\d{1,15}$/.test(text.trim()))
    throw new HubError('invalid_request', `${name} must be an integer`)
  return Number(text)
}

/** The bare items, or with their place in the whole for clients that asked for pages. */
export function paginated(
  context: RequestContext,
  items: unknown,
  page: Page,
  total: number,
): unknown {
  return page.isWanted ? { items, _pagination: placeOf(context, page, total) } : items
}

/** The same for items that are JSON already. */
export function paginatedText(
  context: RequestContext,
  items: string,
  page: Page,
  total: number,
): string {
  if (!page.isWanted) return items
  return `{"items":${items},"_pagination":${JSON.stringify(placeOf(context, page, total))}}`
}

function placeOf(context: RequestContext, { offset, limit }: Page, total: number) {
  if (offset + limit >= total) return { offset, limit, total, next: null }
  const url = new URL(context.url, `${context.protocol}://${context.host}`)
  url.searchParams.set('offset', String(offset + limit))
  url.searchParams.set('limit', String(limit))
  return { offset, limit, total, next: { offset: offset + limit, limit, url: url.href } }
}
