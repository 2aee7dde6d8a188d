import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { describeError } from 'portico/errors'
import { plainHost } from './judgement.ts'
import type { Log } from './log.ts'
import { readRequestPath } from './request-path.ts'
import {
  type JsonObject,
  type RouteChange,
  type Routes,
  asRouteKey,
  maxDepth,
  readEntry,
} from './routes.ts'
import type { ProxySettings } from './settings.ts'

/** A module that is no storage backend. One line for the person who named it. */
export class BadBackend extends Error {
  override readonly name: string = 'BadBackend'
}

/** What `--storage-backend` of configurable-http-proxy asks of a class. Paths are decoded. */
interface Backend {
  getTarget(path: string): Promise<{ readonly prefix: string; readonly data: JsonObject } | null>
  getAll(): Promise<Readonly<Record<string, JsonObject>>>
  add(path: string, data: JsonObject): Promise<unknown>
  update(path: string, data: JsonObject): Promise<unknown>
  remove(path: string): Promise<unknown>
}

const methods = ['getTarget', 'getAll', 'add', 'update', 'remove'] as const
/** How long the backend may take for one answer, in milliseconds. What was known counts then. */
const askFor = 2_000

/** Opens what `--storage-backend` names, or null. @throws {BadBackend} */
export async function openBackend(
  { storageBackend, hostRouting, defaultTarget }: ProxySettings,
  routes: Routes,
  log: Log,
): Promise<BackedRoutes | null> {
  if (storageBackend === null) return null
  try {
    const backend = load(storageBackend, hostRouting)
    const backed = new BackedRoutes({ backend, routes, hostRouting, log })
    if (defaultTarget !== null) await backend.add('/', recordOf({ target: defaultTarget }))
    await backed.readAll()
    return backed
  } catch (error) {
    const [line] = describeError(error).split('\n')
    throw new BadBackend(`--storage-backend ${storageBackend}: ${line}`, { cause: error })
  }
}

function load(name: string, hostRouting: boolean): Backend {
  const Class: unknown = createRequire(join(process.cwd(), 'x'))(name)
  if (typeof Class !== 'function') throw new Error('it exports no class')
  const backend = Reflect.construct(Class, [{ storageBackend: name, hostRouting }]) as Backend
  const missing = methods.find((method) => typeof backend[method] !== 'function')
  if (missing !== undefined) throw new Error(`its class has no method ${missing}`)
  return backend
}

interface Parts {
  readonly backend: Backend
  readonly routes: Routes
  readonly hostRouting: boolean
  readonly log: Log
}

/**
 * Keeps `routes` as the backend has them, which other proxies may change: one path before each
 * request, all of them before each listing. A backend that fails or takes too long is told in the log,
 * and what was known stays. Tombstones are ours alone.
 */
export class BackedRoutes {
  readonly #parts: Parts
  #toldAt = Date.now()

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** Has every request of the server wait until the route of its path is known. */
  holdBack(server: Server): void {
    for (const event of ['request', 'checkContinue', 'upgrade'] as const) {
      const listeners = server.rawListeners(event)
      server.removeAllListeners(event)
      server.on(event, (...args: [IncomingMessage, ServerResponse | Duplex, ...unknown[]]) => {
        const [request, side] = args
        side.on('error', ignore)
        void this.#look(request).then(() => {
          if (side.destroyed) return
          for (const listener of listeners) Reflect.apply(listener, server, args)
        })
      })
    }
  }

  /** Resolves when the change, which `routes` has already, is in the backend. */
  async append(change: RouteChange): Promise<void> {
    const { backend, routes } = this.#parts
    await this.#ask(async () => {
      if (change.kind === 'delete' || (change.kind === 'set' && !routes.get(change.path))) {
        await backend.remove(change.path)
      } else if (change.kind === 'set') await backend.add(change.path, recordOf(change.data))
      else {
        const before = await backend.getAll()
        for (const path of Object.keys(before)) if (!routes.get(path)) await backend.remove(path)
        for (const [path, { data }] of routes.all()) await backend.add(path, recordOf(data))
      }
    })
  }

  /** Tells the backend of activity, and takes over what it has. */
  async gather(): Promise<void> {
    const { backend, routes } = this.#parts
    const since = this.#toldAt
    this.#toldAt = Date.now()
    await this.#ask(async () => {
      for (const [path, { lastActivity }] of routes.all()) {
        if (lastActivity < since) continue
        await backend.update(path, { last_activity: new Date(lastActivity) })
      }
      await this.readAll()
    })
  }

  async readAll(): Promise<void> {
    const { backend, routes } = this.#parts
    const all = Object.entries(await backend.getAll())
    const paths = new Set(all.map(([path, data]) => this.#take(path, data)))
    for (const path of [...routes.all()].map(([each]) => each)) {
      if (!paths.has(path)) routes.delete(path)
    }
  }

  async #look(request: IncomingMessage): Promise<void> {
    const { backend, routes, hostRouting } = this.#parts
    const read = readRequestPath(request.url ?? '', maxDepth)
    if (read.kind === 'refused') return
    const segments = hostRouting
      ? [plainHost(request.headers.host ?? ''), ...read.segments]
      : read.segments
    await this.#ask(async () => {
      const found = await backend.getTarget(`/${segments.join('/')}`)
      const path = found && this.#take(found.prefix, found.data)
      for (;;) {
        const { route, tombstone } = routes.find(segments)
        if (!route || tombstone || route.path === path) return
        routes.delete(route.path)
      }
    })
  }

  /** Returns the path when it has a route. */
  #take(prefix: string, data: JsonObject): string | null {
    const { routes } = this.#parts
    const path = asRouteKey(prefix)
    const entry = path === null ? '' : readEntry(path, data)
    if (path === null || typeof entry === 'string' || 'status' in entry) return null
    const known = routes.get(path)
    const time = new Date(data['last_activity'] as string | Date).getTime()
    const isKnown = known && textOf(known.data) === textOf(data)
    if (!isKnown) routes.set(path, entry)
    if (!known && time <= Date.now()) routes.get(path)?.resumeActivity(time)
    else if (time <= Date.now()) known?.touch(time)
    return path
  }

  async #ask(question: () => Promise<void>): Promise<void> {
    const patience = new AbortController()
    const late = sleep(askFor, undefined, { signal: patience.signal }).then(() => {
      throw new Error('no answer in time')
    })
    try {
      await Promise.race([question(), late])
    } catch (error) {
      this.#parts.log.error(`the storage backend failed: ${describeError(error)}`)
    } finally {
      late.catch(ignore)
      patience.abort()
    }
  }
}

/** What tells two routes apart. */
function textOf(data: JsonObject): string {
  return JSON.stringify({ ...data, last_activity: null })
}

function recordOf(data: JsonObject): JsonObject {
  return { ...data, last_activity: new Date() }
}

function ignore(): void {}
