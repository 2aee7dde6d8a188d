export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** Where the proxy tells what it does. Lines hold no token, no cookie and no query string. */
export type Log = Readonly<Record<LogLevel, (message: string) => void>>

/**
 * Writes `<ISO time> [ConfigProxy] <level>: text`, the lines of configurable-http-proxy, from `level`
 * up. What a target says of itself, as in its certificate, makes no lines of its own.
 */
export function lineLog(level: LogLevel, write: (line: string) => void): Log {
  const from = logLevels.indexOf(level)
  const at = (name: LogLevel) => {
    if (logLevels.indexOf(name) < from) return ignore
    return (message: string) =>
      write(`${new Date().toISOString()} [ConfigProxy] ${name}: ${inOneLine(message)}\n`)
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function ignore(): void {}

function inOneLine(message: string): string {
  return message.trim().replace(/[\p{Cc}\u2028\u2029]/gu, (character) => escapes(character))
}

function escapes(character: string): string {
  const code = character.charCodeAt(0).toString(16).padStart(4, '0')
  return character === '\n' ? '\\n' : `\\u${code}`
}
