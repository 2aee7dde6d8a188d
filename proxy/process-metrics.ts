import { readFileSync, readdirSync } from 'node:fs'
import {
  type PerformanceEntry,
  PerformanceObserver,
  constants,
  monitorEventLoopDelay,
} from 'node:perf_hooks'
import { getHeapSpaceStatistics } from 'node:v8'
import type { MetricFamilies, MetricSnapshot } from './metrics.ts'

/**
 * What Node's client library for Prometheus tells of every process, and dashboards for Node look at:
 * the same names, labels and units.
 */
export const processFamilies = {
  process_cpu_user_seconds_total: ['counter', 'CPU time outside the kernel'],
  process_cpu_system_seconds_total: ['counter', 'CPU time in the kernel'],
  process_cpu_seconds_total: ['counter', 'CPU time'],
  process_start_time_seconds: ['gauge', 'when the process was started, in seconds since 1970'],
  process_resident_memory_bytes: ['gauge', 'memory in use'],
  process_virtual_memory_bytes: ['gauge', 'address space'],
  process_heap_bytes: ['gauge', 'data segment'],
  process_open_fds: ['gauge', 'open file descriptors'],
  process_max_fds: ['gauge', 'how many may be open'],
  nodejs_eventloop_lag_seconds: ['gauge', 'how late the event loop is now'],
  nodejs_eventloop_lag_min_seconds: ['gauge', 'shortest turn of its timer since the last look'],
  nodejs_eventloop_lag_max_seconds: ['gauge', 'longest turn'],
  nodejs_eventloop_lag_mean_seconds: ['gauge', 'mean of the turns'],
  nodejs_eventloop_lag_stddev_seconds: ['gauge', 'standard deviation of the turns'],
  nodejs_eventloop_lag_p50_seconds: ['gauge', '50th percentile of the turns'],
  nodejs_eventloop_lag_p90_seconds: ['gauge', '90th percentile of the turns'],
  nodejs_eventloop_lag_p99_seconds: ['gauge', '99th percentile of the turns'],
  nodejs_active_resources: ['gauge', 'what keeps the event loop alive'],
  nodejs_active_resources_total: ['gauge', 'their number'],
  nodejs_active_handles: ['gauge', 'those of them that live long: sockets, servers, pipes'],
  nodejs_active_handles_total: ['gauge', 'their number'],
  nodejs_active_requests: ['gauge', 'those of them that are requests to the system'],
  nodejs_active_requests_total: ['gauge', 'their number'],
  nodejs_heap_size_total_bytes: ['gauge', 'size of the heap'],
  nodejs_heap_size_used_bytes: ['gauge', 'what is used of it'],
  nodejs_external_memory_bytes: ['gauge', 'memory outside the heap that belongs to objects in it'],
  nodejs_heap_space_size_total_bytes: ['gauge', 'size of a part of the heap'],
  nodejs_heap_space_size_used_bytes: ['gauge', 'what is used of it'],
  nodejs_heap_space_size_available_bytes: ['gauge', 'what is left of it'],
  nodejs_version_info: ['gauge', 'version of Node'],
  nodejs_gc_duration_seconds: ['histogram', 'pauses for garbage collection, by kind'],
} as const satisfies MetricFamilies

/** Watches this process from its making on. One for each process whose numbers are asked for. */
export class ProcessMetrics {
  readonly #turns = monitorEventLoopDelay({ resolution: 10 })
  readonly #collections = new Map<string, number[]>()

  constructor() {
    this.#turns.enable()
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) this.#collected(entry)
    }).observe({ entryTypes: ['gc'] })
  }

  async snapshot(): Promise<MetricSnapshot> {
    return {
      ...systemValues(),
      ...(await this.#eventLoop()),
      ...resources(),
      ...heap(),
      ...this.#garbageCollections(),
    }
  }

  async #eventLoop(): Promise<MetricSnapshot> {
    const lag = await currentLag()
    const turns = this.#turns
    const seconds = (nanoseconds: number) => (turns.count === 0 ? 0 : nanoseconds / 1e9)
    const name = 'nodejs_eventloop_lag'
    const values = {
      [`${name}_seconds`]: lag,
      [`${name}_min_seconds`]: seconds(turns.min),
      [`${name}_max_seconds`]: seconds(turns.max),
      [`${name}_mean_seconds`]: seconds(turns.mean),
      [`${name}_stddev_seconds`]: seconds(turns.stddev),
      [`${name}_p50_seconds`]: seconds(turns.percentile(50)),
      [`${name}_p90_seconds`]: seconds(turns.percentile(90)),
      [`${name}_p99_seconds`]: seconds(turns.percentile(99)),
    }
    turns.reset()
    return values
  }

  #collected(entry: PerformanceEntry & { readonly detail?: { readonly kind?: number } }): void {
    const kind = kinds.get(entry.detail?.kind ?? -1)
    if (kind === undefined) return
    const seconds = entry.duration / 1000
    let counts = this.#collections.get(kind)
    if (!counts) this.#collections.set(kind, (counts = pauses.map(() => 0).concat(0, 0)))
    const at = pauses.findIndex((bound) => seconds <= bound)
    const bucket = at < 0 ? pauses.length : at
    counts[bucket] = (counts[bucket] ?? 0) + 1
    counts[pauses.length + 1] = (counts[pauses.length + 1] ?? 0) + seconds
  }

  #garbageCollections(): MetricSnapshot {
    const values: Record<string, number> = {}
    const name = 'nodejs_gc_duration_seconds'
    for (const [kind, counts] of this.#collections) {
      let total = 0
      for (const [i, bound] of [...pauses, '+Inf'].entries()) {
        total += counts[i] ?? 0
        values[`${name}_bucket{le="${bound}",kind="${kind}"}`] = total
      }
      values[`${name}_sum{kind="${kind}"}`] = counts[pauses.length + 1] ?? 0
      values[`${name}_count{kind="${kind}"}`] = total
    }
    return values
  }
}

/** Upper bounds of pauses, in seconds. */
const pauses = [0.001, 0.01, 0.1, 1, 2, 5]

const kinds: ReadonlyMap<number, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
])

function currentLag(): Promise<number> {
  const began = performance.now()
  return new Promise((resolve) => {
    setImmediate(() => resolve((performance.now() - began) / 1000))
  })
}

/** Where there is no `/proc`, what only it tells is 0. */
function systemValues(): MetricSnapshot {
  const { user, system } = process.cpuUsage()
  const status = textOf('/proc/self/status')
  const kilobytes = (name: string) =>
    numberIn(status, new RegExp(`^${name}:\\s+(\\d+)`, 'm')) * 1024
  return {
    process_cpu_user_seconds_total: user / 1e6,
    process_cpu_system_seconds_total: system / 1e6,
    process_cpu_seconds_total: (user + system) / 1e6,
    process_start_time_seconds: Math.round(Date.now() / 1000 - process.uptime()),
    process_resident_memory_bytes: process.memoryUsage.rss(),
    process_virtual_memory_bytes: kilobytes('VmSize'),
    process_heap_bytes: kilobytes('VmData'),
    process_open_fds: openDescriptors(),
    process_max_fds: numberIn(textOf('/proc/self/limits'), /^Max open files\s+(\d+)/m),
  }
}

function resources(): MetricSnapshot {
  const counts = new Map<string, number>()
  const count = (series: string) => counts.set(series, (counts.get(series) ?? 0) + 1)
  for (const kind of ['resources', 'handles', 'requests'])
    counts.set(`nodejs_active_${kind}_total`, 0)
  for (const type of process.getActiveResourcesInfo()) {
    const kinds = ['resources']
    if (/Req(?:Wrap|uest)?$|ReqCallback$/.test(type)) kinds.push('requests')
    else if (type.endsWith('Wrap')) kinds.push('handles')
    for (const kind of kinds) {
      count(`nodejs_active_${kind}{type="${kind === 'handles' ? handleName(type) : type}"}`)
      count(`nodejs_active_${kind}_total`)
    }
  }
  return Object.fromEntries(counts)
}

/** As the classes of JavaScript are called. */
function handleName(type: string): string {
  return type
    .replace(/Wrap$/, '')
    .replace(/^(?:TCP|Pipe)Server$/, 'Server')
    .replace(/^(?:TCPSocket|Pipe)$/, 'Socket')
}

function heap(): MetricSnapshot {
  const { heapTotal, heapUsed, external } = process.memoryUsage()
  const spaces = getHeapSpaceStatistics().flatMap((space) => {
    const label = `{space="${space.space_name.replace(/_space$/, '')}"}`
    return [
      [`nodejs_heap_space_size_total_bytes${label}`, space.space_size],
      [`nodejs_heap_space_size_used_bytes${label}`, space.space_used_size],
      [`nodejs_heap_space_size_available_bytes${label}`, space.space_available_size],
    ] as const
  })
  const [major, minor, patch] = process.versions.node.split('.')
  const version = `version="${process.version}",major="${major}",minor="${minor}",patch="${patch}"`
  return {
    nodejs_heap_size_total_bytes: heapTotal,
    nodejs_heap_size_used_bytes: heapUsed,
    nodejs_external_memory_bytes: external,
    ...Object.fromEntries(spaces),
    [`nodejs_version_info{${version}}`]: 1,
  }
}

function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return 0
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function numberIn(text: string, pattern: RegExp): number {
  return Number(pattern.exec(text)?.[1] ?? 0)
}
