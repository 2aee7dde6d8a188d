import type { z } from 'zod'
import type { Json } from './spawner.ts'

/** What the hub attaches to a route, stored and returned verbatim by the proxy (JupyterHub's route data). */
export interface RouteData {
  readonly [key: string]: Json
}

/** One entry of the routing table. `routespec` begins and ends with `/` and is percent-encoded. */
export interface Route {
  readonly routespec: string
  /** `http://host:port` or `https://host:port`, no path. */
  readonly target: string
  readonly data: RouteData
}

/** A route as the proxy reports it. */
export interface ReportedRoute extends Route {
  /** When the route last carried a successful exchange; null when the proxy does not say. */
  readonly lastActivity: Date | null
}

/** What the hub hands a proxy driver. */
export interface ProxyContext {
  /** Where the proxy listens for browsers. */
  readonly bindUrl: URL
  /** Page server for errors: the proxy asks `<errorTarget>/<code>?url=`. */
  readonly errorTarget: string
  /** What is answered for a server that was buried. Default: 424. */
  readonly stoppedStatus?: number
  /** At least 32 random bytes, hex. Goes to the proxy by its environment, never by argv. */
  readonly authToken: string
  /** Base environment for a proxy process: PATH and locale, no secrets. */
  readonly env: Readonly<Record<string, string>>
  /** What an earlier run saved, or null: how a proxy that outlived its hub is recognised. */
  readonly saved: Json
  save(state: Json): Promise<void>
  /** Receives the proxy's output: absolute, folder exists. */
  readonly logFile: string
  readonly log: {
    info(message: string): void
    warn(message: string): void
  }
  /** Called after a restarted or newly reached proxy has lost its table: the hub restores all routes. */
  restore(): Promise<void>
}

/**
 * Drives one proxy. `add`, `delete`, `replaceAll` resolve once the proxy has acted: the next request
 * is routed by the new table. Connection errors and 5xx are retried with back-off for at most 30 s.
 * @throws {HubError} `proxy_unreachable`, naming the url and the cause.
 */
export interface Proxy {
  /**
   * Finds the proxy of the last run, or starts one, or (when told not to start one) waits until it
   * answers; then keeps watching it. Fails when a port is taken by somebody else, naming the owner
   * where that can be known.
   */
  start(signal: AbortSignal): Promise<void>
  /** Stops watching. With `andProcess`, also ends a proxy that this driver started or adopted. */
  stop(options: { readonly andProcess: boolean }): Promise<void>
  add(route: Route): Promise<void>
  /** Absent routes are fine. */
  delete(routespec: string): Promise<void>
  /**
   * Optional power, in the place of `delete` where a server has ended: what still asks for it by
   * itself is told so by the proxy, while people who open the address come to the hub. The next `add`
   * of the route ends that. A proxy that turns out not to know it deletes the route.
   */
  bury?(routespec: string, reason: BurialReason): Promise<void>
  /**
   * Optional power: a server is on its way there. Until `add` or `bury`, what asks for it by itself is
   * told to come again, and people who open the address come to the hub. Without effect on a proxy
   * that turns out not to know it.
   */
  announce?(routespec: string): Promise<void>
  /**
   * Optional power: the proxy, which somebody else runs, has another address or token now
   * (JupyterHub: `PATCH /hub/api/proxy`). Absent parts stay.
   */
  move?(to: { readonly apiUrl?: URL; readonly authToken?: string }): void
  /** The table as the proxy has it, only routes that the hub made (data has `jupyterhub`). */
  list(): Promise<readonly ReportedRoute[]>
  /** Makes the hub's routes equal to `routes`: at once where the proxy can, else longest first and `/` last. */
  replaceAll(routes: readonly Route[]): Promise<void>
}

/** Why there is no server any more. */
export type BurialReason = 'stopped' | 'crashed'

export interface ProxyDriver<Schema extends z.ZodObject = z.ZodObject> {
  readonly name: string
  readonly config: Schema
  readonly create: (config: z.output<Schema>, context: ProxyContext) => Proxy
}

export function defineProxy<Schema extends z.ZodObject>(driver: ProxyDriver<Schema>): ProxyDriver {
  return driver as unknown as ProxyDriver
}
