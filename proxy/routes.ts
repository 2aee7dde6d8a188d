import { RouteTable } from './route-table.ts'
import { inSlices } from './slices.ts'
import { type Target, parseTarget } from './target.ts'
import type { TargetClient, TargetPool } from './target-client.ts'
import { type Tombstone, Tombstones, readTombstone } from './tombstones.ts'

/** A JSON object, as it was posted. */
export type JsonObject = Readonly<Record<string, unknown>>

/** A record of the API: what was posted, and `last_activity` (ISO 8601, UTC, milliseconds). */
export type RouteRecord = JsonObject & { readonly target: string; readonly last_activity: string }

/** What a route was posted with, checked. */
export interface RouteData {
  readonly target: Target
  readonly data: JsonObject
}

/** What a path has, checked. */
export type Entry = RouteData | Tombstone

interface Activity {
  /** Milliseconds since the epoch. */
  at: number
}

/** Far more than any hub uses; keeps the cost of a change to the table small. */
export const maxDepth = 100

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

  get isOfJupyterHub(): boolean {
    return Object.hasOwn(this.data, 'jupyterhub')
  }

  /** When the route was last of use, in milliseconds since the epoch. */
  get lastActivity(): number {
    return this.#activity.at
  }

  /** Notes that the route is of use, or was. */
  touch(at = Date.now()): void {
    if (at > this.#activity.at) this.#activity.at = at
  }

  /** Takes up what is known from before a restart, earlier than anything since. */
  resumeActivity(at: number): void {
    this.#activity.at = at
  }

  /** Ends idle connections. Exchanges under way go on to their end. */
  close(): void {
    this.#isClosed = true
    this.#pool?.close()
  }

  toRecord(): RouteRecord {
    return { ...this.data, target: this.target.url, last_activity: this.#lastActivity }
  }

  /** The record as text, without a copy of the data: a list has many. */
  toJson(): string {
    if (Object.hasOwn(this.data, 'last_activity')) return JSON.stringify(this.toRecord())
    return `${JSON.stringify(this.data).slice(0, -1)},"last_activity":"${this.#lastActivity}"}`
  }

  get #lastActivity(): string {
    return new Date(this.#activity.at).toISOString()
  }
}

/** One change of the table, as it is sent to other processes and written to a file. */
export type RouteChange =
  | { readonly kind: 'set'; readonly path: string; readonly data: JsonObject }
  | { readonly kind: 'delete'; readonly path: string }
  | {
      readonly kind: 'replace'
      readonly table: readonly (readonly [path: string, data: JsonObject])[]
      /** Leaves tombstones, and the routes whose data lacks `jupyterhub`. */
      readonly onlyJupyterHub: boolean
    }

/** What answers a request: a route, unless a tombstone lies deeper. Then the route is the way to the hub. */
export interface Match {
  readonly route: Route | undefined
  readonly tombstone: Tombstone | undefined
}

/**
 * The routes of a running proxy. Every change takes effect with the next request; an existing path
 * is replaced whole. A path has a route or a tombstone, never both.
 */
export class Routes {
  readonly #table = new RouteTable<Route>()
  readonly #tombstones = new Tombstones()
  readonly #client: TargetClient
  /** False until the first route or table was set: then nobody can say yet where a request belongs. */
  #hasTable = false
  #replacing: Promise<void> | null = null

  constructor(client: TargetClient) {
    this.#client = client
  }

  /** While a table is being built: resolves when everybody has it. No change may be made before. */
  get replacing(): Promise<void> | null {
    return this.#replacing
  }

  get hasTable(): boolean {
    return this.#hasTable
  }

  get size(): number {
    return this.#table.size
  }

  get tombstones(): Tombstones {
    return this.#tombstones
  }

  get depth(): number {
    return Math.max(this.#table.depth, this.#tombstones.depth)
  }

  find(segments: readonly string[]): Match {
    const route = this.#table.find(segments)
    const tombstone = this.#tombstones.find(segments)
    const isDeeper = tombstone && (!route || tombstone.path.length > route.path.length)
    if (!isDeeper) return { route, tombstone: undefined }
    const root = this.#table.get('/')
    return { route: root?.isHub ? root : route, tombstone }
  }

  get(path: string): Route | undefined {
    return this.#table.get(path)
  }

  all(): IterableIterator<[path: string, route: Route]> {
    return this.#table.entries()
  }

  /** The change must have been checked by `readEntry`. False when it deletes what is not there. */
  apply(change: RouteChange): boolean {
    if (change.kind === 'delete') return this.delete(change.path)
    if (change.kind === 'set') {
      const entry = readEntry(change.path, change.data)
      if (typeof entry !== 'string') this.set(change.path, entry)
    } else for (const _ of this.#replaceAll(checked(change.table), change.onlyJupyterHub));
    return true
  }

  set(path: string, entry: Entry): void {
    const previous = this.#table.get(path)
    if ('status' in entry) {
      this.#table.delete(path)
      this.#tombstones.set(entry)
    } else {
      const route = new Route(path, entry, this.#client, previous)
      route.touch()
      this.#table.set(path, route)
      this.#tombstones.delete(path)
    }
    this.#hasTable = true
    previous?.close()
  }

  /** False when there is neither a route nor a tombstone. */
  delete(path: string): boolean {
    const route = this.#table.delete(path)
    route?.close()
    return this.#tombstones.delete(path) || route !== undefined
  }

  /**
   * Puts a whole table in the place of the old one: at a stroke, but not before it is built, while
   * traffic goes on. Other changes wait until `published`, which is called then, has resolved. Tables
   * replace each other in the order of the calls.
   */
  async replace(
    table: Iterable<readonly [string, Entry]>,
    onlyJupyterHub: boolean,
    published: () => Promise<void> | undefined = () => undefined,
  ): Promise<void> {
    while (this.#replacing) await this.#replacing
    const building = inSlices(this.#replaceAll(table, onlyJupyterHub))
    this.#replacing = building.then(published).finally(() => {
      this.#replacing = null
    })
    await this.#replacing
  }

  /** Applies a change as `apply` does, a table in slices as `replace` does. */
  async take(change: RouteChange): Promise<void> {
    if (change.kind === 'replace') await this.replace(checked(change.table), change.onlyJupyterHub)
    else this.apply(change)
  }

  /** The table as one change. */
  toChange(): RouteChange {
    const routes = [...this.#table.entries()].map(([path, { data }]) => [path, data] as const)
    const graves = [...this.#tombstones.all()].map(([path, { data }]) => [path, data] as const)
    return { kind: 'replace', table: [...routes, ...graves], onlyJupyterHub: false }
  }

  /** Ends all idle connections, at the end of the program. */
  close(): void {
    for (const [, route] of this.#table.entries()) route.close()
  }

  /** In steps, of which one puts the new table into force. A path that keeps its target keeps its last activity. */
  *#replaceAll(
    table: Iterable<readonly [path: string, entry: Entry]>,
    onlyJupyterHub: boolean,
  ): Generator<void> {
    const old = new RouteTable<Route>()
    const next = new RouteTable<Route>()
    const graves: Tombstone[] = []
    if (onlyJupyterHub) {
      for (const [path, route] of this.#table.entries()) {
        if (!route.isOfJupyterHub) next.set(path, route)
        yield
      }
    }
    for (const [path, entry] of table) {
      if ('status' in entry) graves.push(entry)
      else next.set(path, this.#successor(path, entry))
      yield
    }
    old.become(this.#table)
    this.#table.become(next)
    this.#hasTable = true
    if (!onlyJupyterHub) this.#tombstones.clear()
    for (const grave of graves) this.#tombstones.set(grave)
    yield* this.#clearAway(old)
  }

  /** Until then a route stands before the tombstone of its path. */
  *#clearAway(old: RouteTable<Route>): Generator<void> {
    for (const [path] of this.#tombstones.all()) {
      if (this.#table.get(path)) this.#tombstones.delete(path)
      yield
    }
    for (const [path, route] of old.entries()) {
      if (this.#table.get(path) !== route) route.close()
      yield
    }
  }

  #successor(path: string, data: RouteData): Route {
    const previous = this.#table.get(path)
    const route = new Route(path, data, this.#client, previous)
    if (previous?.target.url !== data.target.url) route.touch()
    return route
  }
}

function* checked(
  table: Iterable<readonly [path: string, data: JsonObject]>,
): Generator<[path: string, entry: Entry]> {
  for (const [path, data] of table) {
    const entry = readEntry(path, data)
    if (typeof entry !== 'string') yield [path, entry]
  }
}

/** Checks what was sent for a path: a route or a tombstone, or a sentence that says what is wrong. */
export function readEntry(path: string, body: unknown): Entry | string {
  return readTombstone(path, body) ?? readRouteData(body)
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
  return isDeeper(key, maxDepth) ? null : key
}

function isDeeper(key: string, depth: number): boolean {
  for (let at = key.indexOf('/'); at >= 0; at = key.indexOf('/', at + 1)) {
    if (depth === 0) return true
    depth -= 1
  }
  return false
}

/** Returns a sentence that says what is wrong, or the route's data. */
function readRouteData(body: unknown): RouteData | string {
  const isObject = typeof body === 'object' && body !== null && !Array.isArray(body)
  const url = isObject ? (body as JsonObject)['target'] : undefined
  if (typeof url !== 'string') return "Must specify 'target' as string"
  const target = parseTarget(url)
  if (target === null) return "'target' must be an http, https or http+unix URL"
  return { target, data: body as JsonObject }
}
