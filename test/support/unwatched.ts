import { createMetrics } from '../../hub/metrics.ts'

/** Metrics that nobody reads. */
export const metrics = createMetrics({
  prefix: 'unwatched',
  runningServers: () => 0,
  totalUsers: () => Promise.resolve(0),
  activeUsers: () => Promise.resolve(0),
  clock: () => new Date(),
})
