import { describeError } from '../packages/core/errors.ts'
import { after, type Deferred, deferred } from '../packages/core/promises.ts'
import type { Proxy } from '../packages/core/proxy.ts'
import type { Servers } from './domain/servers.ts'
import type { Services } from './domain/services.ts'
import type { Log } from './log.ts'

/** What ends with the hub; `now` hurries a stop that is under way. */
export interface StopOptions {
  readonly servers: boolean
  readonly proxy: boolean
  readonly now?: boolean
}

/** What a stopped hub has left. */
export interface Stopped {
  readonly reason: string
  readonly runningServers: number
  readonly proxyRuns: boolean
}

/** Closes what was opened, newest first, each whatever became of the others. */
export class Closers {
  readonly #closers: (() => unknown)[] = []

  add(close: () => unknown): void {
    this.#closers.push(close)
  }

  async close(log: Log): Promise<void> {
    for (const close of this.#closers.splice(0).toReversed())
      try {
        await close()
      } catch (error) {
        log.warn('while stopping', { error: describeError(error) })
      }
  }
}

/** Longest time that running servers may take to stop, in ms. */
const serversPatience = 60_000

/** The one end of a hub, whoever asks for it first: a signal, a command or the API. */
export class Stopping {
  readonly #wanted: Deferred<StopOptions & { readonly reason: string }> = deferred()
  readonly #hurry: Deferred<void> = deferred()

  /** The first request counts; a later one with `now` hurries it. */
  request(options: StopOptions, reason: string): void {
    this.#wanted.resolve({ ...options, reason })
    if (options.now) this.#hurry.resolve()
  }

  /** Waits for a request and carries it out: services and servers, proxy, then everything of the hub itself. */
  async carryOut(parts: {
    readonly servers: Servers
    readonly services: Services
    readonly proxy: Proxy
    readonly closers: Closers
    readonly log: Log
  }): Promise<Stopped> {
    const { servers, services, proxy, closers, log } = parts
    const wanted = await this.#wanted.promise
    void this.#hurry.promise.then(() => services.stop({ now: true }))
    const servicesStopped = services.stop({ now: false })
    if (wanted.servers) {
      void this.#hurry.promise.then(() => servers.killAll())
      await Promise.race([servers.stopAll(), after(serversPatience)])
    }
    await servicesStopped
    const runningServers = servers.activeCount
    servers.detach()
    await proxy.stop({ andProcess: wanted.proxy })
    await closers.close(log)
    return { reason: wanted.reason, runningServers, proxyRuns: !wanted.proxy }
  }
}
