import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import type { Log } from './log.ts'
import type { ProxySettings } from './settings.ts'
import { type JsonObject, type RouteChange, type Routes, asRouteKey, readEntry } from './routes.ts'

/** A file that holds no table. One line for the person who named it. */
export class BadRouteFile extends Error {
  override readonly name: string = 'BadRouteFile'
}

/** Puts what was kept into the table, and `--default-target` above it. */
export async function openRouteFile(
  { persistRoutes, defaultTarget }: ProxySettings,
  routes: Routes,
  log: Log,
): Promise<RouteFile | null> {
  const file = persistRoutes === null ? null : await RouteFile.open(persistRoutes, routes, log)
  if (defaultTarget !== null) {
    routes.apply({ kind: 'set', path: '/', data: { target: defaultTarget } })
  }
  return file
}

/** The file is written anew when it has so many more lines than the table. */
const slack = 1_000

/**
 * Keeps the table in a file: lines of `[path, data]`, of which the last one counts, and `[path, null]`
 * for what was deleted. A line that broke off with the program is passed over. An orderly end adds the
 * last activity (milliseconds since the epoch); after a sudden one nobody knows it, and a route counts
 * as used now rather than as idle for too long.
 */
export class RouteFile {
  readonly #path: string
  readonly #routes: Routes
  readonly #log: Log
  #handle: FileHandle | null = null
  #lines = 0
  #pending: string[] = []
  #mustRewrite = true
  #writing: Promise<void> = Promise.resolve()
  #hasFailed = false

  private constructor(path: string, routes: Routes, log: Log) {
    this.#path = path
    this.#routes = routes
    this.#log = log
  }

  /**
   * Puts what the file holds into `routes`. A file that is not there is made.
   * @throws {BadRouteFile}
   */
  static async open(path: string, routes: Routes, log: Log): Promise<RouteFile> {
    const file = new RouteFile(path, routes, log)
    try {
      const kept = parseLines(await readText(path))
      const table = kept.map(([each, data]) => [each, data] as const)
      const kind = 'replace'
      if (table.length > 0) routes.apply({ kind, table, onlyJupyterHub: false })
      for (const [each, , at] of kept) if (at !== null) routes.get(each)?.resumeActivity(at)
      await file.#rewrite()
      log.info(`${routes.size} routes from ${path}`)
    } catch (error) {
      throw new BadRouteFile(`--persist-routes: ${(error as Error).message}`, { cause: error })
    }
    return file
  }

  /** Resolves when the change, which `routes` has already, is in the file; also when that failed, which the log tells. */
  append(change: RouteChange): Promise<void> {
    if (change.kind === 'replace') this.#mustRewrite = true
    else this.#pending.push(line(change.path, change.kind === 'set' ? change.data : null))
    return this.#flush()
  }

  /** The activity of now goes with the table. */
  async close(): Promise<void> {
    await this.#writing
    await this.#rewrite((path) => this.#routes.get(path)?.lastActivity).catch((error: Error) => {
      this.#log.error(`the activity of routes is not kept: ${error.message}`)
    })
    await this.#handle?.close()
    this.#handle = null
  }

  /** What has come while a write was under way goes out with the next one. */
  #flush(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      if (this.#pending.length === 0 && !this.#mustRewrite) return
      try {
        await this.#write()
        this.#hasFailed = false
      } catch (error) {
        if (!this.#hasFailed) this.#log.error(`routes are not kept: ${(error as Error).message}`)
        this.#hasFailed = true
        this.#mustRewrite = true
      }
    })
    return this.#writing
  }

  async #write(): Promise<void> {
    const size = this.#routes.size + this.#routes.tombstones.size
    if (this.#mustRewrite || !this.#handle || this.#lines > 2 * size + slack) {
      return this.#rewrite()
    }
    const lines = this.#pending
    this.#pending = []
    await this.#handle.appendFile(lines.join(''))
    this.#lines += lines.length
  }

  async #rewrite(activity: (path: string) => number | undefined = () => undefined): Promise<void> {
    const change = this.#routes.toChange()
    const table = change.kind === 'replace' ? change.table : []
    this.#pending = []
    this.#mustRewrite = false
    const next = `${this.#path}.new`
    const handle = await open(next, 'w', 0o600)
    await handle.writeFile(table.map(([path, data]) => line(path, data, activity(path))).join(''))
    // Else a machine that loses its power may keep the name without the content.
    await handle.datasync()
    await rename(next, this.#path)
    await this.#handle?.close()
    this.#handle = handle
    this.#lines = table.length
  }
}

function line(path: string, data: JsonObject | null, at?: number): string {
  return `${JSON.stringify(at === undefined ? [path, data] : [path, data, at])}\n`
}

async function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
}

type Kept = readonly [path: string, data: JsonObject, at: number | null]

function parseLines(text: string): Kept[] {
  const lines = text.split('\n')
  const rest = lines.pop()
  const table = new Map<string, Kept>()
  for (const [i, each] of [...lines, ...(rest ? [rest] : [])].entries()) {
    const entry = parseLine(each)
    if (entry === null && i < lines.length) throw new Error(`line ${i + 1} is no route`)
    if (entry === null) continue
    const [path, data, at] = entry
    if (data === null) table.delete(path)
    else table.set(path, [path, data, at])
  }
  return [...table.values()]
}

function parseLine(
  text: string,
): [path: string, data: JsonObject | null, at: number | null] | null {
  try {
    const [path, data, at] = JSON.parse(text) as unknown[]
    const known = typeof at === 'number' && at <= Date.now() ? at : null
    if (typeof path !== 'string' || asRouteKey(path) !== path) return null
    if (data === null) return [path, null, null]
    return typeof readEntry(path, data) === 'string' ? null : [path, data as JsonObject, known]
  } catch {
    return null
  }
}
