/** Most places remembered of one list. */
const capacity = 2_000

/** A place in an ordered list: how many items come before it, and which of them is the last. */
export interface Mark {
  readonly offset: number
  readonly id: number
}

/**
 * Where pages of an ordered list have ended, so that the next page is sought by its key instead of
 * skipping all that comes before it.
 */
export class PageMarks {
  #marks: Mark[] = []

  /** The nearest known place at or before `offset`; null when that is the beginning. */
  before(offset: number): Mark | null {
    return this.#marks[this.#countBefore(offset + 1) - 1] ?? null
  }

  remember(mark: Mark): void {
    if (this.before(mark.offset)?.offset === mark.offset) return
    if (this.#marks.length >= capacity)
      this.#marks = this.#marks.filter((_, index) => index % 2 === 1)
    this.#marks.splice(this.#countBefore(mark.offset), 0, mark)
  }

  #countBefore(offset: number): number {
    let low = 0
    let high = this.#marks.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#marks[middle]?.offset ?? offset) < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
