import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { type ProcessEntry, readProcess } from './process-table.ts'

/**
 * What tells one process from every other, also after its pid was given to another one or the
 * machine was restarted. Plain JSON, holds no secret.
 */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks since boot (field 22 of `/proc/PID/stat`), as text. */
  readonly startTime: string
  /** `/proc/sys/kernel/random/boot_id`. */
  readonly bootId: string
}

let thisBoot: string | null = null

/**
 * The identity of the process that has this pid now, or null when there is none.
 * @throws when the question cannot be answered.
 */
export function identityOf(pid: number): ProcessIdentity | null {
  const entry = readProcess(pid)
  return entry && { pid, startTime: entry.startTime, bootId: bootId() }
}

/**
 * Whether that very process still runs. One that has ended but was not reaped does not; nor does
 * another one with the same pid.
 * @throws when the question cannot be answered, which is not the same as false.
 */
export function isAlive(identity: ProcessIdentity): boolean {
  const entry = readProcess(identity.pid)
  return entry !== null && isEntryOf(identity, entry) && !entry.isZombie
}

/** Whether this line of the process table is that process, alive or a zombie. */
export function isEntryOf(identity: ProcessIdentity, entry: ProcessEntry): boolean {
  return (
    entry.pid === identity.pid &&
    entry.startTime === identity.startTime &&
    identity.bootId === bootId()
  )
}

/** Reads back what `JSON.stringify` made of an identity. Null for anything else. */
export function parseIdentity(json: unknown): ProcessIdentity | null {
  if (typeof json !== 'object' || json === null) return null
  const { pid, startTime, bootId: boot } = json as Record<keyof ProcessIdentity, unknown>
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid < 2) return null
  if (typeof startTime !== 'string' || startTime === '' || typeof boot !== 'string') return null
  return { pid, startTime, bootId: boot }
}

/** Stays the same until the machine restarts. */
export function bootId(): string {
  thisBoot ??=
    process.platform === 'linux'
      ? readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
      : execFileSync('sysctl', ['-n', 'kern.boottime'], { encoding: 'utf8' }).trim()
  return thisBoot
}
