import { setTimeout as sleep } from 'node:timers/promises'
import { type ProcessIdentity, bootId, isEntryOf } from './identity.ts'
import { type ProcessEntry, processTable } from './process-table.ts'

const sweepDeadline = 5_000
const sweepInterval = 10

/**
 * A process that leads a session of its own, with everything that it started: the members of its
 * session, their descendants in other sessions (notebook kernels have sessions of their own), and
 * whoever was seen to be a descendant earlier and has lost its parent since.
 *
 * A process that left the session and lost its parent before anybody looked cannot be found.
 */
export class Family {
  readonly #leader: ProcessIdentity
  readonly #seen = new Map<number, string>()

  constructor(leader: ProcessIdentity) {
    this.#leader = leader
  }

  /** The members that run now, the leader among them; also when the leader has ended. */
  async members(): Promise<readonly ProcessIdentity[]> {
    if (this.#leader.bootId !== bootId()) return []
    const table = await processTable()
    const members = table.filter((entry) => this.#isKnown(entry))
    if (!this.#isPidReused(table)) members.push(...table.filter((e) => this.#isInSession(e)))
    const found = withDescendants(members, table)
    for (const { pid, startTime } of found) this.#seen.set(pid, startTime)
    return found
      .filter((entry) => !entry.isZombie)
      .map(({ pid, startTime }) => ({ pid, startTime, bootId: bootId() }))
  }

  /**
   * Kills all members, again and again until none is left.
   * @throws when some are still there after five seconds.
   */
  async sweep(): Promise<void> {
    const deadline = performance.now() + sweepDeadline
    for (;;) {
      const left = await this.members()
      if (left.length === 0) return
      if (performance.now() > deadline) {
        throw new Error(`processes ${left.map(({ pid }) => pid).join(', ')} do not end on SIGKILL`)
      }
      for (const { pid } of left) send(pid, 'SIGKILL')
      await sleep(sweepInterval)
    }
  }

  #isKnown({ pid, startTime }: ProcessEntry): boolean {
    return this.#seen.get(pid) === startTime
  }

  /** A pid is not given out again while it names a session, so a new owner means that ours is gone. */
  #isPidReused(table: readonly ProcessEntry[]): boolean {
    const owner = table.find(({ pid }) => pid === this.#leader.pid)
    return owner !== undefined && !isEntryOf(this.#leader, owner)
  }

  #isInSession({ session, group }: ProcessEntry): boolean {
    return session === this.#leader.pid || group === this.#leader.pid
  }
}

/** Sends a signal to a process, or with a negative number to a group; nothing when it has just gone. */
export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function withDescendants(
  roots: readonly ProcessEntry[],
  table: readonly ProcessEntry[],
): readonly ProcessEntry[] {
  const children = new Map<number, ProcessEntry[]>()
  for (const entry of table) {
    const siblings = children.get(entry.parent)
    if (siblings) siblings.push(entry)
    else children.set(entry.parent, [entry])
  }
  const found = new Set(roots)
  for (const { pid } of found) for (const child of children.get(pid) ?? []) found.add(child)
  return [...found]
}
