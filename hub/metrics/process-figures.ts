import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { Counter, Gauge, type Registry } from 'prom-client'

/**
 * The figures that Prometheus' client libraries give of every process, under their names. Where there
 * is no `/proc` those that need it are left out.
 * https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics
 */
export function registerProcessFigures(registry: Registry): void {
  const startedAt = Date.now() / 1000 - process.uptime()
  const gauge = (name: string, help: string, read: () => number): void => {
    const shown: Gauge = new Gauge({
      name: `process_${name}`,
      help,
      registers: [registry],
      collect: () => shown.set(read()),
    })
  }
  const cpu: Counter = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Total user and system CPU time spent in seconds.',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage()
      cpu.reset()
      cpu.inc((user + system) / 1e6)
    },
  })
  gauge(
    'start_time_seconds',
    'Start time of the process since unix epoch in seconds.',
    () => startedAt,
  )
  gauge('resident_memory_bytes', 'Resident memory size in bytes.', () => process.memoryUsage.rss())
  if (!existsSync('/proc/self/fd')) return
  gauge('virtual_memory_bytes', 'Virtual memory size in bytes.', virtualMemory)
  gauge('open_fds', 'Number of open file descriptors.', () => readdirSync('/proc/self/fd').length)
  gauge('max_fds', 'Maximum number of open file descriptors.', mostFiles)
}

function virtualMemory(): number {
  const kilobytes = /^VmSize:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  return Number(kilobytes ?? 0) * 1024
}

/** The soft limit. */
function mostFiles(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity)
}
