import type { Page } from './models.ts'
import { json, type Transport } from './transport.ts'

export interface PageRequest {
  readonly offset?: number
  /** The hub may give fewer. */
  readonly limit?: number
}

/** A list that the hub gives in pages: iterate over all of it, or ask for one page with its total. */
export interface Listing<Model> extends AsyncIterable<Model> {
  page(at?: PageRequest): Promise<Page<Model>>
}

/** Opts in to pages (https://jupyterhub.readthedocs.io/en/stable/howto/rest.html#paginating-api-requests). */
const accept = 'application/jupyterhub-pagination+json'

type Query = Readonly<Record<string, string | number | undefined>>

/** All of `path`, one page after the other as they are asked for; `pageSize` is what each request wants. */
export function listing<Model>(
  { send }: Transport,
  path: string,
  { pageSize, query = {} }: { readonly pageSize?: number | undefined; readonly query?: Query } = {},
): Listing<Model> {
  const page = async ({ offset = 0, limit = pageSize }: PageRequest = {}) =>
    json<Page<Model>>(await send(path, { headers: { accept }, query: { ...query, offset, limit } }))
  return {
    page,
    async *[Symbol.asyncIterator]() {
      let offset: number | undefined = 0
      while (offset !== undefined) {
        const { items, _pagination }: Page<Model> = await page({ offset })
        yield* items
        const next: number | undefined = _pagination.next?.offset
        offset = next !== undefined && next > offset ? next : undefined
      }
    },
  }
}
