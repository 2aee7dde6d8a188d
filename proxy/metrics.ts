import { monitorEventLoopDelay } from 'node:perf_hooks'
import { readdirSync } from 'node:fs'

type Kind = 'counter' | 'gauge' | 'summary' | 'histogram'

/** What is counted. The names of configurable-http-proxy 5.3, then ours. */
const families = {
  api_route_get: ['counter', 'listings of the table'],
  api_route_add: ['counter', 'routes added over the API'],
  api_route_delete: ['counter', 'routes deleted over the API'],
  find_target_for_req: ['summary', 'time to find the route of a request, in seconds'],
  last_activity_updating: ['summary', 'time to note the activity of a route, in seconds'],
  requests_ws: ['counter', 'WebSocket requests'],
  requests_web: ['counter', 'other requests'],
  requests_proxy: ['counter', 'answers on the public side, by status'],
  requests_api: ['counter', 'answers of the API, by status'],
  proxy_open_connections: ['gauge', 'connections of clients'],
  proxy_open_websockets: ['gauge', 'WebSockets of clients'],
  proxy_request_duration_seconds: ['histogram', 'time from request to the end of its answer'],
  proxy_target_errors: ['counter', 'targets that gave no answer, by cause'],
  proxy_limited_requests: ['counter', 'requests refused by a limit, by its name'],
  proxy_routes: ['gauge', 'routes in the table'],
  proxy_tombstones: ['gauge', 'tombstones in the table'],
  proxy_workers: ['gauge', 'processes that serve the public side'],
  proxy_certificate_days_left: ['gauge', 'days until a certificate ends, by side'],
} as const satisfies Record<string, readonly [Kind, string]>

export type MetricName = keyof typeof families

/** Series that are there from the start: values of labels show up with their first count. */
const unlabelled = Object.entries(families).flatMap(([name, [kind, help]]) => {
  if (kind === 'summary') return [`${name}_sum`, `${name}_count`]
  return kind === 'histogram' || help.includes(', by ') ? [] : [name]
})

/** Upper bounds of the histogram's buckets, in seconds. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** Values by series, such as `requests_proxy{status="200"}`: those of several processes add up. */
export type MetricSnapshot = Readonly<Record<string, number>>

/**
 * Numbers for Prometheus. A label's values are few and never name a user, a route or an address.
 */
export class Metrics {
  readonly #values = new Map<string, number>(unlabelled.map((series) => [series, 0]))
  readonly #durations = new Map<string, number[]>()

  count(name: MetricName, label = '', by = 1): void {
    const series = label === '' ? name : `${name}{${label}}`
    this.#values.set(series, (this.#values.get(series) ?? 0) + by)
  }

  set(name: MetricName, value: number, label = ''): void {
    this.#values.set(label === '' ? name : `${name}{${label}}`, value)
  }

  /** Adds to a summary. */
  time(name: MetricName, milliseconds: number): void {
    this.count(`${name}_sum` as MetricName, '', milliseconds / 1000)
    this.count(`${name}_count` as MetricName)
  }

  /** Adds to the histogram of answers with that status. */
  duration(status: number, milliseconds: number): void {
    const label = `status="${status}"`
    let counts = this.#durations.get(label)
    if (!counts) this.#durations.set(label, (counts = buckets.map(() => 0).concat(0, 0)))
    const seconds = milliseconds / 1000
    const at = buckets.findIndex((bound) => seconds <= bound)
    const bucket = at < 0 ? buckets.length : at
    counts[bucket] = (counts[bucket] ?? 0) + 1
    counts[buckets.length + 1] = (counts[buckets.length + 1] ?? 0) + seconds
  }

  snapshot(): MetricSnapshot {
    const result = Object.fromEntries(this.#values)
    const name = 'proxy_request_duration_seconds'
    for (const [label, counts] of this.#durations) {
      let total = 0
      for (const [i, bound] of [...buckets, '+Inf'].entries()) {
        total += counts[i] ?? 0
        result[`${name}_bucket{${label},le="${bound}"}`] = total
      }
      result[`${name}_sum{${label}}`] = counts[buckets.length + 1] ?? 0
      result[`${name}_count{${label}}`] = total
    }
    return result
  }
}

/** The sum of what several processes have counted. */
export function addUp(snapshots: readonly MetricSnapshot[]): MetricSnapshot {
  const sum: Record<string, number> = {}
  for (const snapshot of snapshots) {
    for (const [series, value] of Object.entries(snapshot)) {
      sum[series] = (sum[series] ?? 0) + value
    }
  }
  return sum
}

/** The text format of Prometheus, 0.0.4. */
export function metricsText(snapshot: MetricSnapshot): string {
  const byFamily = new Map<string, string[]>()
  for (const [series, value] of Object.entries(snapshot)) {
    const name = familyOf(series)
    byFamily.set(name, [...(byFamily.get(name) ?? []), `${series} ${value}`])
  }
  const own = Object.entries<readonly [Kind, string]>(families).flatMap(([name, [kind, help]]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${kind}`,
    ...(byFamily.get(name) ?? []),
  ])
  return `${[...own, ...processMetrics()].join('\n')}\n`
}

function familyOf(series: string): string {
  const [name = ''] = series.split('{')
  return name in families ? name : name.replace(/_(?:sum|count|bucket)$/, '')
}

const loopDelay = monitorEventLoopDelay({ resolution: 20 })

/** Of the process that answers, under the usual names. */
function processMetrics(): string[] {
  loopDelay.enable()
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed, heapTotal, external } = process.memoryUsage()
  const lag = Number.isNaN(loopDelay.mean) ? 0 : loopDelay.mean / 1e9
  const gauges: [name: string, value: number, kind?: Kind][] = [
    ['process_cpu_user_seconds_total', user / 1e6, 'counter'],
    ['process_cpu_system_seconds_total', system / 1e6, 'counter'],
    ['process_cpu_seconds_total', (user + system) / 1e6, 'counter'],
    ['process_start_time_seconds', Math.round(Date.now() / 1000 - process.uptime())],
    ['process_resident_memory_bytes', rss],
    ['process_open_fds', openDescriptors()],
    ['nodejs_eventloop_lag_seconds', lag],
    ['nodejs_heap_size_total_bytes', heapTotal],
    ['nodejs_heap_size_used_bytes', heapUsed],
    ['nodejs_external_memory_bytes', external],
  ]
  return gauges
    .flatMap(([name, value, kind = 'gauge']) => [`# TYPE ${name} ${kind}`, `${name} ${value}`])
    .concat(`nodejs_version_info{version="${process.version}"} 1`)
}

function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0
  }
}
