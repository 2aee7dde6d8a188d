import type { BenchHub } from './contender.ts'
import { cpuOf } from './process-figures.ts'
import type { LoadPlan } from './load-generator.ts'
import type { Bench, Figure } from './subject.ts'

/** Seconds of the same requests before those that count: V8 compiles code that runs often. */
const warmUp = 1

/** Figures of one kind of request: how many a second, and what each costs the hub and the proxy. */
export async function measureRequests(
  { hub, load, isQuick }: Bench,
  request: {
    readonly label: string
    readonly url: URL
    readonly headers: Readonly<Record<string, string>>
    readonly connections: number
    readonly turns?: LoadPlan['turns']
    /** Default: 2, or 1 in a quick run. */
    readonly seconds?: number
  },
): Promise<readonly Figure[]> {
  const { label, url, headers, connections, turns, seconds: length = isQuick ? 1 : 2 } = request
  const plan = { url: url.href, headers, connections, ...(turns ? { turns } : {}) }
  await load.run({ ...plan, seconds: warmUp })
  const before = cpuOfAll(hub)
  const { requests, seconds, p99 } = await load.run({ ...plan, seconds: length })
  const after = cpuOfAll(hub)
  const figures: Figure[] = [
    { label, value: requests / seconds, unit: '1/s' },
    { label: `${label}: 99th percentile`, value: p99, unit: 'ms' },
  ]
  if (!before || !after) return figures
  const cpu = (who: 'hub' | 'proxy'): Figure => ({
    label: `${label}: ${who} CPU each`,
    value: (after[who] - before[who]) / requests,
    unit: 'ms',
  })
  const goesThroughProxy = url.origin === hub.front.origin
  return [...figures, cpu('hub'), ...(goesThroughProxy ? [cpu('proxy')] : [])]
}

function cpuOfAll({
  processes,
}: BenchHub): { readonly hub: number; readonly proxy: number } | null {
  return processes && { hub: cpuOf(processes.hub), proxy: cpuOf(processes.proxy) }
}
