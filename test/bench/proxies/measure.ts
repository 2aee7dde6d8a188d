import { readdirSync, readlinkSync } from 'node:fs'
import { cpuOf } from '../process-figures.ts'
import type { Figure, Unit } from '../subject.ts'
import type { Helpers } from './helpers.ts'
import type { BenchProxy } from './proxies.ts'
import type { Traffic, TrafficResult } from './traffic.ts'

/** One proxy, for as long as it runs. */
export interface ProxyBench {
  readonly proxy: BenchProxy
  readonly helpers: Helpers
  readonly isQuick: boolean
  /** How many routes `/user/ada-0` and so on it has got. */
  added: number
}

/** One kind of thing that is measured about a proxy. The proxies take turns, `rounds` times. */
export interface Measure {
  readonly name: string
  /** A quick run has two at most. One for what changes the proxy for good. */
  readonly rounds: number
  /** Whether it is measured on a proxy that has done nothing else. */
  readonly isFresh?: boolean
  /** Once for each proxy before its first round: code that runs often has been compiled by then. */
  warmUp?(bench: ProxyBench): Promise<unknown>
  run(bench: ProxyBench): Promise<readonly Figure[]>
}

export const figure = (label: string, value: number, unit: Unit): Figure => ({ label, value, unit })

/** What `plan` costs the proxy, in milliseconds of its CPU. */
export async function costOf(
  { proxy, helpers }: ProxyBench,
  plan: Traffic,
): Promise<{ readonly result: TrafficResult; readonly cpu: number }> {
  const before = cpuOf(proxy.pid)
  const result = await helpers.send(plan)
  return { result, cpu: cpuOf(proxy.pid) - before }
}

/** How many sockets the process has open. */
export function socketsOf(pid: number): number {
  const folder = `/proc/${pid}/fd`
  let count = 0
  for (const name of readdirSync(folder)) {
    try {
      if (readlinkSync(`${folder}/${name}`).startsWith('socket:')) count += 1
    } catch {
      // Closed in the meantime.
    }
  }
  return count
}
