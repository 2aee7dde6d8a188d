import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { registerProcessFigures } from './metrics/process-figures.ts'

/** How a start has ended; `reason` is empty unless it did not go well. */
export interface SpawnOutcome {
  readonly status: 'success' | 'failure' | 'error'
  readonly reason: string
}

/** What makes a login wait: wrong ones under its name or from its address, or that so many are under way. */
export type Throttle = (typeof throttles)[number]
const throttles = ['name_and_address', 'address', 'name', 'load'] as const

/** Where durations and counts are told, in seconds. Every call is cheap. */
export interface Metrics {
  /** A request that has been answered; `handler` names what answered, and must be one of few. */
  answered(request: {
    readonly method: string
    readonly handler: string
    readonly code: number
    readonly seconds: number
  }): void
  spawned(seconds: number, outcome: SpawnOutcome): void
  serverStopped(seconds: number, isOk: boolean): void
  serverPolled(seconds: number, isRunning: boolean): void
  routeAdded(seconds: number, isOk: boolean): void
  routeDeleted(seconds: number, isOk: boolean): void
  routesPolled(seconds: number): void
  routesChecked(seconds: number): void
  loggedIn(seconds: number, isOk: boolean): void
  loggedOut(seconds: number): void
  /** A login was sent away, or answered later, for what came before it. */
  loginThrottled(by: Throttle): void
  /** Servers of the last run have been looked at. */
  adopted(seconds: number): void
  /** The hub is ready. */
  started(seconds: number): void
  /** A browser has told of something that the content security policy forbids. */
  cspReported(): void
  /** The figures at this moment, in the text format of Prometheus. */
  read(): Promise<{ readonly text: string; readonly type: string }>
  /** Ends the timers. */
  stop(): void
}

export interface MetricsDeps {
  /** First word of all names. JupyterHub: `jupyterhub`. */
  readonly prefix: string
  readonly runningServers: () => number
  readonly totalUsers: () => Promise<number>
  /** Users who have done something since then. */
  readonly activeUsers: (since: Date) => Promise<number>
  readonly clock: () => Date
}

/** A clock for one duration: returns the seconds since. */
export function stopwatch(): () => number {
  const started = performance.now()
  return () => (performance.now() - started) / 1000
}

/** Those of Prometheus' client for Python, which JupyterHub has without a word. */
const usual = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const spawnBuckets = [0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 180, 300, 600]

/** Seconds between two looks at how late the event loop is. */
const loopInterval = 0.05
const loopBuckets = [loopInterval, 0.055, 0.06, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

const periods = { '24h': 1, '7d': 7, '30d': 30 } as const
const day = 86_400_000
const hour = 3_600_000

/**
 * JupyterHub's metrics under its names and labels, so that its dashboards and alerts go on working;
 * `handler` alone has our own values, the patterns of paths. Label values that are known beforehand
 * are there from the start. https://jupyterhub.readthedocs.io/en/stable/reference/metrics.html
 */
export function createMetrics(deps: MetricsDeps): Metrics {
  const registry = new Registry()
  const make = makers(registry, deps.prefix)
  const answered = requestTimer(make)
  const spawns = make.histogram(
    'server_spawn_duration_seconds',
    'time taken for server spawning operation',
    {
      labels: ['status', 'reason'],
      buckets: spawnBuckets,
    },
  )
  for (const status of ['success', 'failure', 'error']) spawns.zero({ status, reason: '' })
  const polls = make.histogram(
    'server_poll_duration_seconds',
    'time taken to poll if server is running',
    { labels: ['status'] },
  )
  const logins = make.histogram('login_duration_seconds', 'login method duration', {
    labels: ['status'],
  })
  // As JupyterHub shows them since 2.0: dashboards ask for these.
  const pollStatus = { running: 'ServerPollStatus.running', stopped: 'ServerPollStatus.stopped' }
  const loginStatus = { success: 'LoginStatus.success', failure: 'LoginStatus.failure' }
  for (const status of Object.values(pollStatus)) polls.zero({ status })
  for (const status of Object.values(loginStatus)) logins.zero({ status })
  const stops = make.outcomes('server_stop_seconds', 'time taken for server stopping operation')
  const additions = make.outcomes(
    'proxy_add_duration_seconds',
    'duration for adding user routes to proxy',
  )
  const deletions = make.outcomes(
    'proxy_delete_duration_seconds',
    'duration for deleting user routes from proxy',
  )
  const plain = plainTimers(make)
  const stop = startGauges(make, deps)
  registerProcessFigures(registry)
  return {
    ...plain,
    ...counters(make),
    answered,
    spawned: (seconds, { status, reason }) => spawns.observe({ status, reason }, seconds),
    serverStopped: stops,
    serverPolled: (seconds, isRunning) =>
      polls.observe({ status: isRunning ? pollStatus.running : pollStatus.stopped }, seconds),
    routeAdded: additions,
    routeDeleted: deletions,
    loggedIn: (seconds, isOk) =>
      logins.observe({ status: isOk ? loginStatus.success : loginStatus.failure }, seconds),
    read: async () => ({ text: await registry.metrics(), type: registry.contentType }),
    stop,
  }
}

type Makers = ReturnType<typeof makers>

function makers(registry: Registry, prefix: string) {
  const registers = [registry]
  const histogram = (
    name: string,
    help: string,
    {
      labels = [],
      buckets = usual,
    }: { readonly labels?: string[]; readonly buckets?: number[] } = {},
  ) => new Histogram({ name: `${prefix}_${name}`, help, labelNames: labels, buckets, registers })
  return {
    histogram,
    gauge: (name: string, help: string, collect?: (gauge: Gauge) => void | Promise<void>) => {
      const gauge: Gauge = new Gauge({
        name: `${prefix}_${name}`,
        help,
        registers,
        labelNames: name === 'active_users' ? ['period'] : [],
        ...(collect ? { collect: () => collect(gauge) } : {}),
      })
      return gauge
    },
    counter: (name: string, help: string, labelNames: string[] = []) =>
      new Counter({ name: `${prefix}_${name}`, help, registers, labelNames }),
    /** A histogram with a label that says whether it went well. */
    outcomes(name: string, help: string): (seconds: number, isOk: boolean) => void {
      const shown = histogram(name, help, { labels: ['status'] })
      const success = shown.labels('success')
      const failure = shown.labels('failure')
      for (const status of ['success', 'failure']) shown.zero({ status })
      return (seconds, isOk) => (isOk ? success : failure).observe(seconds)
    },
  }
}

/** Methods with a label of their own; whatever else people send is one more. */
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** Every request passes here: labels are looked up once for each handler, method and code. */
function requestTimer({ histogram }: Makers): Metrics['answered'] {
  const shown = histogram('request_duration_seconds', 'request duration for all HTTP requests', {
    labels: ['method', 'handler', 'code'],
  })
  const known = new Map<string, Map<number, { observe(seconds: number): void }>>()
  return ({ method, handler, code, seconds }) => {
    const index = methods.indexOf(method)
    const number = code * 8 + index + 1
    const own = known.get(handler) ?? new Map<number, { observe(seconds: number): void }>()
    if (own.size === 0) known.set(handler, own)
    const timer = own.get(number) ?? shown.labels(methods[index] ?? 'other', handler, String(code))
    own.set(number, timer)
    timer.observe(seconds)
  }
}

/** Durations without labels. */
function plainTimers({ histogram }: Makers) {
  const timer = (name: string, help: string): ((seconds: number) => void) => {
    const shown = histogram(name, help)
    return (seconds) => shown.observe(seconds)
  }
  return {
    routesPolled: timer(
      'proxy_poll_duration_seconds',
      'duration for polling all routes from proxy',
    ),
    routesChecked: timer(
      'check_routes_duration_seconds',
      'Time taken to validate all routes in proxy',
    ),
    loggedOut: timer('logout_duration_seconds', 'logout method duration'),
    adopted: timer('init_spawners_duration_seconds', 'Time taken for spawners to initialize'),
    started: timer('hub_startup_duration_seconds', 'Time taken for Hub to start'),
  }
}

/** What is only counted. */
function counters({ counter }: Makers): Pick<Metrics, 'loginThrottled' | 'cspReported'> {
  const reports = counter(
    'csp_reports_total',
    'number of reports of what the content security policy forbids',
  )
  const throttled = counter(
    'login_throttled_total',
    'number of logins that were sent away or slowed down, by what for',
    ['by'],
  )
  for (const by of throttles) throttled.inc({ by }, 0)
  return {
    loginThrottled: (by) => throttled.inc({ by }),
    cspReported: () => reports.inc(),
  }
}

/** What is read at each scrape, once an hour, and all the time. Returns how to end it. */
function startGauges({ gauge, histogram }: Makers, deps: MetricsDeps): () => void {
  gauge('running_servers', 'the number of user servers currently running', (shown) =>
    shown.set(deps.runningServers()),
  )
  gauge('total_users', 'total number of users', async (shown) => shown.set(await deps.totalUsers()))
  const active = gauge('active_users', 'number of users who were active in the given time period')
  const countActive = async (): Promise<void> => {
    const now = deps.clock().getTime()
    for (const [period, days] of Object.entries(periods))
      active.set({ period }, await deps.activeUsers(new Date(now - days * day)))
  }
  const hourly = setInterval(() => void countActive().catch(() => {}), hour).unref()
  void countActive().catch(() => {})

  const loop = histogram(
    'event_loop_interval_seconds',
    'Distribution of measured event loop intervals',
    {
      buckets: loopBuckets,
    },
  )
  let last = performance.now()
  const often = setInterval(() => {
    const now = performance.now()
    loop.observe((now - last) / 1000)
    last = now
  }, loopInterval * 1000).unref()
  return () => {
    clearInterval(hourly)
    clearInterval(often)
  }
}
