import { type WriteStream, createWriteStream, openSync } from 'node:fs'
import type { Writable } from 'node:stream'

/** One request that has ended. */
export interface AccessEntry {
  readonly client: string | null
  readonly method: string
  /** Without its query, which may hold a token. */
  readonly path: string
  readonly status: number
  /** Bytes sent to the client, with the head. */
  readonly bytes: number
  readonly milliseconds: number
  /** The path of the route that served it, or null. */
  readonly route: string | null
}

/** Writes one line of JSON per request. */
export class AccessLog {
  readonly #file: string
  #stream: Writable
  readonly #failed: (error: Error) => void

  /**
   * `-` is the standard output. `failed` hears of a file that cannot be written any more.
   * @throws {Error} when it cannot be opened.
   */
  constructor(file: string, standardOutput: Writable, failed: (error: Error) => void) {
    this.#file = file
    this.#failed = failed
    this.#stream = file === '-' ? standardOutput : this.#open()
  }

  write(entry: AccessEntry): void {
    const { milliseconds, ...rest } = entry
    const duration = Math.round(milliseconds * 10) / 10
    const line = { time: new Date().toISOString(), ...rest, duration_ms: duration }
    this.#stream.write(`${JSON.stringify(line)}\n`)
  }

  /** Opens the file anew, after it was moved away. Where that fails, the old one stays. */
  reopen(): void {
    if (this.#file === '-') return
    try {
      const next = this.#open()
      this.#stream.end()
      this.#stream = next
    } catch (error) {
      this.#failed(error as Error)
    }
  }

  close(): void {
    if (this.#file !== '-') this.#stream.end()
  }

  #open(): WriteStream {
    const fd = openSync(this.#file, 'a', 0o640)
    const stream = createWriteStream(this.#file, { fd })
    stream.on('error', this.#failed)
    return stream
  }
}
