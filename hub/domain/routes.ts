import { describeError, HubError } from '../../packages/core/errors.ts'
import { after } from '../../packages/core/promises.ts'
import type { BurialReason, Proxy, ReportedRoute, Route } from '../../packages/core/proxy.ts'
import type { Log } from '../log.ts'
import { type Metrics, stopwatch } from '../metrics.ts'

export interface RoutesDeps {
  readonly proxy: Proxy
  readonly log: Log
  readonly metrics: Pick<Metrics, 'routeAdded' | 'routeDeleted' | 'routesPolled' | 'routesChecked'>
  /** Origins that no server may be: the hub itself and the proxy's API. */
  readonly ownOrigins: readonly string[]
}

/** Longest time that the end of a server waits for the proxy, in ms. */
const removalPatience = 3000

/** The routing table as the hub believes it, and the proxy kept equal to it. */
export class Routes {
  readonly #deps: RoutesDeps
  readonly #wanted = new Map<string, Route>()
  /** Why there is no route where one was or will be, until the proxy knows. */
  readonly #reasons = new Map<string, BurialReason | 'starting'>()
  /** The last change of each route that the proxy has not answered yet. */
  readonly #changes = new Map<string, Promise<void>>()

  constructor(deps: RoutesDeps) {
    this.#deps = deps
  }

  /** @throws {HubError} `invalid_request` for a target the proxy must not reach, `proxy_unreachable`. */
  async add(route: Route): Promise<void> {
    if (route.data['hub'] !== true) this.checkTarget(route.target)
    this.#wanted.set(route.routespec, route)
    await this.#settle(route.routespec)
  }

  /**
   * A server is starting there: a proxy that can tells so to what asks for it. Returns at once and
   * never throws: the start does not depend on it.
   */
  announce(routespec: string): void {
    if (!this.#deps.proxy.announce || this.#wanted.has(routespec)) return
    this.#reasons.set(routespec, 'starting')
    this.#settle(routespec).catch((error: unknown) => {
      this.#warn('the proxy does not know of a start', routespec, error)
    })
  }

  /**
   * Never throws: a route that the proxy could not drop now is dropped by the next check. With a
   * reason, also for a start that never got its route, a proxy that can answers for the server that
   * was there.
   */
  async remove(routespec: string, reason?: BurialReason): Promise<void> {
    const wasWanted = this.#wanted.delete(routespec)
    if (reason) this.#reasons.set(routespec, reason)
    else if (!wasWanted) return
    const removed = this.#settle(routespec).catch((error: unknown) => {
      this.#warn('a route could not be removed now', routespec, error)
    })
    await Promise.race([removed, after(removalPatience)])
  }

  /** Takes up a route without telling the proxy: `restore` follows. */
  expect(route: Route): void {
    this.#wanted.set(route.routespec, route)
  }

  /** Gives the proxy the whole table. */
  restore(): Promise<void> {
    return this.#deps.proxy.replaceAll(this.all())
  }

  /** Compares with what the proxy has, mends every difference, and returns what it reports. */
  async check(): Promise<readonly ReportedRoute[]> {
    const { proxy, metrics } = this.#deps
    const seconds = stopwatch()
    const reported = await proxy.list()
    metrics.routesPolled(seconds())
    await this.#mend(reported)
    metrics.routesChecked(seconds())
    return reported
  }

  /**
   * The proxy is somewhere else now, or takes another token: speaks to it there and mends its table.
   * @throws {HubError} `invalid_request` for a proxy that cannot move, `proxy_unreachable`.
   */
  async moveProxy(to: { readonly apiUrl?: URL; readonly authToken?: string }): Promise<void> {
    const { proxy } = this.#deps
    if (!proxy.move)
      throw new HubError('invalid_request', 'this proxy cannot be reached at another address')
    proxy.move(to)
    await this.check()
  }

  all(): readonly Route[] {
    return [...this.#wanted.values()]
  }

  /**
   * Tells the proxy what is wanted of one route by then. Changes of the same route wait for each
   * other: the last one sent is the last one to arrive.
   */
  #settle(routespec: string): Promise<void> {
    const { proxy } = this.#deps
    const before = this.#changes.get(routespec) ?? Promise.resolve()
    const change = before
      .catch(() => {})
      .then(() => {
        const route = this.#wanted.get(routespec)
        const reason = this.#reasons.get(routespec)
        this.#reasons.delete(routespec)
        if (reason !== 'starting') return this.#tell(routespec, route, reason)
        return route ? this.#tell(routespec, route, undefined) : proxy.announce?.(routespec)
      })
    const forget = (): void => {
      if (this.#changes.get(routespec) === change) this.#changes.delete(routespec)
    }
    this.#changes.set(routespec, change)
    change.then(forget, forget)
    return change
  }

  async #tell(
    routespec: string,
    route: Route | undefined,
    reason: BurialReason | undefined,
  ): Promise<void> {
    const { proxy, metrics } = this.#deps
    const tell = (): Promise<void> => {
      if (route) return proxy.add(route)
      return reason && proxy.bury ? proxy.bury(routespec, reason) : proxy.delete(routespec)
    }
    const told = route ? metrics.routeAdded : metrics.routeDeleted
    const seconds = stopwatch()
    try {
      await tell()
      told(seconds(), true)
    } catch (error) {
      told(seconds(), false)
      throw error
    }
  }

  async #mend(reported: readonly ReportedRoute[]): Promise<void> {
    const { log } = this.#deps
    const actual = new Map(reported.map((route) => [route.routespec, route]))
    for (const { routespec, target } of this.#wanted.values())
      if (actual.get(routespec)?.target !== target) {
        log.warn('the proxy lacked a route or had another target', { route: routespec })
        await this.#settle(routespec)
      }
    for (const { routespec } of reported)
      if (!this.#wanted.has(routespec)) {
        log.warn('the proxy had a route that should be gone', { route: routespec })
        await this.#settle(routespec)
      }
  }

  #warn(message: string, route: string, error: unknown): void {
    this.#deps.log.warn(message, { route, error: describeError(error) })
  }

  /** @throws {HubError} `invalid_request` for a target the proxy must not reach. */
  checkTarget(target: string): void {
    const { ownOrigins } = this.#deps
    const url = new URL(target)
    const refuse = (why: string): never => {
      throw new HubError('invalid_request', why)
    }
    if (!['http:', 'https:'].includes(url.protocol))
      refuse(`a route's target must be http or https, not ${url.protocol}`)
    if (/^169\.254\.|^\[fe[89ab]/i.test(url.hostname))
      refuse(`a route's target must not be link-local (${url.hostname})`)
    if (ownOrigins.includes(url.origin))
      refuse(`${url.origin} is the hub or its proxy, not a server`)
  }
}
