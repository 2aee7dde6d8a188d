import type { AccessLog } from './access-log.ts'
import { Control } from './control.ts'
import { Front } from './front.ts'
import type { Address } from './listeners.ts'
import type { Log } from './log.ts'
import { Metrics } from './metrics.ts'
import { openRouteFile } from './route-file.ts'
import type { ProxySettings } from './settings.ts'
import { openBackend } from './storage-backend.ts'

/** A proxy that listens. */
export interface RunningProxy {
  readonly publicAddress: Address
  readonly apiAddress: Address
  /** Reads certificates again and opens the access log anew. */
  reload(): void
  /**
   * Stops accepting at once, gives requests under way `grace` milliseconds to end, then ends all
   * connections. WebSockets, which have no end of their own, are ended first.
   */
  close(grace: number): Promise<void>
}

/**
 * Starts all listeners in this process. Resolves when they accept connections.
 * @throws {CannotListen} and {BadCertificate}; nothing listens then.
 */
export async function startProxy(
  settings: ProxySettings,
  log: Log,
  accessLog: AccessLog | null = null,
): Promise<RunningProxy> {
  const metrics = new Metrics()
  const front = new Front({ settings, metrics, accessLog, log })
  const { routes, certificates } = front
  const file = await openRouteFile(settings, routes, log)
  const backend = await openBackend(settings, routes, log)
  backend?.holdBack(front.server)
  const control = new Control({
    settings,
    routes,
    metrics,
    certificates,
    published: (change) => (backend ?? file)?.append(change),
    gather: async () => {
      await backend?.gather()
      return []
    },
    log,
  })
  const publicAddress = await front.listen()
  const watching = new AbortController()
  try {
    const apiAddress = await control.listen(publicAddress)
    control.watch(watching.signal)
    const reload = () => {
      control.refresh()
      accessLog?.reopen()
    }
    const close = async (grace: number) => {
      watching.abort()
      await Promise.all([front.close(grace), control.close(grace)])
      await file?.close()
    }
    return { publicAddress, apiAddress, reload, close }
  } catch (error) {
    front.server.close()
    throw error
  }
}
