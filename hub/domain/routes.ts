import { describeError, HubError } from '../../packages/core/errors.ts'
import { after } from '../../packages/core/promises.ts'
import type { Proxy, ReportedRoute, Route } from '../../packages/core/proxy.ts'
import type { Log } from '../log.ts'

/** The routing table as the hub believes it, and the proxy kept equal to it. */
export interface Routes {
  /** @throws {HubError} `invalid_request` for a target the proxy must not reach, `proxy_unreachable`. */
  add(route: Route): Promise<void>
  /** Never throws: a route that the proxy could not drop now is dropped by the next check. */
  remove(routespec: string): Promise<void>
  /** Takes up a route without telling the proxy: `restore` follows. */
  expect(route: Route): void
  /** Gives the proxy the whole table. */
  restore(): Promise<void>
  /** Compares with what the proxy has, mends every difference, and returns what it reports. */
  check(): Promise<readonly ReportedRoute[]>
  all(): readonly Route[]
}

/** Longest time that the end of a server waits for the proxy, in ms. */
const removalPatience = 3000

export function createRoutes(deps: {
  readonly proxy: Proxy
  readonly log: Log
  /** Origins that no server may be: the hub itself and the proxy's API. */
  readonly ownOrigins: readonly string[]
}): Routes {
  const { proxy, log, ownOrigins } = deps
  const wanted = new Map<string, Route>()

  const checkTarget = ({ target }: Route): void => {
    const url = new URL(target)
    if (!['http:', 'https:'].includes(url.protocol))
      throw new HubError(
        'invalid_request',
        `a route's target must be http or https, not ${url.protocol}`,
      )
    if (/^169\.254\.|^\[fe[89ab]/i.test(url.hostname))
      throw new HubError(
        'invalid_request',
        `a route's target must not be link-local (${url.hostname})`,
      )
    if (ownOrigins.includes(url.origin))
      throw new HubError('invalid_request', `${url.origin} is the hub or its proxy, not a server`)
  }

  const turns = new Map<string, Promise<void>>()

  /** Tells the proxy what is wanted of one route by then: changes of the same route wait for each other. */
  const settle = (routespec: string): Promise<void> => {
    const before = turns.get(routespec) ?? Promise.resolve()
    const turn = before
      .catch(() => {})
      .then(() => {
        const route = wanted.get(routespec)
        return route ? proxy.add(route) : proxy.delete(routespec)
      })
    const forget = (): void => {
      if (turns.get(routespec) === turn) turns.delete(routespec)
    }
    turns.set(routespec, turn)
    turn.then(forget, forget)
    return turn
  }

  const mend = async (reported: readonly ReportedRoute[]): Promise<void> => {
    const actual = new Map(reported.map((route) => [route.routespec, route]))
    for (const route of [...wanted.values()])
      if (actual.get(route.routespec)?.target !== route.target) {
        log.warn('the proxy lacked a route or had another target', { route: route.routespec })
        await settle(route.routespec)
      }
    for (const { routespec } of reported)
      if (!wanted.has(routespec)) {
        log.warn('the proxy had a route that should be gone', { route: routespec })
        await settle(routespec)
      }
  }

  return {
    async add(route) {
      if (route.data['hub'] !== true) checkTarget(route)
      wanted.set(route.routespec, route)
      await settle(route.routespec)
    },

    async remove(routespec) {
      if (!wanted.delete(routespec)) return
      const removed = settle(routespec).catch((error: unknown) => {
        log.warn('a route could not be removed now', {
          route: routespec,
          error: describeError(error),
        })
      })
      await Promise.race([removed, after(removalPatience)])
    },

    expect(route) {
      wanted.set(route.routespec, route)
    },

    restore: () => proxy.replaceAll([...wanted.values()]),

    async check() {
      const reported = await proxy.list()
      await mend(reported)
      return reported
    },

    all: () => [...wanted.values()],
  }
}
