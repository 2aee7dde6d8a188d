import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { HubError, describeError } from 'portico/errors'
import { programPath, rotateLog } from 'portico/process'
import {
  type BurialReason,
  type Proxy,
  type ProxyContext,
  type ReportedRoute,
  type Route,
  type RouteData,
  defineProxy,
} from 'portico/proxy'
import { z } from 'zod'
import { ProxyApi } from './api-client.ts'
import { logLevels } from './log.ts'
import { ProxyProcess, type ProxyProgram, addressOf } from './proxy-process.ts'
import { depthOfPath, escapePath, pathOfRoutespec, routespecOfPath } from './routespec.ts'
import { TrustedPeers } from './trusted-peers.ts'

/** Stands for our own program, wherever it is installed. */
const ownName = 'portico-proxy'

const config = z.strictObject({
  /** Where the proxy's REST API listens. JupyterHub: `ConfigurableHTTPProxy.api_url`. */
  apiUrl: z.url({ protocol: /^https?$/ }).default('http://127.0.0.1:8001'),
  /** Whether the hub starts the proxy. When not, it waits for one that answers at `apiUrl`. */
  shouldStart: z.boolean().default(true),
  /**
   * Program to start and flags for it, such as `['portico-proxy', '--workers', 'auto']`, which is our
   * own, or `['configurable-http-proxy']`, which is looked for on the PATH and gets only flags that
   * configurable-http-proxy 5.3 knows. What the hub itself sets stands after these flags, and counts.
   * Default: our own.
   */
  command: z
    .union([z.string().min(1), z.tuple([z.string().min(1)], z.string())])
    .default([ownName]),
  /** Seconds between two looks at whether the proxy still runs. */
  checkRunningInterval: z.number().positive().max(3600).default(5),
  /** How much the proxy writes to its log. */
  logLevel: z.enum(logLevels).default('info'),
  /** How many requests to the API may be under way at once. */
  concurrency: z.int().min(1).max(1000).default(10),
  /**
   * Front ends whose `X-Forwarded-*` headers the proxy believes: addresses, networks, `loopback`,
   * `unix`. Default: the latter two.
   */
  trustedProxies: z.array(z.string().superRefine(checkPeer)).optional(),
})

function checkPeer(entry: string, context: z.RefinementCtx): void {
  try {
    new TrustedPeers([entry]).trusts(null)
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
  }
}

type Config = z.output<typeof config>

/** Our own proxy, or an unmodified configurable-http-proxy: both speak the same REST API. */
export const configurableHttpProxy = defineProxy({
  name: 'configurable-http-proxy',
  config,
  create: (options, context) => new ConfigurableHttpProxy(options, context),
})

/** How long to wait for a proxy that somebody else starts. */
const appearWithin = 30_000
/** A proxy that lived for so long has not failed at its start. */
const settledAfter = 10_000
const longestPause = 30_000
/** How long changes wait for the table after a restart. */
const restoreWithin = 10_000

const records = z.record(z.string(), z.looseObject({ target: z.string() }))
type Records = z.output<typeof records>

class ConfigurableHttpProxy implements Proxy {
  readonly #config: Config
  readonly #context: ProxyContext
  readonly #end = new AbortController()
  readonly #api: ProxyApi
  readonly #process: ProxyProcess
  /** Decoded paths that the proxy should have. */
  readonly #paths = new Set<string>()
  /** Changes of single routes wait for this: else an older table could undo them. */
  #table: Promise<unknown> = Promise.resolve()
  #replacing: Promise<unknown> = Promise.resolve()
  #watching: Promise<void> = Promise.resolve()
  /** Whether a restarted proxy still waits for what the hub has to restore. */
  #isTableLost = false
  #knowsTombstones = true
  /** Ends the pause between two looks at the proxy. */
  #wake: () => void = () => {}

  constructor(options: Config, context: ProxyContext) {
    const { signal } = this.#end
    const { concurrency } = options
    const apiUrl = options.apiUrl.replace(/\/$/, '')
    this.#config = options
    this.#context = context
    this.#api = new ProxyApi({ apiUrl, token: context.authToken, concurrency, signal })
    this.#process = new ProxyProcess(programOf(options, context), context, this.#api, () =>
      this.#wake(),
    )
  }

  async start(signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([signal, this.#end.signal])
    if (!this.#config.shouldStart) {
      await this.#untilAnswers(until)
      this.#watching = this.#watchForeign()
      return
    }
    if (!(await this.#process.adopt())) await this.#process.start(until)
    this.#watching = this.#watchOwn()
  }

  async stop({ andProcess }: { readonly andProcess: boolean }): Promise<void> {
    this.#end.abort()
    this.#wake()
    await this.#watching
    this.#api.close()
    if (andProcess && this.#config.shouldStart) await this.#process.stop()
  }

  async add(route: Route): Promise<void> {
    await this.#table
    await this.#post(route)
  }

  async delete(routespec: string): Promise<void> {
    await this.#table
    await this.#remove(pathOfRoutespec(routespec))
  }

  async bury(routespec: string, reason: BurialReason): Promise<void> {
    await this.#table
    const path = pathOfRoutespec(routespec)
    const { stoppedStatus = 424 } = this.#context
    const isBuried = await this.#setTombstone(path, { status: stoppedStatus, reason })
    if (!isBuried) return this.#remove(path)
    this.#paths.delete(path)
  }

  async announce(routespec: string): Promise<void> {
    await this.#table
    await this.#setTombstone(pathOfRoutespec(routespec), { status: 503, reason: 'starting' })
  }

  /** False where the proxy does not know tombstones: an unmodified configurable-http-proxy asks for a target. */
  async #setTombstone(path: string, tombstone: object): Promise<boolean> {
    if (!this.#knowsTombstones) return false
    const body = { tombstone, jupyterhub: true }
    const { status } = await this.#api.send('POST', apiPath(path), body)
    if (status === 400) this.#knowsTombstones = false
    return status < 300
  }

  move({ apiUrl, authToken }: { readonly apiUrl?: URL; readonly authToken?: string }): void {
    this.#knowsTombstones = true
    this.#api.move({
      ...(apiUrl ? { apiUrl: apiUrl.href.replace(/\/$/, '') } : {}),
      ...(authToken === undefined ? {} : { token: authToken }),
    })
  }

  async list(): Promise<readonly ReportedRoute[]> {
    return Object.entries(await this.#ownRecords()).map(([path, record]) => {
      const { target, last_activity: at, jupyterhub: _, ...data } = record
      const lastActivity = typeof at === 'string' && !Number.isNaN(Date.parse(at))
      return {
        routespec: routespecOfPath(path),
        target,
        data: data as RouteData,
        lastActivity: lastActivity ? new Date(at) : null,
      }
    })
  }

  replaceAll(routes: readonly Route[]): Promise<void> {
    const replaced = this.#replacing.then(() => this.#replaceAll(routes))
    this.#replacing = replaced.catch(() => {})
    this.#table = this.#replacing
    return replaced
  }

  async #replaceAll(routes: readonly Route[]): Promise<void> {
    const table = new Map(routes.map((route) => [pathOfRoutespec(route.routespec), route]))
    const body = Object.fromEntries([...table].map(([path, route]) => [path, recordOf(route)]))
    const { status, text } = await this.#api.send('PUT', '/api/routes?only=jupyterhub', body)
    if (status === 404 || status === 405) await this.#replaceOneByOne(table)
    else if (status >= 300) throw refused('the table', status, text)
    this.#paths.clear()
    for (const path of table.keys()) this.#paths.add(path)
  }

  /** Longest first and `/` last: until a route is there, its requests reach nobody else's server. */
  async #replaceOneByOne(table: ReadonlyMap<string, Route>): Promise<void> {
    const present = await this.#ownRecords()
    const missing = [...table].filter(([path, route]) => !isSame(present[path], recordOf(route)))
    const depths = [...new Set(missing.map(([path]) => depthOfPath(path)))]
    for (const depth of depths.toSorted((a, b) => b - a)) {
      const level = missing.filter(([path]) => depthOfPath(path) === depth)
      await Promise.all(level.map(([, route]) => this.#post(route)))
    }
    const stale = Object.keys(present).filter((path) => !table.has(path))
    await Promise.all(stale.map((path) => this.#remove(path)))
  }

  async #post(route: Route): Promise<void> {
    const path = pathOfRoutespec(route.routespec)
    const { status, text } = await this.#api.send('POST', apiPath(path), recordOf(route))
    if (status >= 300) throw refused(route.routespec, status, text)
    this.#paths.add(path)
  }

  async #remove(path: string): Promise<void> {
    this.#paths.delete(path)
    const { status, text } = await this.#api.send('DELETE', apiPath(path))
    if (status >= 300 && status !== 404) throw refused(path, status, text)
  }

  /** What the proxy has of ours: the rest is somebody else's business. */
  async #ownRecords(): Promise<Records> {
    const { status, text } = await this.#api.send('GET', '/api/routes')
    if (status !== 200) throw refused('the table', status, text)
    const all = Object.entries(records.parse(JSON.parse(text)))
    return Object.fromEntries(all.filter(([, record]) => Object.hasOwn(record, 'jupyterhub')))
  }

  async #untilAnswers(signal: AbortSignal): Promise<void> {
    const { apiUrl } = this.#config
    const deadline = performance.now() + appearWithin
    for (;;) {
      signal.throwIfAborted()
      const asked = await this.#api.ask('GET', '/api/routes', 5_000).catch((error: Error) => error)
      if (!(asked instanceof Error) && asked.status === 200) return
      if (performance.now() > deadline) {
        const why = asked instanceof Error ? describeError(asked) : `it answers ${asked.status}`
        const message = `no proxy answers at ${apiUrl} (${why}): start it, or set proxy.shouldStart`
        throw new HubError('proxy_unreachable', message)
      }
      await sleep(200, undefined, { signal })
    }
  }

  /** Restarts the proxy whenever it has ended; ever more slowly when it does not live long. */
  async #watchOwn(): Promise<void> {
    const { log, logFile } = this.#context
    let startedAt = performance.now()
    let pause = 0
    while (!this.#end.signal.aborted) {
      await this.#tick()
      if (this.#end.signal.aborted) return
      await rotateLog(logFile).catch((error: unknown) => log.warn(describeError(error)))
      if (this.#process.isRunning()) {
        if (this.#isTableLost) await this.#restore()
        continue
      }
      const wasSettled = performance.now() - startedAt > settledAfter
      pause = wasSettled ? 0 : Math.min(longestPause, pause * 2 + 250)
      log.warn(`the proxy has ended; starting it again${pause ? ` in ${pause} ms` : ''}`)
      await sleep(pause, undefined, { signal: this.#end.signal }).catch(() => {})
      startedAt = performance.now()
      await this.#restart().catch((error: unknown) => {
        if (!this.#end.signal.aborted) log.warn(`cannot start the proxy: ${describeError(error)}`)
      })
    }
  }

  async #restart(): Promise<void> {
    this.#end.signal.throwIfAborted()
    await this.#process.start(this.#end.signal)
    this.#isTableLost = true
    await this.#restore()
  }

  /** Asks the hub for its table, again with the next look when that failed. Until it has come, no single change may pass for the whole. */
  async #restore(): Promise<void> {
    const { log } = this.#context
    const limit = sleep(restoreWithin, undefined, { ref: false })
    const restored = this.#context.restore()
    this.#table = Promise.race([restored.catch(() => {}), limit])
    await restored.catch((error: unknown) => {
      if (!this.#end.signal.aborted)
        log.warn(`the routes are not restored: ${describeError(error)}`)
    })
  }

  /** Watches a proxy that somebody else starts: it may come back without its table. */
  async #watchForeign(): Promise<void> {
    const { log } = this.#context
    let answered = true
    while (!this.#end.signal.aborted) {
      await this.#tick()
      if (this.#end.signal.aborted) return
      const state = await this.#lookForTable()
      if (state === 'unreachable' && answered) log.warn('the proxy does not answer')
      if (state !== 'unreachable' && !answered) log.info('the proxy answers again')
      answered = state !== 'unreachable'
      if (state === 'lost') await this.#restore()
    }
  }

  /** Asks for one route that should be there, the root only where there is no other: it has no page of its own. */
  async #lookForTable(): Promise<'present' | 'lost' | 'unreachable'> {
    await this.#table
    const witness = firstBelowRoot(this.#paths)
    const path = witness === undefined ? '/api/routes' : apiPath(witness)
    const asked = await this.#api.ask('GET', path, 5_000).catch(() => null)
    if (asked === null || asked.status >= 500 || asked.status === 403) return 'unreachable'
    if (witness !== undefined)
      return asked.status === 404 && this.#paths.has(witness) ? 'lost' : 'present'
    return this.#paths.has('/') && !Object.hasOwn(JSON.parse(asked.text) as object, '/')
      ? 'lost'
      : 'present'
  }

  /** Waits for the next look, or until `#wake` is called. */
  async #tick(): Promise<void> {
    if (this.#end.signal.aborted) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, this.#config.checkRunningInterval * 1000)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

/** Our own program knows more than configurable-http-proxy: flags that both know, then ours. */
function programOf(options: Config, context: ProxyContext): ProxyProgram {
  const { command, apiUrl, logLevel, trustedProxies } = options
  const publicSide = addressOf(context.bindUrl)
  const apiSide = addressOf(new URL(apiUrl))
  const binds = ['--ip', publicSide.host, '--port', String(publicSide.port)]
  binds.push('--api-ip', apiSide.host, '--api-port', String(apiSide.port))
  const flags = [...binds, '--error-target', context.errorTarget, '--log-level', logLevel]
  const [name, ...extra] = typeof command === 'string' ? ([command] as const) : command
  const isOurs = name === ownName
  if (isOurs) flags.push('--wait-for-routes')
  if (isOurs && trustedProxies) flags.push('--trusted-proxies', trustedProxies.join(','))
  return {
    command: isOurs ? programPath('proxy/main') : [name],
    flags: [...extra, ...flags],
    env: { CONFIGPROXY_AUTH_TOKEN: context.authToken },
    apiUrl: new URL(apiUrl),
  }
}

function firstBelowRoot(paths: Iterable<string>): string | undefined {
  for (const path of paths) if (path !== '/') return path
  return undefined
}

function recordOf({ target, data }: Route): Record<string, unknown> {
  return { ...data, target, jupyterhub: true }
}

function isSame(present: Records[string] | undefined, wanted: Record<string, unknown>): boolean {
  if (!present) return false
  const { last_activity: _, ...rest } = present
  return isDeepStrictEqual(rest, wanted)
}

function apiPath(path: string): string {
  return `/api/routes${escapePath(path)}`
}

function refused(what: string, status: number, text: string): HubError {
  const detail = text.slice(0, 200)
  return new HubError('proxy_unreachable', `the proxy refuses ${what}: ${status} ${detail}`.trim())
}
