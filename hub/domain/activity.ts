import type { ServerStore } from '../store/servers.ts'
import type { SessionStore } from '../store/sessions.ts'
import type { TokenStore } from '../store/tokens.ts'
import type { UserStore } from '../store/users.ts'
import { describeError } from '../../packages/core/errors.ts'
import type { Log } from '../log.ts'
import type { Changes } from './changes.ts'

type Kind = 'user' | 'server' | 'token' | 'session'

/** Milliseconds between two writes. */
const interval = 5000

/** Written times that are remembered, per kind. */
const memory = 100_000

/**
 * When users, servers and tokens were last active. Kept in memory and written in batches: a crash
 * loses at most one interval of it.
 */
export class Activity {
  readonly #deps: ActivityDeps
  readonly #waiting = kinds()
  readonly #written = kinds()
  readonly #timer: NodeJS.Timeout

  constructor(deps: ActivityDeps) {
    this.#deps = deps
    this.#timer = setInterval(() => void this.#write(), interval).unref()
  }

  user(id: number, at: Date): void {
    if (this.#note('user', id, at)) this.#deps.changes.touchFacts(id)
  }

  server({ id, userId }: { readonly id: number; readonly userId: number }, at: Date): void {
    if (this.#note('server', id, at)) this.#deps.changes.touchFacts(userId)
  }

  token(id: number, at: Date): void {
    this.#note('token', id, at)
  }

  session(id: number, at: Date): void {
    this.#note('session', id, at)
  }

  /** The latest known time, written or not. */
  latest(kind: Kind, id: number, stored: Date | null): Date | null {
    const known = this.#waiting[kind].get(id) ?? this.#written[kind].get(id)
    return !known || (stored && stored > known) ? stored : known
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#write()
  }

  /** Whether it is news. */
  #note(kind: Kind, id: number, at: Date): boolean {
    const last = this.#waiting[kind].get(id) ?? this.#written[kind].get(id)
    if (last && at.getTime() - last.getTime() < this.#deps.resolution * 1000) return false
    this.#waiting[kind].set(id, at)
    return true
  }

  async #write(): Promise<void> {
    const { users, servers, tokens, sessions, log } = this.#deps
    try {
      await this.#writeKind('user', (entries) => users.recordActivity(entries))
      await this.#writeKind('server', (entries) => servers.recordActivity(entries))
      await this.#writeKind('token', (entries) => tokens.recordUse(entries))
      await this.#writeKind('session', (entries) => sessions.recordSeen(entries))
    } catch (error) {
      log.warn('activity was not written', { error: describeError(error) })
    }
  }

  /** What cannot be written waits for the next time. */
  async #writeKind(kind: Kind, write: (entries: Times) => Promise<void>): Promise<void> {
    const entries = this.#waiting[kind]
    if (entries.size === 0) return
    this.#waiting[kind] = new Map()
    try {
      await write(entries)
    } catch (error) {
      this.#waiting[kind] = new Map([...entries, ...this.#waiting[kind]])
      throw error
    }
    if (this.#written[kind].size > memory) this.#written[kind].clear()
    for (const [id, at] of entries) this.#written[kind].set(id, at)
  }
}

interface ActivityDeps {
  readonly users: UserStore
  readonly servers: ServerStore
  readonly tokens: TokenStore
  readonly sessions: SessionStore
  readonly changes: Changes
  readonly log: Log
  /** Seconds; activity closer than this to the last one is dropped. */
  readonly resolution: number
}

type Times = ReadonlyMap<number, Date>

function kinds(): Record<Kind, Map<number, Date>> {
  return { user: new Map(), server: new Map(), token: new Map(), session: new Map() }
}
