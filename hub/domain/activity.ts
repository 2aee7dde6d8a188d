import type { ServerStore } from '../store/servers.ts'
import type { TokenStore } from '../store/tokens.ts'
import type { UserStore } from '../store/users.ts'
import { describeError } from '../../packages/core/errors.ts'
import type { Log } from '../log.ts'

/**
 * When users, servers and tokens were last active. Kept in memory and written in batches: a crash
 * loses at most one interval of it.
 */
export interface Activity {
  user(id: number, at: Date): void
  server(id: number, at: Date): void
  token(id: number, at: Date): void
  /** The latest known time, written or not. */
  latest(kind: 'user' | 'server' | 'token', id: number, stored: Date | null): Date | null
  flush(): Promise<void>
  stop(): Promise<void>
}

/** Milliseconds between two writes. */
const interval = 5000

export function createActivity(deps: {
  readonly users: UserStore
  readonly servers: ServerStore
  readonly tokens: TokenStore
  readonly log: Log
  /** Seconds; activity closer than this to the last written one is dropped. */
  readonly resolution: number
}): Activity {
  const { users, servers, tokens, log, resolution } = deps
  const waiting = {
    user: new Map<number, Date>(),
    server: new Map<number, Date>(),
    token: new Map<number, Date>(),
  }
  const written = {
    user: new Map<number, Date>(),
    server: new Map<number, Date>(),
    token: new Map<number, Date>(),
  }

  const note = (kind: keyof typeof waiting, id: number, at: Date): void => {
    const last = waiting[kind].get(id) ?? written[kind].get(id)
    if (last && at.getTime() - last.getTime() < resolution * 1000) return
    waiting[kind].set(id, at)
  }

  const take = (kind: keyof typeof waiting): ReadonlyMap<number, Date> => {
    const entries = waiting[kind]
    waiting[kind] = new Map()
    if (written[kind].size > 100_000) written[kind].clear()
    for (const [id, at] of entries) written[kind].set(id, at)
    return entries
  }

  const flush = async (): Promise<void> => {
    const batches = [
      [take('user'), users],
      [take('server'), servers],
    ] as const
    const used = take('token')
    for (const [entries, store] of batches)
      if (entries.size > 0) await store.recordActivity(entries)
    if (used.size > 0) await tokens.recordUse(used)
  }

  const timer = setInterval(() => {
    flush().catch((error: unknown) =>
      log.warn('activity was not written', { error: describeError(error) }),
    )
  }, interval)
  timer.unref()

  return {
    user: (id, at) => note('user', id, at),
    server: (id, at) => note('server', id, at),
    token: (id, at) => note('token', id, at),
    latest(kind, id, stored) {
      const known = waiting[kind].get(id) ?? written[kind].get(id)
      if (!known || (stored && stored > known)) return stored
      return known
    },
    flush,
    async stop() {
      clearInterval(timer)
      await flush()
    },
  }
}
