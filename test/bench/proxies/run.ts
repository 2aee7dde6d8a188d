import type { Launcher } from '../launcher.ts'
import { type Row, rowsOf } from '../report.ts'
import type { Figure } from '../subject.ts'
import { startHelpers } from './helpers.ts'
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
  const proxies: BenchProxy[] = []
  const stop = async (): Promise<void> => {
    await Promise.all([helpers.stop(), ...proxies.map((proxy) => proxy.stop())])
  }
  signal.addEventListener('abort', () => void stop())
  try {
    for (const start of proxyContenders()) {
      proxies.push(await start({ folder: launcher.folder(), target: helpers.target }))
    }
    const names = proxies.map(({ name }) => name)
    const rows: Row[] = []
    for (const measure of measures) {
      note(`measuring the proxies: ${measure.name}`)
      const found = new Map<string, (readonly Figure[])[]>(names.map((each) => [each, []]))
      for (let round = measure.isRepeatable && !isQuick ? 3 : 1; round > 0; round -= 1) {
        for (const proxy of proxies) {
          found.get(proxy.name)?.push(await measure.run({ proxy, helpers, isQuick }))
        }
      }
      rows.push(...rowsOf('proxy', names, found))
    }
    return { contenders: names, rows }
  } finally {
    await stop()
  }
}
