import { setTimeout as sleep } from 'node:timers/promises'
import { memoryOf } from '../process-figures.ts'
import type { BenchHub } from '../contender.ts'
import type { Figure, Subject } from '../subject.ts'

const settledAfter = 10_000

/** Memory of hub and proxy, before and after a burst of requests through the proxy. */
export const memory: Subject = {
  name: 'memory',
  summary: 'Pss of hub and proxy, idle and after load',
  applies: (hub) => hub.processes !== null,
  rounds: () => 1,
  async measure({ hub, load, isQuick }) {
    const rest = hub.startedAt + settledAfter - performance.now()
    if (rest > 0) await sleep(rest)
    const idle = memoryFigures(hub, 'idle')
    await load.run({
      url: new URL(`hub/api/users/${hub.user}`, hub.front).href,
      headers: { Authorization: `token ${hub.token}` },
      connections: 32,
      seconds: isQuick ? 2 : 5,
    })
    return [...idle, ...memoryFigures(hub, 'after load')]
  },
}

function memoryFigures({ processes }: BenchHub, when: string): readonly Figure[] {
  if (!processes) return []
  return Object.entries(processes).map(([who, pid]) => ({
    label: `${who}, ${when}: Pss`,
    value: memoryOf(pid).pss,
    unit: 'MiB',
  }))
}
