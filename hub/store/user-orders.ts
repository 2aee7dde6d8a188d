import { BoundedMap } from '../../packages/core/bounded-map.ts'
import { PageMarks } from './page-marks.ts'
import type { ListedUser, UserQuery } from './user-lists.ts'

type Order = UserQuery['sort']

/** Orders of a few users that are remembered; the oldest goes first. */
const capacity = 64

/**
 * What earlier pages have found out about the order of users. Users who come, go or are renamed end
 * all of it, activity what is ordered by it. Take `moment` before reading: what is read meanwhile
 * may be of before a change, and is not remembered.
 */
export class UserOrders {
  readonly #marks = new Map<string, PageMarks>()
  readonly #few = new BoundedMap<string, readonly ListedUser[]>(capacity)
  #moment = 0

  get moment(): number {
    return this.#moment
  }

  /** Places in the list of everybody; none where the order moves with activity. */
  marksOf(order: Order): PageMarks | null {
    if (order.by === 'last_activity') return null
    const known = this.#marks.get(keyOf(order)) ?? new PageMarks()
    this.#marks.set(keyOf(order), known)
    return known
  }

  /** Those whose names hold `part`, in order. */
  fewOf(part: string, order: Order): readonly ListedUser[] | null {
    return this.#few.get(`${keyOf(order)} ${part}`) ?? null
  }

  rememberFew(part: string, order: Order, users: readonly ListedUser[]): void {
    this.#few.set(`${keyOf(order)} ${part}`, users)
  }

  forgetAll(): void {
    this.#moment += 1
    this.#marks.clear()
    this.#few.clear()
  }

  forgetActivity(): void {
    this.#moment += 1
    for (const [key] of this.#few.entries())
      if (key.startsWith('last_activity')) this.#few.delete(key)
  }
}

const keyOf = ({ by, descending }: Order): string => `${by}${descending ? '-' : '+'}`
