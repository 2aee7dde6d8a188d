import { processFamilies } from './process-metrics.ts'

type Kind = 'counter' | 'gauge' | 'summary' | 'histogram'

/** What a name is for, in the words of the text format. */
export type MetricFamilies = Readonly<Record<string, readonly [kind: Kind, help: string]>>

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
} as const satisfies MetricFamilies

export type MetricName = keyof typeof families

/** Series that are there from the start: values of labels show up with their first count. */
const unlabelled = Object.entries(families).flatMap(([name, [kind, help]]) => {
  return kind === 'summary' || kind === 'histogram' || help.includes(', by ') ? [] : [name]
})

const summaries = Object.entries(families).flatMap(([name, [kind]]) =>
  kind === 'summary' ? [name] : [],
)

/** Upper bounds of the histogram's buckets, in seconds. */
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** The quantiles of a summary. */
const quantiles = [0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 0.999]

/** Observations of a summary fall into steps of a tenth, from 0.1 microseconds on. */
const firstStep = 1e-7
const step = Math.log(1.1)

/** A summary: how many observations fell into each step, their sum and their number. */
interface Observed {
  readonly steps: number[]
  sum: number
  count: number
}

/** Values by series, such as `requests_proxy{status="200"}`: those of several processes add up. */
export type MetricSnapshot = Readonly<Record<string, number>>

/**
 * Numbers for Prometheus. A label's values are few and never name a user, a route or an address.
 */
export class Metrics {
  readonly #values = new Map<string, number>(unlabelled.map((series) => [series, 0]))
  readonly #durations = new Map<string, number[]>()
  readonly #summaries = new Map<string, Observed>(
    summaries.map((name) => [name, { steps: [], sum: 0, count: 0 }]),
  )

  count(name: MetricName, label = '', by = 1): void {
    const series = label === '' ? name : `${name}{${label}}`
    this.#values.set(series, (this.#values.get(series) ?? 0) + by)
  }

  set(name: MetricName, value: number, label = ''): void {
    this.#values.set(label === '' ? name : `${name}{${label}}`, value)
  }

  /** Adds to a summary. */
  time(name: MetricName, milliseconds: number): void {
    const observed = this.#summaries.get(name)
    if (!observed) return
    const seconds = milliseconds / 1000
    const at = seconds > firstStep ? Math.ceil(Math.log(seconds / firstStep) / step) : 0
    observed.steps[at] = (observed.steps[at] ?? 0) + 1
    observed.sum += seconds
    observed.count += 1
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
    for (const [name, observed] of this.#summaries) {
      for (const each of quantiles) {
        result[`${name}{quantile="${each}"}`] = quantileOf(observed, each)
      }
      result[`${name}_sum`] = observed.sum
      result[`${name}_count`] = observed.count
    }
    return result
  }
}

/** In seconds, a tenth too large at most. */
function quantileOf({ steps, count }: Observed, quantile: number): number {
  let left = quantile * count
  for (const [at, each = 0] of steps.entries()) {
    left -= each
    if (each > 0 && left <= 0) return at === 0 ? 0 : firstStep * Math.exp(at * step)
  }
  return 0
}

/** Of these the largest value of all processes counts, of all others the sum. */
const largest = /quantile=|^nodejs_eventloop_lag|^process_max_fds|^nodejs_version_info/

/** What several processes have counted, in one; the first is the one that was started first. */
export function addUp(snapshots: readonly MetricSnapshot[]): MetricSnapshot {
  const sum: Record<string, number> = {}
  for (const snapshot of snapshots) {
    for (const [series, value] of Object.entries(snapshot)) {
      const before = sum[series]
      if (before === undefined) sum[series] = value
      else if (largest.test(series)) sum[series] = Math.max(before, value)
      else if (series !== 'process_start_time_seconds') sum[series] = before + value
    }
  }
  return sum
}

/** The text format of Prometheus, 0.0.4. */
export function metricsText(snapshot: MetricSnapshot): string {
  const byFamily = new Map<string, string[]>()
  for (const [series, value] of Object.entries(snapshot)) {
    const name = familyOf(series)
    const lines = byFamily.get(name) ?? []
    lines.push(`${series} ${value}`)
    byFamily.set(name, lines)
  }
  const lines = Object.entries<readonly [Kind, string]>(all).flatMap(([name, [kind, help]]) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${kind}`,
    ...(byFamily.get(name) ?? []),
  ])
  return `${lines.join('\n')}\n`
}

const all: MetricFamilies = { ...families, ...processFamilies }

function familyOf(series: string): string {
  const [name = ''] = series.split('{')
  return Object.hasOwn(all, name) ? name : name.replace(/_(?:sum|count|bucket)$/, '')
}
