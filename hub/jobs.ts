import { describeError } from '../packages/core/errors.ts'
import type { Activity } from './domain/activity.ts'
import type { Routes } from './domain/routes.ts'
import type { Servers } from './domain/servers.ts'
import type { SessionUse } from './domain/session-use.ts'
import type { Log } from './log.ts'

export interface JobsDeps {
  readonly routes: Routes
  readonly servers: Servers
  readonly activity: Activity
  readonly sessionUse: SessionUse
  readonly log: Log
  readonly clock: () => Date
  /** Seconds between two route checks. */
  readonly interval: number
  /** What forgets its expired rows once an hour. */
  readonly purged: readonly { purgeExpired(now: Date): Promise<void> }[]
}

/**
 * Work that comes round again: the route check with the activity that the proxy saw, and clearing
 * out what has expired. Returns how to end it.
 */
export function startJobs(deps: JobsDeps): () => void {
  const { routes, servers, activity, clock, purged, interval, sessionUse } = deps

  const collect = async (): Promise<void> => {
    const runs = new Map([...servers.runs()].map((run) => [run.prefix, run.row]))
    for (const { routespec, lastActivity } of await routes.check()) {
      const server = runs.get(routespec)
      if (!server || !lastActivity) continue
      activity.user(server.userId, lastActivity)
      activity.server(server, lastActivity)
    }
  }
  const purge = async (): Promise<void> => {
    for (const store of purged) await store.purgeExpired(clock())
  }

  const timers = [
    every(deps, interval, 'the route check', collect),
    every(deps, 60, 'ending idle logins', () => sessionUse.endIdle(clock())),
    every(deps, 3600, 'clearing out what has expired', purge),
  ]
  return () => timers.forEach((timer) => clearInterval(timer))
}

/** Runs `job` every so many seconds, never twice at once; a failure is a line in the log. */
function every(
  { log }: JobsDeps,
  seconds: number,
  what: string,
  job: () => Promise<void>,
): NodeJS.Timeout {
  let isRunning = false
  const run = async (): Promise<void> => {
    if (isRunning) return
    isRunning = true
    try {
      await job()
    } catch (error) {
      log.warn(`${what} failed`, { error: describeError(error) })
    } finally {
      isRunning = false
    }
  }
  return setInterval(() => void run(), seconds * 1000).unref()
}
