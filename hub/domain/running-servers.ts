import type { ServerRun } from './server-run.ts'

/** The servers that are not stopped: by owner and name, and by the path they live at. */
export class RunningServers {
  readonly #byUser = new Map<number, Map<string, ServerRun>>()
  readonly #byPrefix = new Map<string, ServerRun>()

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

  /** The server that a path belongs to; time depends on the length of the path alone. */
  at(path: string): ServerRun | null {
    for (let end = path.lastIndexOf('/'); end >= 0; end = path.lastIndexOf('/', end - 1)) {
      const run = this.#byPrefix.get(path.slice(0, end + 1))
      if (run) return run
      if (end === 0) break
    }
    return null
  }
}
