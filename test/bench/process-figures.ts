import { readFileSync } from 'node:fs'
import type { SupervisedProcess } from '../../packages/process/index.ts'
import { BenchError } from './contender.ts'

/** Linux counts in hundredths of a second, whatever the kernel's own tick is (`USER_HZ`). */
const tick = 10

/** CPU that a process has used so far, in ms; its children's is not part of it. */
export function cpuOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tick
}

/** Memory in MiB: `pss` counts pages shared with other processes in parts, `rss` in full. */
export function memoryOf(pid: number): { readonly pss: number; readonly rss: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1')
  const mib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN) / 1024
  return { pss: mib('Pss'), rss: mib('Rss') }
}

/** The pid of that one of a program's processes whose command line holds `part`. */
export async function pidOf(program: SupervisedProcess, part: string): Promise<number> {
  for (const { pid } of await program.members()) if (commandLine(pid).includes(part)) return pid
  throw new BenchError(`no process of the hub has ${part} in its command line`)
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}
