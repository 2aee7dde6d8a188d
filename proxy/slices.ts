import { setImmediate as turn } from 'node:timers/promises'

/** In milliseconds. A request waits for two of them at most: one on its way, one on the answer's. */
const sliceFor = 1

/** Divides long work, so that connections get their turn in between. The first slice begins at once. */
export class Slices {
  #end = performance.now() + sliceFor

  /** Whether it is time to wait for `next`. */
  get isOver(): boolean {
    return performance.now() >= this.#end
  }

  /** Resolves when everybody else had a turn. */
  async next(): Promise<void> {
    await turn()
    this.#end = performance.now() + sliceFor
  }
}

/** Takes all `steps`, each of which must be short. */
export async function inSlices(steps: Iterable<unknown>): Promise<void> {
  const slices = new Slices()
  for (const _ of steps) if (slices.isOver) await slices.next()
}
