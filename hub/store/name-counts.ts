/** Parts of names whose counts are remembered; the least recently asked for goes first. */
const capacity = 32

/** Up to this many, the ids themselves are remembered too. */
const mostIds = 20_000

/** What a change has done to names, and its result. */
export interface Change<Result> {
  readonly added: readonly { readonly id: number; readonly key: string }[]
  readonly removed: readonly { readonly id: number; readonly key: string }[]
  readonly result: Result
}

interface Counted {
  readonly count: number
  /** Null when there are too many. */
  readonly ids: readonly number[] | null
}

/**
 * How many names hold a given part, and when they are few, whose. Found once by going through all
 * names, then kept exact: every change of a name says what came and what went.
 */
export class NameCounts {
  readonly #source: {
    count(part: string): Promise<number>
    idsOf(part: string, limit: number): Promise<readonly number[]>
  }
  readonly #known = new Map<string, Counted>()
  #changes = 0
  #changing = 0

  constructor(source: {
    count(part: string): Promise<number>
    idsOf(part: string, limit: number): Promise<readonly number[]>
  }) {
    this.#source = source
  }

  /** The number of names that hold `part`, a normalised text; an empty one is held by all. */
  async of(part: string): Promise<number> {
    const known = this.#known.get(part)
    if (known) {
      this.#known.delete(part)
      this.#known.set(part, known)
      return known.count
    }
    const before = this.#changes
    const isQuiet = this.#changing === 0
    const found = await this.#find(part)
    if (isQuiet && before === this.#changes && this.#changing === 0) this.#remember(part, found)
    return found.count
  }

  /** Whose names hold `part`; null when they are many, or were not counted yet. */
  idsOf(part: string): readonly number[] | null {
    return this.#known.get(part)?.ids ?? null
  }

  /** Runs a change. What is counted while it goes on is not remembered. */
  async during<Result>(change: () => Promise<Change<Result>>): Promise<Result> {
    this.#changing += 1
    this.#changes += 1
    try {
      const { added, removed, result } = await change()
      for (const [part, known] of this.#known)
        this.#known.set(part, after(known, part, { added, removed }))
      return result
    } catch (error) {
      // What has happened is not known.
      this.#known.clear()
      throw error
    } finally {
      this.#changing -= 1
    }
  }

  async #find(part: string): Promise<Counted> {
    if (part === '') return { count: await this.#source.count(part), ids: null }
    const ids = await this.#source.idsOf(part, mostIds + 1)
    return ids.length <= mostIds
      ? { count: ids.length, ids }
      : { count: await this.#source.count(part), ids: null }
  }

  #remember(part: string, found: Counted): void {
    const oldest = [...this.#known.keys()].find((key) => key !== '')
    if (this.#known.size >= capacity && oldest !== undefined) this.#known.delete(oldest)
    this.#known.set(part, found)
  }
}

function after(
  { count, ids }: Counted,
  part: string,
  { added, removed }: Pick<Change<unknown>, 'added' | 'removed'>,
): Counted {
  const come = added.filter(({ key }) => key.includes(part)).map(({ id }) => id)
  const gone = removed.filter(({ key }) => key.includes(part)).map(({ id }) => id)
  if (come.length === 0 && gone.length === 0) return { count, ids }
  const left = ids === null ? null : [...ids.filter((id) => !gone.includes(id)), ...come]
  return {
    count: count + come.length - gone.length,
    ids: left !== null && left.length <= mostIds ? left : null,
  }
}
