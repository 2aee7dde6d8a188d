import { RouteTable } from './route-table.ts'
import { type Target, parseTarget } from './target.ts'
import type { TargetClient, TargetPool } from './target-client.ts'

/** A JSON object, as it was posted. */
export type JsonObject = Readonly<Record<string, unknown>>

/** A record of the API: what was posted, and `last_activity` (ISO 8601, UTC, milliseconds). */
export type RouteRecord = JsonObject & { readonly target: string; readonly last_activity: string }

/** What a route was posted with, checked. */
export interface RouteData {
  readonly target: Target
  readonly data: JsonObject
}

interface Activity {
  /** Milliseconds since the epoch. */
  at: number
}

/** Far more than any hub uses; keeps the cost of a change to the table small. */
const maxDepth = 100

/** One entry of the table: where its requests go, and when it was last of use. */
export class Route {
  readonly path: string
  readonly target: Target
  readonly data: JsonObject
  readonly #activity: Activity
  readonly #client: TargetClient
  #pool: TargetPool | null = null
  #isClosed = false

  /** A route that takes the place of `previous` shares its activity: its open WebSockets live on. */
  constructor(path: string, { target, data }: RouteData, client: TargetClient, previous?: Route) {
    this.path = path
    this.target = target
    this.data = data
    this.#activity = previous ? previous.#activity : { at: Date.now() }
    this.#client = client
  }

  /** Whether requests of this route go to the hub, which alone may see its login cookie. */
  get isHub(): boolean {
    return this.data['hub'] === true
  }

  /** The connections of this route only: a port may be given to somebody else when the route goes. */
  get pool(): TargetPool {
    if (this.#pool) return this.#pool
    this.#pool = this.#client.pool(this.target)
    if (this.#isClosed) this.#pool.close()
    return this.#pool
  }

  /** Notes that the route is of use. */
  touch(): void {
    this.#activity.at = Date.now()
  }

  /** Ends idle connections. Exchanges under way go on to their end. */
  close(): void {
    this.#isClosed = true
    this.#pool?.close()
  }

  toRecord(): RouteRecord {
    const last_activity = new Date(this.#activity.at).toISOString()
    return { ...this.data, target: this.target.url, last_activity }
  }
}

/**
 * The routes of a running proxy. Every change takes effect with the next request; an existing path
 * is replaced whole.
 */
export class Routes {
  readonly #table = new RouteTable<Route>()
  readonly #client: TargetClient
  /** False until the first route or table was set: then nobody can say yet where a request belongs. */
  #hasTable = false

  constructor(client: TargetClient) {
    this.#client = client
  }

  get hasTable(): boolean {
    return this.#hasTable
  }

  get depth(): number {
    return this.#table.depth
  }

  find(segments: readonly string[]): Route | undefined {
    return this.#table.find(segments)
  }

  get(path: string): Route | undefined {
    return this.#table.get(path)
  }

  all(): IterableIterator<[path: string, route: Route]> {
    return this.#table.entries()
  }

  set(path: string, data: RouteData): void {
    const previous = this.#table.get(path)
    const route = new Route(path, data, this.#client, previous)
    route.touch()
    this.#table.set(path, route)
    previous?.close()
    this.#hasTable = true
  }

  /** False when there is no such path. */
  delete(path: string): boolean {
    const route = this.#table.delete(path)
    route?.close()
    return route !== undefined
  }

  /**
   * Replaces the table at once. A path that keeps its target keeps its last activity. Routes for
   * which `keep` is true stay unless replaced.
   */
  replaceAll(
    entries: Iterable<readonly [path: string, data: RouteData]>,
    keep: (route: Route) => boolean,
  ): void {
    const old = new Map(this.#table.entries())
    const next = new Map<string, Route>()
    for (const [path, route] of old) if (keep(route)) next.set(path, route)
    for (const [path, data] of entries) next.set(path, this.#successor(old.get(path), path, data))
    this.#table.replaceAll(next)
    this.#hasTable = true
    for (const [path, route] of old) if (next.get(path) !== route) route.close()
  }

  /** Ends all idle connections, at the end of the program. */
  close(): void {
    for (const [, route] of this.#table.entries()) route.close()
  }

  #successor(previous: Route | undefined, path: string, data: RouteData): Route {
    const route = new Route(path, data, this.#client, previous)
    if (previous?.target.url !== data.target.url) route.touch()
    return route
  }
}

/**
 * The key of a path in the table: decoded, without a slash at its end.
 * Null when it cannot be decoded, does not begin with `/`, has empty segments or too many of them.
 */
export function routeKey(encodedPath: string): string | null {
  try {
    return asRouteKey(decodeURIComponent(encodedPath))
  } catch {
    return null
  }
}

/** The same for a path that is decoded already. */
export function asRouteKey(path: string): string | null {
  if (path === '' || path === '/') return '/'
  const key = path.endsWith('/') ? path.slice(0, -1) : path
  if (!key.startsWith('/') || key.includes('//') || key.endsWith('/') || key.includes('\0'))
    return null
  return key.split('/', maxDepth + 2).length > maxDepth + 1 ? null : key
}

/** Checks what was sent for a route. Returns a sentence that says what is wrong, or the route's data. */
export function readRouteData(body: unknown): RouteData | string {
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body)
  const url = isObject ? (body as JsonObject)['target'] : undefined
  if (typeof url !== 'string') return "Must specify 'target' as string"
  const target = parseTarget(url)
  if (target === null) return "'target' must be an http, https or http+unix URL"
  return { target, data: body as JsonObject }
}
