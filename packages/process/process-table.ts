import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** One process as the kernel tells it. */
export interface ProcessEntry {
  readonly pid: number
  readonly parent: number
  readonly group: number
  readonly session: number
  /** Clock ticks since boot (field 22 of `/proc/PID/stat`); elsewhere what `ps` calls `lstart`. */
  readonly startTime: string
  /** Ended, but not yet reaped by its parent. It still has a pid and still answers `kill(pid, 0)`. */
  readonly isZombie: boolean
}

const hasProc = process.platform === 'linux'
const psColumns = ['pid=', 'ppid=', 'pgid=', 'stat=', 'lstart='].flatMap((name) => ['-o', name])

/** How long a request for the table waits for others, so that many stops share one scan. */
const sharingWindow = 5
let nextTable: Promise<readonly ProcessEntry[]> | null = null

/**
 * The process with this pid, or null when there is none.
 * @throws when the question cannot be answered (out of file descriptors, for example).
 */
export function readProcess(pid: number): ProcessEntry | null {
  if (!hasProc) return readTable().find((entry) => entry.pid === pid) ?? null
  const stat = readStat(pid)
  return stat === null ? null : parseStat(pid, stat)
}

/** Every process of the machine, read after the call; callers within a few milliseconds share a scan. */
export function processTable(): Promise<readonly ProcessEntry[]> {
  nextTable ??= sleep(sharingWindow).then(() => {
    nextTable = null
    return readTable()
  })
  return nextTable
}

/**
 * The lines of `ps -A -o pid=,ppid=,pgid=,stat=,lstart=`. `ps` does not show sessions portably: the
 * group stands for the session.
 */
export function parsePs(output: string): ProcessEntry[] {
  return output.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(.+?)\s*$/.exec(line)
    if (!match) return []
    const [, pid, parent, group, state = '', startTime = ''] = match
    return {
      pid: Number(pid),
      parent: Number(parent),
      group: Number(group),
      session: Number(group),
      startTime,
      isZombie: state.startsWith('Z'),
    }
  })
}

function readTable(): ProcessEntry[] {
  if (!hasProc) return parsePs(execFileSync('ps', ['-A', ...psColumns], { encoding: 'utf8' }))
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    return readProcess(Number(name)) ?? []
  })
}

function readStat(pid: number): string | null {
  try {
    // As UTF-8, which Node reads in one go; any other encoding takes it a buffer of 64 KiB a file.
    return readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ESRCH') return null
    throw error
  }
}

/** The name in parentheses may hold anything, also `)` and spaces: the fields begin after the last one. */
function parseStat(pid: number, stat: string): ProcessEntry {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [state = '', parent, group, session] = fields
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTime: fields[19] ?? '',
    isZombie: state === 'Z' || state === 'X',
  }
}
