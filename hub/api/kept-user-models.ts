import { hash } from 'node:crypto'
import { BoundedMap } from '../../packages/core/bounded-map.ts'
import type { Caller } from '../domain/access.ts'
import type { Changes, Moment } from '../domain/changes.ts'
import type { PreparedJson } from './endpoint.ts'

interface Kept {
  readonly userId: number
  /** When it was read. */
  readonly moment: Moment
  readonly json: PreparedJson
}

interface KeptList {
  readonly moment: Moment
  readonly json: PreparedJson
}

/** Most models, lists and views that are kept; the oldest go first. */
const capacity = { models: 20_000, lists: 64, views: 10_000 }

/**
 * Rendered user models, kept for all callers with the same scopes: scripts and services read the
 * same users again and again. What a model shows follows from its user and these scopes alone, and
 * none is given out after a change of the user. Nothing is kept for the operator, who sees what
 * there is.
 */
export class KeptUserModels {
  readonly #changes: Changes
  readonly #models = new BoundedMap<string, Kept>(capacity.models)
  readonly #lists = new BoundedMap<string, KeptList>(capacity.lists)
  readonly #views = new BoundedMap<string, number>(capacity.views)
  readonly #viewOf = new WeakMap<ReadonlySet<string>, number>()
  #lastView = 0

  constructor(changes: Changes) {
    this.#changes = changes
  }

  /** Take it before anything is read for a model that is to be kept. */
  get now(): Moment {
    return this.#changes.now
  }

  /** `name` is what was asked for, whatever else the model depends on included. */
  recall(caller: Caller, name: string): PreparedJson | null {
    const key = this.#keyOf(caller, name)
    const kept = key === null ? undefined : this.#models.get(key)
    if (!kept || key === null) return null
    if (this.#changes.factsOf(kept.userId) <= kept.moment) return kept.json
    this.#models.delete(key)
    return null
  }

  /** A whole list, for as long as nothing at all has changed. `query` is all that it depends on. */
  recallList(caller: Caller, query: string): PreparedJson | null {
    const key = this.#keyOf(caller, query)
    const kept = key === null ? undefined : this.#lists.get(key)
    return kept && kept.moment === this.now ? kept.json : null
  }

  rememberList(caller: Caller, query: string, kept: KeptList): void {
    const key = this.#keyOf(caller, query)
    if (key !== null) this.#lists.set(key, kept)
  }

  remember(caller: Caller, name: string, kept: Kept): void {
    const key = this.#keyOf(caller, name)
    if (key !== null) this.#models.set(key, kept)
  }

  #keyOf({ proof, scopes }: Caller, name: string): string | null {
    return proof.kind === 'socket' ? null : `${this.#view(scopes)} ${name}`
  }

  /** The same number for sets of the same scopes, and for no others. */
  #view(scopes: ReadonlySet<string>): number {
    const known = this.#viewOf.get(scopes)
    if (known !== undefined) return known
    const text = hash('sha256', JSON.stringify([...scopes].toSorted()))
    const view = this.#views.get(text) ?? (this.#lastView += 1)
    this.#viewOf.set(scopes, view)
    this.#views.set(text, view)
    return view
  }
}
