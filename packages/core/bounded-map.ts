/**
 * A map that forgets its oldest entries once it is full; an entry that is set again is young. On
 * average a call takes the same time however much there is: to find the first key of a plain `Map`,
 * V8 walks past the remains of all that was deleted before it.
 */
export class BoundedMap<Key, Value> {
  readonly #capacity: number
  readonly #entries = new Map<Key, Value>()
  /** Stands before the oldest entry: all that it has passed is deleted. */
  #oldest: IterableIterator<Key>
  /** Entries that were set since it last moved. */
  #written = 0

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
    this.#written += 1
    if (this.#entries.size > this.#capacity) return this.#forgetOldest()
    // V8 keeps each table that an iterator has not left behind, with all that was ever in it.
    if (this.#written > this.#entries.size) this.#begin()
    return undefined
  }

  delete(key: Key): boolean {
    return this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
    this.#begin()
  }

  /** The oldest first. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#entries.entries()
  }

  #forgetOldest(): Key {
    const { value: oldest } = this.#oldest.next() as IteratorYieldResult<Key>
    this.#entries.delete(oldest)
    this.#written = 0
    return oldest
  }

  #begin(): void {
    this.#oldest = this.#entries.keys()
    this.#written = 0
  }
}
