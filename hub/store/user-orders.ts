import { BoundedMap } from '../../packages/core/bounded-map.ts'
import { PageMarks } from './page-marks.ts'
import type { UserOrder } from './user-query.ts'

/** Orders of some users that are remembered; the oldest goes first. */
const capacity = 32

/**
 * What earlier pages have found out about the order of users. Users who come, go or are renamed end
 * all of it, activity what is ordered by it. Take `moment` before reading: what is read meanwhile
 * may be of before a change, and is not remembered.
 */
export class UserOrders {
  readonly #marks = new Map<string, PageMarks>()
  readonly #some = new BoundedMap<string, readonly number[]>(capacity)
  #moment = 0

  get moment(): number {
    return this.#moment
  }

  /** Places in the list of everybody; none where the order moves with activity. */
  marksOf(order: UserOrder): PageMarks | null {
    if (order.by === 'last_activity') return null
    const known = this.#marks.get(keyOf(order)) ?? new PageMarks()
    this.#marks.set(keyOf(order), known)
    return known
  }

  /** The ids of those whose names hold `part`, in order. */
  someOf(part: string, order: UserOrder): readonly number[] | null {
    return this.#some.get(`${keyOf(order)} ${part}`) ?? null
  }

  rememberSome(part: string, order: UserOrder, ids: readonly number[]): void {
    this.#some.set(`${keyOf(order)} ${part}`, ids)
  }

  forgetAll(): void {
    this.#moment += 1
    this.#marks.clear()
    this.#some.clear()
  }

  forgetActivity(): void {
    this.#moment += 1
    for (const [key] of this.#some.entries())
      if (key.startsWith('last_activity')) this.#some.delete(key)
  }
}

const keyOf = ({ by, descending }: UserOrder): string => `${by}${descending ? '-' : '+'}`
