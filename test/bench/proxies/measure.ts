import { readdirSync, readlinkSync } from 'node:fs'
import type { Figure, Unit } from '../subject.ts'
import type { Helpers } from './helpers.ts'
import type { BenchProxy } from './proxies.ts'

export interface ProxyBench {
  readonly proxy: BenchProxy
  readonly helpers: Helpers
  readonly isQuick: boolean
}

/** One kind of thing that is measured about a proxy. Run in turns, each `rounds` times. */
export interface Measure {
  readonly name: string
  /** Only one round for what changes the proxy for good. */
  readonly isRepeatable: boolean
  run(bench: ProxyBench): Promise<readonly Figure[]>
}

export const figure = (label: string, value: number, unit: Unit): Figure => ({ label, value, unit })

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
