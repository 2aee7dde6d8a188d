/** Something that HTTP/1.1 does not allow: nothing that follows on the connection means anything. */
export class InvalidMessage extends Error {
  override readonly name = 'InvalidMessage'
}

const blankLine = Buffer.from('\r\n\r\n')
const lineFeed = 0x0a
const carriageReturn = 0x0d

/**
 * Collects the bytes of a head, or of a trailer section, up to its blank line. Each byte is looked
 * at once and copied at most a few times, however small the pieces are in which it comes.
 */
export class HeadReader {
  readonly #limit: number
  readonly #beginning: Buffer
  #kept: Buffer | null = null
  #length = 0
  /** Where the blank line ends in the chunk that held it. */
  end = 0

  /** `limit` in bytes. `beginning` is what every head of this kind begins with. */
  constructor(limit: number, beginning: Buffer) {
    this.#limit = limit
    this.#beginning = beginning
  }

  /**
   * Takes a chunk from `at` on. Returns the head with the end of its last line but without the blank
   * one, decoded as latin1, and sets `end`; null when there must be more, and the chunk was kept.
   * @throws {InvalidMessage} as soon as it is known, so that nobody waits for the rest.
   */
  read(chunk: Buffer, at: number): string | null {
    if (this.#kept !== null) return this.#continue(this.#kept, chunk, at)
    const found = chunk.indexOf(blankLine, at)
    if (found < 0) return this.#keep(chunk, at)
    this.#check(found - at)
    this.end = found + 4
    return chunk.toString('latin1', at, found + 2)
  }

  reset(): void {
    this.#kept = null
    this.#length = 0
  }

  #keep(chunk: Buffer, at: number): null {
    this.#check(chunk.length - at)
    this.#kept = Buffer.allocUnsafe(Math.max(1024, (chunk.length - at) * 2))
    this.#append(this.#kept, chunk, at)
    return null
  }

  #continue(kept: Buffer, chunk: Buffer, at: number): string | null {
    const before = this.#length
    const whole = this.#append(kept, chunk, at)
    const found = whole.subarray(0, this.#length).indexOf(blankLine, Math.max(0, before - 3))
    this.#check(found < 0 ? this.#length : found)
    if (found < 0) return null
    this.end = at + found + 4 - before
    this.reset()
    return whole.toString('latin1', 0, found + 2)
  }

  /** Returns where it has put it all: in `kept` or, when that is too small, in a new one. */
  #append(kept: Buffer, chunk: Buffer, at: number): Buffer {
    const added = Math.min(chunk.length - at, this.#limit + blankLine.length)
    const from = this.#length
    const room = from + added <= kept.length ? kept : Buffer.allocUnsafe((from + added) * 2)
    if (room !== kept) kept.copy(room, 0, 0, from)
    chunk.copy(room, from, at, at + added)
    this.#kept = room
    this.#length = from + added
    this.#refuseEarly(room, from)
    return room
  }

  #refuseEarly(room: Buffer, from: number): void {
    const beginning = this.#beginning
    const known = Math.min(this.#length, beginning.length)
    if (from < known && room.compare(beginning, 0, known, 0, known) !== 0) throw notHttp()
    const text = room.subarray(0, this.#length)
    const end = text.indexOf(blankLine, Math.max(0, from - 3))
    const stop = end < 0 ? text.length : end
    for (let i = text.indexOf(lineFeed, from); i >= 0 && i < stop;) {
      if (text[i - 1] !== carriageReturn)
        throw new InvalidMessage('a line ends with a bare line feed')
      i = text.indexOf(lineFeed, i + 1)
    }
  }

  #check(length: number): void {
    if (length > this.#limit)
      throw new InvalidMessage(`its head is longer than ${this.#limit} bytes`)
  }
}

function notHttp(): InvalidMessage {
  return new InvalidMessage('it does not begin as HTTP/1.x does')
}

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
/** Neither a control character nor a line end that is not both of its characters (RFC 9112 2.2). */
const forbidden = /[^\t\r\n\x20-\x7e\x80-\xff]|\r(?!\n)|(?<!\r)\n/

/**
 * Reads field lines (RFC 9112 5) from `at` to the end of a head: name, value, name, value. Folded
 * lines, space before a colon, empty and odd names are refused.
 * @throws {InvalidMessage}
 */
export function readFields(head: string, at: number): string[] {
  if (forbidden.test(head)) throw new InvalidMessage('its head holds a control character')
  const fields: string[] = []
  while (at < head.length) {
    const end = head.indexOf('\r\n', at)
    const colon = head.indexOf(':', at)
    const name = colon < 0 || colon > end ? '' : head.slice(at, colon)
    if (!token.test(name)) throw new InvalidMessage('a header line is malformed')
    fields.push(name, trimmed(head, colon + 1, end))
    at = end + 2
  }
  return fields
}

/** Without the spaces and tabs around it. */
function trimmed(head: string, from: number, to: number): string {
  while (from < to && isBlank(head.charCodeAt(from))) from += 1
  while (from < to && isBlank(head.charCodeAt(to - 1))) to -= 1
  return head.slice(from, to)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}
