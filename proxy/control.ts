import http from 'node:http'
import { routesApi } from './api.ts'
import { Certificate } from './certificates.ts'
import { type Address, closing, httpServer, listen } from './listeners.ts'
import type { Log } from './log.ts'
import { type MetricSnapshot, type Metrics, addUp, metricsText } from './metrics.ts'
import { ProcessMetrics } from './process-metrics.ts'
import { redirectServer } from './redirect.ts'
import type { RouteChange, Routes } from './routes.ts'
import type { ProxySettings } from './settings.ts'

export interface ControlOptions {
  readonly settings: ProxySettings
  readonly routes: Routes
  readonly metrics: Metrics
  /** Resolves when a change has reached everybody who has to know; undefined when nobody has. */
  readonly published: (change: RouteChange) => Promise<void> | undefined
  /** Resolves when `routes` knows the activity of now; returns what other processes have counted. */
  readonly gather: () => Promise<readonly MetricSnapshot[]>
  /** Those of the public side and towards targets. */
  readonly certificates: readonly Certificate[]
  readonly log: Log
}

/** The side of the operator: the REST API, metrics, and the port that redirects to https. */
export class Control {
  readonly #options: ControlOptions
  readonly #servers: http.Server[] = []
  readonly #apiCertificate: Certificate | null
  readonly #process: ProcessMetrics | null

  /** @throws {BadCertificate} */
  constructor(options: ControlOptions) {
    const { settings, log } = options
    this.#options = options
    this.#process = settings.metricsBind && new ProcessMetrics()
    this.#apiCertificate = settings.apiTls && new Certificate('api', settings.apiTls, log)
  }

  /**
   * Starts all listeners. Returns where the API is.
   * @throws {CannotListen} nothing of this side listens then.
   */
  async listen(publicAddress: Address): Promise<Address> {
    try {
      await this.#listenBesides(publicAddress)
      return await this.#listenApi()
    } catch (error) {
      for (const server of this.#servers) server.close()
      throw error
    }
  }

  /** Reads certificates again when they have changed, at once and from time to time. */
  watch(signal: AbortSignal): void {
    for (const certificate of this.#certificates()) certificate.watch(signal)
  }

  refresh(): void {
    for (const certificate of this.#certificates()) certificate.refresh()
  }

  /** Stops accepting, and gives what is under way so many milliseconds to end. */
  async close(grace: number): Promise<void> {
    const idle = setInterval(() => this.#servers.forEach((each) => each.closeIdleConnections()), 20)
    const force = setTimeout(
      () => this.#servers.forEach((each) => each.closeAllConnections()),
      grace,
    )
    await Promise.all(this.#servers.map(closing))
    clearInterval(idle)
    clearTimeout(force)
  }

  #listenApi(): Promise<Address> {
    const { settings, routes, metrics, published, gather, log } = this.#options
    const requestCert = settings.apiTls?.requestCert ?? false
    const server = httpServer({ headersTimeout: 20_000 }, this.#apiCertificate, requestCert)
    const api = routesApi({
      routes,
      token: settings.authToken,
      hostRouting: settings.hostRouting,
      published,
      gather: async () => void (await gather()),
      metrics,
      log,
    })
    server.on('request', api)
    return this.#listen(server, settings.apiBind)
  }

  async #listenBesides(publicAddress: Address): Promise<void> {
    const { redirect, metricsBind } = this.#options.settings
    if (metricsBind) await this.#listen(this.#metricsServer(), metricsBind)
    if (!redirect) return
    const publicPort = typeof publicAddress === 'string' ? 443 : publicAddress.port
    const server = redirectServer(redirect.to || publicPort)
    await this.#listen(server, { host: null, port: redirect.port })
  }

  #listen(server: http.Server, bind: ProxySettings['apiBind']): Promise<Address> {
    this.#servers.push(server)
    return listen(server, bind)
  }

  #metricsServer(): http.Server {
    return http.createServer({ headersTimeout: 20_000 }, (request, response) => {
      const [path] = (request.url ?? '').split('?', 1)
      if (path !== '/metrics') return void response.writeHead(404).end()
      this.#metricsText().then(
        (text) => {
          response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' })
          response.end(text)
        },
        (error: unknown) => {
          this.#options.log.error(`the metrics failed: ${String(error)}`)
          response.destroy()
        },
      )
    })
  }

  async #metricsText(): Promise<string> {
    const { routes, metrics, gather, settings } = this.#options
    const others = await gather()
    metrics.set('proxy_routes', routes.size)
    metrics.set('proxy_tombstones', routes.tombstones.size)
    metrics.set('proxy_workers', settings.workers)
    for (const { side, daysLeft } of this.#certificates()) {
      if (daysLeft === null) continue
      metrics.set('proxy_certificate_days_left', Math.floor(daysLeft), `side="${side}"`)
    }
    const own = { ...metrics.snapshot(), ...(await this.#process?.snapshot()) }
    return metricsText(addUp([own, ...others]))
  }

  #certificates(): Certificate[] {
    const { certificates } = this.#options
    return [...certificates, ...(this.#apiCertificate ? [this.#apiCertificate] : [])]
  }
}
