export const logLevels = ['debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** Where the proxy tells what it does. Lines hold no token, no cookie and no query string. */
export type Log = Readonly<Record<LogLevel, (message: string) => void>>

/** Writes `<ISO time> [ConfigProxy] <level>: text`, the lines of configurable-http-proxy, from `level` up. */
export function lineLog(level: LogLevel, write: (line: string) => void): Log {
  const from = logLevels.indexOf(level)
  const at = (name: LogLevel) => {
    if (logLevels.indexOf(name) < from) return ignore
    return (message: string) =>
      write(`${new Date().toISOString()} [ConfigProxy] ${name}: ${message}\n`)
  }
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function ignore(): void {}
