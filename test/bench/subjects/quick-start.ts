import { setTimeout as sleep } from 'node:timers/promises'
import type { Launched } from '../launcher.ts'
import { startQuick } from '../hubs/portico.ts'
import { memoryOf } from '../process-figures.ts'
import type { Figure, Subject } from '../subject.ts'

/** Seconds after the start at which memory is read. */
const settledAfter = { quick: 10, full: 60 }

/** Portico without a config file, against its own budgets: 2 s, 90 MiB for the hub, 70 for the proxy. */
export const quickStart: Subject = {
  name: 'quick-start',
  summary: "Portico's quick start: seconds to health (budget 2), Pss (hub 90 MiB, proxy 70)",
  applies: (hub) => hub.contender === 'Portico',
  rounds: () => 1,
  async measure({ isQuick, launcher }) {
    const viaNpm = await startQuick(launcher, { viaNpm: true })
    await viaNpm.stop()
    const direct = await startQuick(launcher, { viaNpm: false })
    try {
      await sleep(1000 * (isQuick ? settledAfter.quick : settledAfter.full))
      const { hub, proxy } = await direct.pids()
      return [
        starts('npm start', viaNpm),
        starts('node dist/hub/main.js', direct),
        ...memory('hub', hub),
        ...memory('proxy', proxy),
      ]
    } finally {
      await direct.stop()
    }
  },
}

const starts = (label: string, { startSeconds }: Launched): Figure => ({
  label: `${label}: first answer of /hub/health`,
  value: startSeconds,
  unit: 's',
})

/** Rss is what Pss can be at most, when nobody else runs Node. */
function memory(who: string, pid: number): readonly Figure[] {
  const { pss, rss } = memoryOf(pid)
  return [
    { label: `${who}: Pss`, value: pss, unit: 'MiB' },
    { label: `${who}: Rss`, value: rss, unit: 'MiB' },
  ]
}
