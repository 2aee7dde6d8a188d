/** A moment in the order of changes; only comparisons between moments mean something. */
export type Moment = number

/** Most owners whose changes are remembered one by one; then everything counts as changed once. */
const capacity = 100_000

/**
 * When something last changed, so that whatever was computed before is known to be stale: the one
 * mechanism by which caches are invalidated. Take `now` before reading; what was read is good while
 * the moment of its last change is not later. A touch follows its write, and the next request sees it.
 *
 * `rights` are all that decides who a credential is and what it may do: roles, groups, shares,
 * tokens, sessions, blocks, names. `facts` are whatever a user's model shows; every change of rights is one.
 */
export class Changes {
  #now: Moment = 0
  #all: Moment = 0
  #rights = new Map<number, Moment>()
  #facts = new Map<number, Moment>()
  #services = new Map<number, Moment>()

  /** The moment of the latest change of anything: good for lists, which everything can change. */
  get now(): Moment {
    return this.#now
  }

  /** When the rights of this user last changed. */
  rightsOf(userId: number): Moment {
    return this.#rights.get(userId) ?? this.#all
  }

  /** When anything that this user's model shows last changed. */
  factsOf(userId: number): Moment {
    return this.#facts.get(userId) ?? this.#all
  }

  /** When the rights or the definition of this service last changed. */
  serviceOf(serviceId: number): Moment {
    return this.#services.get(serviceId) ?? this.#all
  }

  touchRights(...userIds: readonly number[]): void {
    for (const id of userIds) {
      this.#touch(this.#rights, id)
      this.#touch(this.#facts, id)
    }
  }

  touchFacts(...userIds: readonly number[]): void {
    for (const id of userIds) this.#touch(this.#facts, id)
  }

  touchService(...serviceIds: readonly number[]): void {
    for (const id of serviceIds) this.#touch(this.#services, id)
  }

  /** For changes whose reach nobody can name, such as the definition of a role. */
  touchAll(): void {
    this.#now += 1
    this.#all = this.#now
    for (const map of [this.#rights, this.#facts, this.#services]) map.clear()
  }

  #touch(map: Map<number, Moment>, id: number): void {
    if (map.size >= capacity && !map.has(id)) this.touchAll()
    this.#now += 1
    map.set(id, this.#now)
  }
}
