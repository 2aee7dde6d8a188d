import type { Caller } from '../domain/access.ts'
import type { Changes, Moment } from '../domain/changes.ts'
import type { PreparedJson } from './endpoint.ts'

interface Kept {
  readonly userId: number
  /** When it was read. */
  readonly moment: Moment
  readonly json: PreparedJson
}

/** Most models kept for one caller. */
const capacity = 5_000

/**
 * Rendered user models, kept for the caller who has read them: scripts and services read the same
 * users again and again. They go with the caller, whom every change of rights replaces, and none is
 * given out after a change of the user that it shows.
 */
export class KeptUserModels {
  readonly #changes: Changes
  readonly #byCaller = new WeakMap<Caller, Map<string, Kept>>()

  constructor(changes: Changes) {
    this.#changes = changes
  }

  /** Take it before anything is read for a model that is to be kept. */
  get now(): Moment {
    return this.#changes.now
  }

  /** `name` is what was asked for, whatever else the model depends on included. */
  recall(caller: Caller, name: string): PreparedJson | null {
    const models = this.#byCaller.get(caller)
    const kept = models?.get(name)
    if (!kept) return null
    if (this.#changes.factsOf(kept.userId) <= kept.moment) return kept.json
    models?.delete(name)
    return null
  }

  remember(caller: Caller, name: string, kept: Kept): void {
    const models = this.#byCaller.get(caller) ?? new Map<string, Kept>()
    const [oldest] = models.keys()
    if (models.size >= capacity && oldest !== undefined) models.delete(oldest)
    this.#byCaller.set(caller, models.set(name, kept))
  }
}
