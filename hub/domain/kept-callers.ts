import { BoundedMap } from '../../packages/core/bounded-map.ts'
import type { Caller, Owner, Proof } from './access.ts'
import type { Changes, Moment } from './changes.ts'

/** Most callers kept in memory; the oldest go first. */
const capacity = 20_000

interface KeptCaller {
  readonly caller: Caller
  /** When it was looked up. */
  readonly moment: Moment
}

/** Callers by the hash of what they presented. One whose owner has changed since, or that has expired, is not recalled. */
export class KeptCallers {
  readonly #changes: Changes
  readonly #callers = new BoundedMap<string, KeptCaller>(capacity)

  constructor(changes: Changes) {
    this.#changes = changes
  }

  recall(key: string, now: Date): Caller | null {
    const kept = this.#callers.get(key)
    if (!kept) return null
    const { caller, moment } = kept
    const expiresAt = expiryOf(caller.proof)
    if (this.#changedAt(caller.owner) <= moment && (expiresAt === null || expiresAt > now))
      return caller
    this.#callers.delete(key)
    return null
  }

  /** `moment` is from before the look-up began. */
  remember(key: string, caller: Caller, moment: Moment): void {
    if (this.#changedAt(caller.owner) > moment) return
    this.#callers.set(key, { caller, moment })
  }

  #changedAt(owner: Owner): Moment {
    switch (owner.kind) {
      case 'user':
        return this.#changes.rightsOf(owner.user.id)
      case 'service':
        return this.#changes.serviceOf(owner.service.id)
      case 'operator':
        return this.#changes.now
    }
  }
}

function expiryOf(proof: Proof): Date | null {
  switch (proof.kind) {
    case 'token':
      return proof.token.expiresAt
    case 'session':
      return proof.session.expiresAt
    case 'socket':
      return null
  }
}
