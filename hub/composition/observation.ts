import { type AnswerLog, accessLog } from '../access-log.ts'
import type { Access } from '../domain/access.ts'
import { EventFeed } from '../domain/event-feed.ts'
import { writeEventLog } from '../event-log.ts'
import type { Events } from '../events.ts'
import type { Log } from '../log.ts'
import { measureServers } from '../metrics/server-durations.ts'
import { createMetrics, type Metrics } from '../metrics.ts'
import type { UserStore } from '../store/users.ts'

/** Whoever watches the hub sees it through these. */
export interface Observation {
  readonly metrics: Metrics
  readonly feed: EventFeed
  readonly answered: AnswerLog
  /** Ends streams and timers; resolves when the event log is written. */
  stopObserving(): Promise<void>
}

export interface ObservationDeps {
  readonly events: Events
  readonly access: Access
  readonly users: UserStore
  readonly log: Log
  readonly clock: () => Date
  /** First word of the metrics' names. */
  readonly prefix: string
  /** `hub.eventLogFile`. */
  readonly eventLogFile: string | undefined
}

export function createObservation(deps: ObservationDeps): Observation {
  const { events, users, log, eventLogFile } = deps
  const metrics: Metrics = createMetrics({
    ...deps,
    runningServers: () => servers.running(),
    totalUsers: () => users.count(),
    activeUsers: (since) => users.activeSince(since),
  })
  const servers = measureServers(events, metrics)
  const feed = new EventFeed(deps)
  const endLog = eventLogFile === undefined ? null : writeEventLog({ ...deps, file: eventLogFile })
  const logged = accessLog(log)
  return {
    metrics,
    feed,
    answered(answer) {
      logged(answer)
      const { req, status, pattern, started } = answer
      metrics.answered({
        method: req.method ?? '',
        handler: pattern ?? 'other',
        code: status,
        seconds: (performance.now() - started) / 1000,
      })
    },
    async stopObserving() {
      feed.close()
      servers.stop()
      metrics.stop()
      await endLog?.()
    },
  }
}
