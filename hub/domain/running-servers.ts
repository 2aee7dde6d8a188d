import type { ServerRun } from './server-run.ts'

/** The servers that are not stopped: by owner and name, and by the path they live at. */
export class RunningServers {
  readonly #byUser = new Map<number, Map<string, ServerRun>>()
  readonly #byPrefix = new Map<string, ServerRun>()
  /** Most slashes that a path of a server has had. */
  #deepest = 0

  get size(): number {
    return this.#byPrefix.size
  }

  [Symbol.iterator](): Iterator<ServerRun> {
    return this.#byPrefix.values()
  }

  add(run: ServerRun): void {
    const { userId, name } = run.row
    const runs = this.#byUser.get(userId) ?? new Map<string, ServerRun>()
    this.#byUser.set(userId, runs.set(name, run))
    this.#byPrefix.set(run.prefix, run)
    this.#deepest = Math.max(this.#deepest, run.prefix.split('/').length - 1)
  }

  remove({ row, prefix }: ServerRun): void {
    const runs = this.#byUser.get(row.userId)
    runs?.delete(row.name)
    if (runs?.size === 0) this.#byUser.delete(row.userId)
    this.#byPrefix.delete(prefix)
  }

  of(userId: number): readonly ServerRun[] {
    return [...(this.#byUser.get(userId)?.values() ?? [])]
  }

  named(userId: number, name: string): ServerRun | null {
    return this.#byUser.get(userId)?.get(name) ?? null
  }

  /** The server that a path belongs to. Looks at no more of the path than paths of servers have. */
  at(path: string): ServerRun | null {
    let found: ServerRun | null = null
    let end = path.indexOf('/')
    for (let depth = 1; end >= 0 && depth <= this.#deepest; depth += 1) {
      found = this.#byPrefix.get(path.slice(0, end + 1)) ?? found
      end = path.indexOf('/', end + 1)
    }
    return found
  }
}
