import { createHash, randomBytes } from 'node:crypto'
import { BoundedMap } from '../../packages/core/bounded-map.ts'
import type { LoginAttempt, LoginAttemptStore } from '../store/login-attempts.ts'

export type { LoginAttempt } from '../store/login-attempts.ts'

/** Milliseconds in which a login must come back. */
export const attemptLifetime = 10 * 60_000

/** So many logins that succeed within this time, in one browser that is still not logged in, are a loop. */
const loop = { logins: 5, ms: 60_000 }

/** Most browsers whose last logins are remembered. */
const capacity = 10_000

/**
 * Logins that leave the site and come back. Each attempt is good once, for ten minutes, and in the
 * browser that began it: its record is found by that browser's secret and the key that travels
 * through the provider (`state`), so that several tabs may log in at once.
 */
export interface LoginAttempts {
  /** The secret of a browser that has none yet. */
  newBrowser(): string
  begin(browser: string, key: string, attempt: LoginAttempt): Promise<void>
  /** Null when there is no such attempt in this browser, any more. */
  finish(browser: string, key: string): Promise<LoginAttempt | null>
  /** Notes a login that succeeded. */
  recordSuccess(browser: string): void
  /** Whether this browser logs in over and over without being logged in. */
  isLooping(browser: string): boolean
}

export function createLoginAttempts(deps: {
  readonly store: LoginAttemptStore
  readonly clock: () => Date
}): LoginAttempts {
  const { store, clock } = deps
  const successes = new BoundedMap<string, readonly number[]>(capacity)
  const secretOf = (browser: string, key: string): string => `${browser} ${key}`
  const recent = (browser: string): readonly number[] => {
    const now = performance.now()
    return (successes.get(digest(browser)) ?? []).filter((time) => now - time < loop.ms)
  }

  return {
    newBrowser: () => randomBytes(32).toString('base64url'),

    async begin(browser, key, attempt) {
      const now = clock()
      const expiresAt = new Date(now.getTime() + attemptLifetime)
      await store.add(secretOf(browser, key), attempt, { now, expiresAt })
    },

    finish: (browser, key) => store.take(secretOf(browser, key), clock()),

    recordSuccess(browser) {
      const times = [...recent(browser), performance.now()].slice(-loop.logins)
      successes.set(digest(browser), times)
    },

    isLooping: (browser) => recent(browser).length >= loop.logins,
  }
}

const digest = (secret: string): string => createHash('sha256').update(secret).digest('base64')
