/**
 * A map that forgets its oldest entries once it is full; an entry that is set again is young. Every
 * call takes the same time however much there is: to find the first key of a plain `Map`, V8 walks
 * past the remains of all that was deleted before it.
 */
export class BoundedMap<Key, Value> {
  readonly #capacity: number
  readonly #entries = new Map<Key, Value>()
  /** Stands before the oldest entry: all that it has passed is deleted. */
  #oldest: IterableIterator<Key>

  /** `capacity`: most entries, 1 or more. */
  constructor(capacity: number) {
    this.#capacity = capacity
    this.#oldest = this.#entries.keys()
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: Key): Value | undefined {
    return this.#entries.get(key)
  }

  /** Returns what had to go for it, if anything. */
  set(key: Key, value: Value): Key | undefined {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#capacity) return undefined
    const { value: oldest } = this.#oldest.next() as IteratorYieldResult<Key>
    this.#entries.delete(oldest)
    return oldest
  }

  delete(key: Key): boolean {
    return this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.#oldest = this.#entries.keys()
  }

  /** The oldest first. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#entries.entries()
  }
}
