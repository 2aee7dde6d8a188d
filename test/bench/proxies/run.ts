import type { Launcher } from '../launcher.ts'
import { type Row, rowsOf } from '../report.ts'
import type { Figure } from '../subject.ts'
import { startHelpers } from './helpers.ts'
import type { Measure, ProxyBench } from './measure.ts'
import { measures } from './measures.ts'
import { type BenchProxy, proxyContenders } from './proxies.ts'

/**
 * Measures our proxy beside configurable-http-proxy and nginx, those that are installed, in turns.
 * All that it has started has ended when the promise settles, also when `signal` aborts.
 */
export async function measureProxies(
  launcher: Launcher,
  isQuick: boolean,
  note: (line: string) => void,
  signal: AbortSignal,
): Promise<{ readonly contenders: readonly string[]; readonly rows: readonly Row[] }> {
  const helpers = await startHelpers()
  const running = new Set<BenchProxy>()
  const start = async (): Promise<ProxyBench[]> => {
    const benches: ProxyBench[] = []
    for (const each of proxyContenders()) {
      const proxy = await each({ folder: launcher.folder(), target: helpers.target })
      running.add(proxy)
      benches.push({ proxy, helpers, isQuick, added: 0 })
    }
    return benches
  }
  const stop = async (): Promise<void> => {
    await Promise.all([helpers.stop(), ...[...running].map((proxy) => proxy.stop())])
  }
  signal.addEventListener('abort', () => void stop())
  try {
    const lasting = await start()
    const contenders = lasting.map(({ proxy }) => proxy.name)
    const rows: Row[] = []
    for (const measure of measures) {
      note(`measuring the proxies: ${measure.name}`)
      const benches = measure.isFresh ? await start() : lasting
      rows.push(...rowsOf('proxy', contenders, await roundsOf(measure, benches)))
      if (benches !== lasting) await Promise.all(benches.map(({ proxy }) => proxy.stop()))
    }
    return { contenders, rows }
  } finally {
    await stop()
  }
}

async function roundsOf(
  measure: Measure,
  benches: readonly ProxyBench[],
): Promise<Map<string, (readonly Figure[])[]>> {
  const found = new Map<string, (readonly Figure[])[]>()
  for (const bench of benches) {
    found.set(bench.proxy.name, [])
    await measure.warmUp?.(bench)
  }
  const isQuick = benches.some((bench) => bench.isQuick)
  for (let round = isQuick ? Math.min(2, measure.rounds) : measure.rounds; round > 0; round -= 1) {
    for (const bench of benches) found.get(bench.proxy.name)?.push(await measure.run(bench))
  }
  return found
}
