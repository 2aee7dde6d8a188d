/** Lets changes of one thing happen one after another, and changes of different things at once. */
export class Turns {
  readonly #last = new Map<number, Promise<unknown>>()

  /** Runs `change` when all earlier ones for this id are over, however they ended. */
  async take<T>(id: number, change: () => Promise<T>): Promise<T> {
    const before = this.#last.get(id)
    const own = before ? before.then(change) : change()
    const over = own.catch(() => {})
    this.#last.set(id, over)
    try {
      return await own
    } finally {
      if (this.#last.get(id) === over) this.#last.delete(id)
    }
  }

  /** Resolves when all that were asked for so far are over. */
  async allOver(): Promise<void> {
    await Promise.all(this.#last.values())
  }
}
