/** Severity, lowest first. */
const levels = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof levels)[number]

/** Extra facts of one line. Never cookies, tokens, passwords or whole urls with queries. */
export type Fields = Readonly<Record<string, string | number | boolean | null | undefined>>

/** The hub's log: one line an event, JSON unless a person watches. */
export type Log = Readonly<Record<Level, (message: string, fields?: Fields) => void>>

/** `write` gets whole lines without a line end. Control characters are escaped, long values cut. */
export function createLog(options: {
  readonly level: Level
  readonly pretty: boolean
  readonly write: (line: string) => void
}): Log {
  const least = levels.indexOf(options.level)
  const at =
    (level: Level) =>
    (message: string, fields: Fields = {}): void => {
      if (levels.indexOf(level) < least) return
      const time = new Date().toISOString()
      options.write(
        options.pretty
          ? `${time.slice(11, 19)} ${level.toUpperCase().padEnd(5)} ${clean(message)}${prettyFields(fields)}`
          : `{"time":"${time}","level":"${level}","message":${JSON.stringify(clean(message))}${jsonFields(fields)}}`,
      )
    }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/**
 * Collects the lines of one turn of the event loop and writes them at once: under load a system call
 * for each would cost more than most requests do.
 */
export function batched(write: (text: string) => void): (line: string) => void {
  let waiting: string[] = []
  const flush = (): void => {
    const lines = waiting
    waiting = []
    write(`${lines.join('\n')}\n`)
  }
  return (line) => {
    if (waiting.push(line) === 1) setImmediate(flush)
  }
}

/** A name as it may stand in a log line: long ones cut, so that nobody fills the disk with one request. */
export function shortName(name: string): string {
  return name.length <= 64 ? name : `${name.slice(0, 16)}...(${name.length} characters)`
}

const limit = 2000

// eslint-disable-next-line no-control-regex
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g

function clean(text: string): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}...` : text
  if (cut.search(unprintable) < 0) return cut
  return cut.replaceAll(
    unprintable,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function jsonFields(fields: Fields): string {
  let text = ''
  for (const [key, value] of Object.entries(fields))
    if (value !== undefined)
      text += `,${JSON.stringify(key)}:${JSON.stringify(typeof value === 'string' ? clean(value) : value)}`
  return text
}

function prettyFields(fields: Fields): string {
  let text = ''
  for (const [key, value] of Object.entries(fields))
    if (value !== undefined) text += ` ${key}=${typeof value === 'string' ? clean(value) : value}`
  return text
}
