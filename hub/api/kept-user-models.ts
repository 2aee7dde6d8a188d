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

/** Most lists kept for one caller. */
const listCapacity = 8

interface KeptList {
  readonly moment: Moment
  readonly json: PreparedJson
}

/**
 * Rendered user models, kept for the caller who has read them: scripts and services read the same
 * users again and again. They go with the caller, whom every change of rights replaces, and none is
 * given out after a change of the user that it shows.
 */
export class KeptUserModels {
  readonly #changes: Changes
  readonly #byCaller = new WeakMap<Caller, Map<string, Kept>>()
  readonly #lists = new WeakMap<Caller, Map<string, KeptList>>()

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

  /** A whole list, for as long as nothing at all has changed. `query` is all that it depends on. */
  recallList(caller: Caller, query: string): PreparedJson | null {
    const kept = this.#lists.get(caller)?.get(query)
    return kept && kept.moment === this.now ? kept.json : null
  }

  rememberList(caller: Caller, query: string, kept: KeptList): void {
    insert(this.#lists, caller, { name: query, kept, capacity: listCapacity })
  }

  remember(caller: Caller, name: string, kept: Kept): void {
    insert(this.#byCaller, caller, { name, kept, capacity })
  }
}

function insert<Item>(
  all: WeakMap<Caller, Map<string, Item>>,
  caller: Caller,
  { name, kept, capacity: most }: { name: string; kept: Item; capacity: number },
): void {
  const own = all.get(caller) ?? new Map<string, Item>()
  const [oldest] = own.keys()
  if (own.size >= most && oldest !== undefined) own.delete(oldest)
  all.set(caller, own.set(name, kept))
}
