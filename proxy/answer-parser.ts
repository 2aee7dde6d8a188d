import { ChunkedDecoder, type ChunkedSink } from './chunked-decoder.ts'
import { HeadReader, InvalidMessage, readFields } from './head-reader.ts'
import type { TargetAnswer } from './target-client.ts'

/** What was asked, as far as it decides about how an answer is read. */
export interface Asked {
  readonly method: string
  readonly isUpgrade: boolean
}

/** What an answer consists of, in the order in which it comes: `informed`*, then either `answered`, `data`*, `ended` or `upgraded`. */
export interface AnswerSink extends ChunkedSink {
  informed(answer: TargetAnswer): void
  answered(answer: TargetAnswer): void
  /** `first` came behind the head of the 101. */
  upgraded(answer: TargetAnswer, first: Buffer): void
}

const maxHeadBytes = 64 * 1024
const beginning = Buffer.from('HTTP/1.')
/** Targets that go on for ever without an answer are none. */
const maxInterims = 32
const maxLength = Number.MAX_SAFE_INTEGER

type State = 'head' | 'length' | 'chunked' | 'close' | 'done'

/** What the fields of a head say about the message and its connection. */
interface Meaning {
  length: string | null
  codings: string | null
  connection: string
  upgrade: string
  keepAlive: string
}

/**
 * Reads the answers of one connection, one after the other, strictly (RFC 9112): versions 1.0 and
 * 1.1 only, a body framed by exactly one of length, chunks and the end of the connection. Streams:
 * what it is given is passed on at once, as views.
 */
export class AnswerParser {
  readonly #sink: AnswerSink
  readonly #head = new HeadReader(maxHeadBytes, beginning)
  /** Made for the first answer that comes in chunks: most connections, such as those of WebSockets, see none. */
  #chunked: ChunkedDecoder | null = null
  #state: State = 'done'
  #asked: Asked = { method: 'GET', isUpgrade: false }
  #left = 0
  #interims = 0
  #keepFor: number | null = null
  #isPersistent = false

  constructor(sink: AnswerSink) {
    this.#sink = sink
  }

  /** Whether the connection may carry another request after this answer. */
  get isPersistent(): boolean {
    return this.#isPersistent
  }

  /** For how many seconds the target says it keeps the connection; null when it says nothing. */
  get keepFor(): number | null {
    return this.#keepFor
  }

  /** Prepares for the answer to one request. */
  begin(asked: Asked): void {
    this.#asked = asked
    this.#state = 'head'
    this.#interims = 0
    this.#isPersistent = false
    this.#head.reset()
  }

  /** @throws {InvalidMessage} also for bytes that follow a whole answer. */
  push(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#state === 'head') at = this.#readHead(chunk, at)
      else if (this.#state === 'chunked') at = this.#decoder.push(chunk, at)
      else if (this.#state === 'done') {
        this.#isPersistent = false
        throw new InvalidMessage('it goes on behind its end')
      } else at = this.#readBody(chunk, at)
    }
  }

  /** The target has ended the connection. False when that has cut the answer. */
  end(): boolean {
    if (this.#state === 'close') this.#end([])
    return this.#state === 'done'
  }

  #readHead(chunk: Buffer, at: number): number {
    const head = this.#head.read(chunk, at)
    if (head === null) return chunk.length
    const { end } = this.#head
    const lineEnd = head.indexOf('\r\n')
    const line = statusLine.exec(head.slice(0, lineEnd))
    if (!line) throw new InvalidMessage('its status line is malformed')
    const status = Number(line[2])
    const headers = readFields(head, lineEnd + 2)
    const answer: TargetAnswer = { status, reason: line[3] ?? '', headers }
    const meaning = meaningOf(headers)
    if (status === 101) return this.#switch(answer, meaning, chunk, end)
    if (status < 200) this.#inform(answer)
    else this.#answer(answer, meaning, line[1] === '1')
    return end
  }

  get #decoder(): ChunkedDecoder {
    this.#chunked ??= new ChunkedDecoder({
      data: (piece) => this.#sink.data(piece),
      ended: (trailers) => this.#end(trailers),
    })
    return this.#chunked
  }

  #inform(answer: TargetAnswer): void {
    this.#interims += 1
    if (this.#interims > maxInterims) throw new InvalidMessage('it announces answers without end')
    if (answer.status !== 100) this.#sink.informed(answer)
  }

  #switch(answer: TargetAnswer, meaning: Meaning, chunk: Buffer, at: number): number {
    const isWanted = this.#asked.isUpgrade && meaning.upgrade.toLowerCase() === 'websocket'
    if (!isWanted || !lists(meaning.connection, 'upgrade')) {
      throw new InvalidMessage('it switches to a protocol that was not asked for')
    }
    this.#state = 'done'
    this.#sink.upgraded(answer, chunk.subarray(at))
    return chunk.length
  }

  #answer(answer: TargetAnswer, meaning: Meaning, isHttp11: boolean): void {
    const { status } = answer
    const { method } = this.#asked
    const framing = framingOf(meaning, isHttp11)
    const hasBody = method !== 'HEAD' && status !== 204 && status !== 304
    this.#isPersistent =
      isHttp11 && !lists(meaning.connection, 'close') && !(hasBody && framing === 'close')
    const keepFor = /(?:^|[\s,])timeout=(\d{1,6})/i.exec(meaning.keepAlive)?.[1]
    this.#keepFor = keepFor === undefined ? null : Number(keepFor)
    this.#state = 'close'
    if (framing === 'chunked') {
      this.#decoder.reset()
      this.#state = 'chunked'
    } else if (framing !== 'close') {
      this.#left = framing
      this.#state = 'length'
    }
    const isEmpty = !hasBody || framing === 0
    if (isEmpty) this.#state = 'done'
    this.#sink.answered(answer)
    if (isEmpty) this.#sink.ended([])
  }

  #readBody(chunk: Buffer, at: number): number {
    if (this.#state === 'close') {
      this.#sink.data(at === 0 ? chunk : chunk.subarray(at))
      return chunk.length
    }
    const end = Math.min(chunk.length, at + this.#left)
    this.#left -= end - at
    this.#sink.data(chunk.subarray(at, end))
    if (this.#left === 0) this.#end([])
    return end
  }

  #end(trailers: readonly string[]): void {
    this.#state = 'done'
    this.#sink.ended(trailers)
  }
}

/** Without a reason there may be no space either: so it is often sent. */
const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/

function meaningOf(headers: readonly string[]): Meaning {
  const meaning: Meaning = {
    length: null,
    codings: null,
    connection: '',
    upgrade: '',
    keepAlive: '',
  }
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1] ?? ''
    // Most names are told apart by their length.
    switch (name.length) {
      case 7:
        if (name.toLowerCase() === 'upgrade') meaning.upgrade += value
        break
      case 10:
        if (name.toLowerCase() === 'connection') meaning.connection += `,${value}`
        else if (name.toLowerCase() === 'keep-alive') meaning.keepAlive = value
        break
      case 14:
        if (name.toLowerCase() === 'content-length') meaning.length = joined(meaning.length, value)
        break
      case 17:
        if (name.toLowerCase() === 'transfer-encoding') {
          meaning.codings = joined(meaning.codings, value)
        }
        break
      default:
    }
  }
  return meaning
}

function joined(before: string | null, value: string): string {
  return before === null ? value : `${before},${value}`
}

/** Two lengths are refused even when they agree, as node:http does. */
function framingOf({ length, codings }: Meaning, isHttp11: boolean): number | 'chunked' | 'close' {
  if (codings !== null) {
    if (length !== null || !isHttp11 || codings.toLowerCase() !== 'chunked') {
      throw new InvalidMessage('its body is framed in an unknown or an ambiguous way')
    }
    return 'chunked'
  }
  if (length === null) return 'close'
  if (!/^\d{1,16}$/.test(length) || Number(length) > maxLength) {
    throw new InvalidMessage('its Content-Length is not one number')
  }
  return Number(length)
}

function lists(options: string, wanted: string): boolean {
  if (options === '' || options === ',keep-alive') return false
  return options
    .toLowerCase()
    .split(',')
    .some((option) => option.trim() === wanted)
}
