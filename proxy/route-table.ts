interface Node<Value> {
  /** Most nodes are leaves: they have no map of their own. */
  children: Map<string, Node<Value>> | null
  value: Value | null
}

/**
 * Finds the value with the longest registered prefix of a path, segment by segment: `/user/al` does
 * not match `/user/alice`. Paths are decoded, begin with `/` and do not end with it, but for `/`
 * itself, which matches everything. The cost of every call but `entries` grows with the depth of the
 * path only, never with the number of routes.
 */
export class RouteTable<Value extends NonNullable<unknown>> {
  #root: Node<Value> = emptyNode()
  #byPath = new Map<string, Value>()
  /** How many paths there are of each depth. */
  #depths = new Map<number, number>()
  #depth = 0

  get size(): number {
    return this.#byPath.size
  }

  /** The number of segments of the deepest path; 0 when there is none but `/`. */
  get depth(): number {
    return this.#depth
  }

  /** The value of the longest prefix, or undefined. Segments are decoded. */
  find(segments: readonly string[]): Value | undefined {
    let node: Node<Value> | undefined = this.#root
    let best = node.value
    for (const segment of segments) {
      node = node.children?.get(segment)
      if (node === undefined) break
      best = node.value ?? best
    }
    return best ?? undefined
  }

  get(path: string): Value | undefined {
    return this.#byPath.get(path)
  }

  /** Adds or replaces. Returns the value that was there. */
  set(path: string, value: Value): Value | undefined {
    const previous = this.#byPath.get(path)
    const segments = segmentsOf(path)
    this.#byPath.set(path, value)
    if (previous === undefined) this.#count(segments.length, 1)
    let node = this.#root
    for (const segment of segments) node = childOf(node, segment)
    node.value = value
    return previous
  }

  /** Removes exactly this path; longer and shorter ones stay. Returns the value that was there. */
  delete(path: string): Value | undefined {
    const value = this.#byPath.get(path)
    if (!this.#byPath.delete(path)) return undefined
    const segments = segmentsOf(path)
    this.#count(segments.length, -1)
    prune(this.#root, segments)
    return value
  }

  /**
   * Takes over all that `next` holds, in the place of what was there. No lookup ever sees a mixture.
   * `next` must not be used any more.
   */
  become(next: RouteTable<Value>): void {
    this.#root = next.#root
    this.#byPath = next.#byPath
    this.#depths = next.#depths
    this.#depth = next.#depth
  }

  entries(): IterableIterator<[path: string, value: Value]> {
    return this.#byPath.entries()
  }

  #count(depth: number, change: number): void {
    const count = (this.#depths.get(depth) ?? 0) + change
    this.#depths.set(depth, count)
    if (count > 0) return void (this.#depth = Math.max(this.#depth, depth))
    this.#depths.delete(depth)
    this.#depth = Math.max(0, ...this.#depths.keys())
  }
}

function emptyNode<Value>(): Node<Value> {
  return { children: null, value: null }
}

function childOf<Value>(node: Node<Value>, segment: string): Node<Value> {
  const known = node.children?.get(segment)
  if (known !== undefined) return known
  const child = emptyNode<Value>()
  node.children ??= new Map()
  node.children.set(segment, child)
  return child
}

/** Takes the value at the end of `segments` away, and the nodes that lead to nothing any more. */
function prune<Value>(node: Node<Value>, segments: readonly string[]): void {
  const [segment, ...rest] = segments
  if (segment === undefined) {
    node.value = null
    return
  }
  const child = node.children?.get(segment)
  if (child === undefined) return
  prune(child, rest)
  if (child.value !== null || child.children !== null) return
  node.children?.delete(segment)
  if (node.children?.size === 0) node.children = null
}

function segmentsOf(path: string): readonly string[] {
  return path === '/' ? [] : path.slice(1).split('/')
}
