import type { Session, SessionStore } from '../store/sessions.ts'
import type { Proof } from './access.ts'
import type { Activity } from './activity.ts'
import type { Changes } from './changes.ts'

export interface SessionUseDeps {
  readonly activity: Activity
  readonly sessions: SessionStore
  readonly changes: Changes
  /** Seconds after which an unused session is over. 0: never. */
  readonly idleTimeout: number
  /** Days after which every session is over, also one that was made when there were more of them. */
  readonly maxAgeDays: number
}

/** Milliseconds by which the database may know less than the memory. */
const lag = 60_000

/** How old and how idle logins may become; the server keeps to it, whatever the cookie says. */
export class SessionUse {
  readonly #deps: SessionUseDeps

  constructor(deps: SessionUseDeps) {
    this.#deps = deps
  }

  isOver(session: Session, now: Date): boolean {
    const { activity, idleTimeout, maxAgeDays } = this.#deps
    const age = now.getTime() - session.createdAt.getTime()
    if (age > maxAgeDays * 86_400_000) return true
    if (idleTimeout === 0) return false
    const seen = activity.latest('session', session.id, session.lastSeenAt) ?? session.lastSeenAt
    return now.getTime() - seen.getTime() > idleTimeout * 1000
  }

  /** A request came with the session's cookie, or with a token that was issued through it. */
  note(proof: Proof, now: Date): void {
    if (this.#deps.idleTimeout === 0) return
    if (proof.kind === 'session') this.#deps.activity.session(proof.session.id, now)
    if (proof.kind === 'token' && proof.token.sessionId !== null)
      this.#deps.activity.session(proof.token.sessionId, now)
  }

  /** Deletes the sessions that have been idle for too long, with the tokens that were issued through them. */
  async endIdle(now: Date): Promise<void> {
    const { sessions, changes, idleTimeout } = this.#deps
    if (idleTimeout === 0) return
    const since = new Date(now.getTime() - idleTimeout * 1000 - lag)
    changes.touchRights(...new Set(await sessions.deleteUnseenSince(since)))
  }
}
