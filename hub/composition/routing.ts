import { join } from 'node:path'
import type { Proxy } from '../../packages/core/proxy.ts'
import type { Config } from '../config.ts'
import { Routes } from '../domain/routes.ts'
import type { Servers } from '../domain/servers.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { Log } from '../log.ts'
import { type Metrics, stopwatch } from '../metrics.ts'
import type { Secrets } from '../secrets.ts'
import type { Database } from '../store/database.ts'
import { processStore } from '../store/processes.ts'

/** Longest time that the proxy may take to be there, in ms. */
const startPatience = 60_000

/** The proxy, and the table that it is to follow; the hub itself is the first entry. */
export async function createRouting(deps: {
  readonly config: Config
  readonly secrets: Secrets
  readonly env: Readonly<Record<string, string>>
  readonly metrics: Metrics
  readonly database: Database
  readonly log: Log
  readonly urls: HubUrls
  readonly logDir: string
}): Promise<{ readonly proxy: Proxy; readonly routes: Routes }> {
  const { config, secrets, env, metrics, database, log, urls, logDir } = deps
  const { driver, options } = config.proxy
  const processes = processStore(database)
  const proxy = driver.create(options, {
    bindUrl: config.hub.bindUrl,
    errorTarget: `${urls.connectOrigin}${urls.hubPrefix}error`,
    stoppedStatus: config.hub.useLegacyStoppedServerStatusCode ? 503 : 424,
    authToken: secrets.proxyToken,
    env,
    saved: await processes.load('proxy'),
    save: (data) => processes.save('proxy', data),
    logFile: join(logDir, 'proxy.log'),
    log,
    restore: () => routes.restore(),
  })
  const { apiUrl } = options
  const ownOrigins = [urls.connectOrigin]
  if (typeof apiUrl === 'string') ownOrigins.push(new URL(apiUrl).origin)
  const routes = new Routes({ proxy, metrics, log, ownOrigins })
  const data = { hub: true }
  routes.expect({ routespec: urls.baseUrl, target: urls.connectOrigin, data })
  return { proxy, routes }
}

/** Finds the servers of the last run, and brings the proxy up with all routes. */
export async function takeUp(parts: {
  readonly servers: Servers
  readonly proxy: Proxy
  readonly routes: Routes
  readonly metrics: Metrics
  readonly state: { isAdopted: boolean; isProxyUp: boolean }
  /** Seconds to wait for the servers; the rest goes on meanwhile. */
  readonly patience: number
}): Promise<void> {
  const { servers, proxy, routes, metrics, state, patience } = parts
  const seconds = stopwatch()
  const adopted = servers.adopt(patience).then(() => {
    state.isAdopted = true
    metrics.adopted(seconds())
  })
  await Promise.all([adopted, proxy.start(AbortSignal.timeout(startPatience))])
  await routes.restore()
  state.isProxyUp = true
}
