import { HeadReader, InvalidMessage, readFields } from './head-reader.ts'

/** What comes out of a chunked body. `data` gets views of what was pushed. */
export interface ChunkedSink {
  data(piece: Buffer): void
  /** The body is whole. Trailers are name, value, name, value. */
  ended(trailers: readonly string[]): void
}

const maxTrailerBytes = 16 * 1024
const maxExtensionBytes = 4 * 1024
/** 2^52 bytes, so that sizes stay exact. */
const maxSizeDigits = 13
const lineEnd = Buffer.from('\r\n')

const cr = 0x0d
const lf = 0x0a
const semicolon = 0x3b
const quote = 0x22
const backslash = 0x5c

/** What the next byte belongs to. */
type State = Between | 'data' | 'trailers' | 'done'
type Between = 'size' | 'extension' | 'size-lf' | 'data-cr' | 'data-lf'

/**
 * Reads a chunked body (RFC 9112 7.1), strictly: sizes are plain hexadecimal, lines end with CRLF,
 * extensions are checked, bounded and dropped. Keeps nothing but the trailers.
 */
export class ChunkedDecoder {
  readonly #sink: ChunkedSink
  readonly #trailers = new HeadReader(maxTrailerBytes, lineEnd)
  #state: State = 'size'
  #size = 0
  #digits = 0
  #extension = 0
  #isQuoted = false

  constructor(sink: ChunkedSink) {
    this.#sink = sink
  }

  reset(): void {
    this.#state = 'size'
    this.#size = 0
    this.#digits = 0
    this.#extension = 0
    this.#trailers.reset()
  }

  /**
   * Reads from `at` on. Returns where it stopped: the end of the chunk or of the body.
   * @throws {InvalidMessage}
   */
  push(chunk: Buffer, at: number): number {
    while (at < chunk.length && this.#state !== 'done') {
      if (this.#state === 'data') at = this.#data(chunk, at)
      else if (this.#state === 'trailers') at = this.#endWith(chunk, at)
      else this.#take(this.#state, chunk[at++] ?? 0)
    }
    return at
  }

  #data(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#size)
    this.#size -= end - at
    if (this.#size === 0) this.#state = 'data-cr'
    this.#sink.data(chunk.subarray(at, end))
    return end
  }

  /** One byte of what is between the data. */
  #take(state: Between, byte: number): void {
    switch (state) {
      case 'size':
        return this.#takeSize(byte)
      case 'extension':
        return this.#takeExtension(byte)
      case 'size-lf':
        expect(byte, lf)
        return this.#begin()
      case 'data-cr':
        expect(byte, cr)
        this.#state = 'data-lf'
        return
      case 'data-lf':
        expect(byte, lf)
        this.#digits = 0
        this.#size = 0
        this.#state = 'size'
    }
  }

  #takeSize(byte: number): void {
    const digit = hexDigit(byte)
    if (digit >= 0) {
      this.#digits += 1
      if (this.#digits > maxSizeDigits) throw new InvalidMessage('a chunk is too large')
      this.#size = this.#size * 16 + digit
      return
    }
    if (this.#digits === 0) throw new InvalidMessage('a chunk has no size')
    this.#extension = 0
    this.#isQuoted = false
    if (byte === cr) this.#state = 'size-lf'
    else if (byte === semicolon) this.#state = 'extension'
    else throw new InvalidMessage('a chunk has an invalid size')
  }

  #takeExtension(byte: number): void {
    this.#extension += 1
    if (byte === quote) this.#isQuoted = !this.#isQuoted
    else if (byte === cr && !this.#isQuoted) this.#state = 'size-lf'
    else if (!inExtension(byte, this.#isQuoted) || this.#extension > maxExtensionBytes) {
      throw new InvalidMessage('a chunk has an invalid extension')
    }
  }

  #begin(): void {
    this.#state = this.#size === 0 ? 'trailers' : 'data'
    // The trailers begin where a line has ended: without any, the blank line is there with the next CRLF.
    if (this.#size === 0) this.#trailers.read(lineEnd, 0)
  }

  #endWith(chunk: Buffer, at: number): number {
    const trailers = this.#trailers.read(chunk, at)
    if (trailers === null) return chunk.length
    this.#state = 'done'
    this.#sink.ended(trailers.length === 2 ? [] : readFields(trailers, 2))
    return this.#trailers.end
  }
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const lower = byte | 0x20
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1
}

/** Where a reader could take a line's end for quoted text, or the other way round, there is no telling. */
function inExtension(byte: number, isQuoted: boolean): boolean {
  const isText = byte > 0x20 && byte < 0x7f && byte !== backslash
  return isText || (isQuoted && (byte === 0x20 || byte === 0x09 || byte >= 0x80))
}

function expect(byte: number, wanted: number): void {
  if (byte !== wanted) throw new InvalidMessage('a chunk does not end where its size says')
}
