/** One event of a stream. */
export interface StreamEvent {
  /** To go on after it; null when the stream has no ids. */
  readonly id: string | null
  /** Its JSON. */
  readonly data: unknown
}

/** Longest event that is taken, in characters. */
const longest = 1_000_000

/**
 * The events of a stream with JSON data; comments and keep-alives are left out. Ends with the
 * stream; leaving the loop early ends the stream. Throws what `quiet` rejects with when nothing at
 * all has come for too long.
 * https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  quiet: <Value>(next: Promise<Value>) => Promise<Value> = (next) => next,
): AsyncGenerator<StreamEvent> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await quiet(reader.read())
      if (done) return
      const blocks = (rest + decoder.decode(value, { stream: true })).split(/\r?\n\r?\n/)
      rest = blocks.pop() ?? ''
      if (rest.length > longest) throw new Error('an event of the stream does not end')
      for (const block of blocks) {
        const event = parseBlock(block)
        if (event) yield event
      }
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

function parseBlock(block: string): StreamEvent | null {
  const data: string[] = []
  let id: string | null = null
  for (const line of block.split(/\r?\n/)) {
    const [field = '', ...value] = line.split(':')
    const text = value.join(':').replace(/^ /, '')
    if (field === 'data') data.push(text)
    if (field === 'id') id = text
  }
  return data.length === 0 ? null : { id, data: JSON.parse(data.join('\n')) as unknown }
}
