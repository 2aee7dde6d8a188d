const quote = 0x22
const comma = 0x2c
const backslash = 0x5c
const [openBracket, closeBracket] = [0x5b, 0x5d]
const [openBrace, closeBrace] = [0x7b, 0x7d]

/** The text is not one JSON object. */
export class InvalidObject extends Error {
  override readonly name = 'InvalidObject'
}

/**
 * Reads the members of one JSON object (RFC 8259 4) while its bytes arrive, so that a large one is
 * never parsed at a stroke. What is not well-formed is refused as by `JSON.parse`, but members that
 * came before the mistake have been told; names that are there twice are told twice.
 */
export class MemberReader {
  /** The beginning of a member whose end has not come. */
  readonly #kept: Buffer[] = []
  #depth = 0
  #isString = false
  #isEscaped = false
  #place: 'before' | 'empty' | 'within' | 'after' = 'before'

  /** To be called after the last chunk. @throws {InvalidObject} when the end of the object has not come. */
  end(): void {
    if (this.#place !== 'after') throw new InvalidObject('Unexpected end of JSON input')
  }

  /** Tells the members that end within `chunk`. @throws {InvalidObject} */
  *push(chunk: Buffer): Generator<[name: string, value: unknown]> {
    let start = 0
    for (let i = this.#begin(chunk); i < chunk.length; i += 1) {
      const byte = chunk[i] ?? 0
      if (this.#isString) this.#passString(byte)
      else if (byte === quote) this.#isString = true
      else if (byte === openBrace || byte === openBracket) {
        this.#depth += 1
        if (this.#depth === 1) start = i + 1
      } else if (byte === closeBrace || byte === closeBracket) {
        this.#depth -= 1
        if (this.#depth > 0) continue
        yield* this.#last(chunk, start, i)
        return
      } else if (byte === comma && this.#depth === 1) {
        yield this.#member(chunk.subarray(start, i))
        this.#place = 'within'
        start = i + 1
      }
    }
    if (this.#depth > 0) this.#kept.push(Buffer.from(chunk.subarray(start)))
  }

  /** Where the reading of a chunk begins. */
  #begin(chunk: Buffer): number {
    if (this.#place === 'after') return requireBlank(chunk, 0)
    if (this.#place !== 'before') return 0
    const at = firstAfterBlanks(chunk, 0)
    if (at === chunk.length) return at
    if (chunk[at] !== openBrace) throw new InvalidObject('The body must be an object')
    this.#place = 'empty'
    return at
  }

  #passString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false
    else if (byte === backslash) this.#isEscaped = true
    else if (byte === quote) this.#isString = false
  }

  *#last(chunk: Buffer, start: number, at: number): Generator<[name: string, value: unknown]> {
    const isEmpty = this.#place === 'empty'
    this.#place = 'after'
    if (chunk[at] !== closeBrace) throw new InvalidObject("Unexpected token ']'")
    const last = chunk.subarray(start, at)
    const isBlank = this.#kept.every(isAllBlank) && isAllBlank(last)
    if (!(isEmpty && isBlank)) yield this.#member(last)
    requireBlank(chunk, at + 1)
  }

  #member(end: Buffer): [name: string, value: unknown] {
    const bytes = this.#kept.length === 0 ? end : Buffer.concat([...this.#kept, end])
    this.#kept.length = 0
    const [member] = Object.entries(parse(`{${bytes.toString('utf8')}}`))
    if (member === undefined) throw new InvalidObject('Unexpected comma in JSON')
    return member
  }
}

function parse(text: string): object {
  try {
    return JSON.parse(text) as object
  } catch (cause) {
    throw new InvalidObject((cause as Error).message, { cause })
  }
}

function requireBlank(chunk: Buffer, from: number): number {
  const at = firstAfterBlanks(chunk, from)
  if (at < chunk.length) throw new InvalidObject('Unexpected text after the end of the object')
  return at
}

function isAllBlank(chunk: Buffer): boolean {
  return firstAfterBlanks(chunk, 0) === chunk.length
}

/** Blanks of JSON: space, tab, line feed, carriage return. */
function firstAfterBlanks(chunk: Buffer, from: number): number {
  let at = from
  while (at < chunk.length && /[ \t\n\r]/.test(String.fromCharCode(chunk[at] ?? 0))) at += 1
  return at
}
