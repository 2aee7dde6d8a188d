import { readFileSync } from 'node:fs'
import type { Exited } from 'portico/process'
import type { Exit, ExitCause } from 'portico/spawner'

/** What is known of a process of ours that has ended by itself. */
export interface Ending {
  readonly exited: Exited
  /** The program as the config names it. */
  readonly program: string
  /** The last lines it wrote. They decide about nothing but the words of the message. */
  readonly log: readonly string[]
  /** Whether the kernel has killed somebody for lack of memory while the process ran. */
  readonly memoryRanOut: boolean
}

const hints: readonly (readonly [ExitCause, RegExp, string])[] = [
  [
    'hub-unreachable',
    /failed to connect to my hub|hub\/api.*(?:refused|timed out|\b403\b)|\b403\b.*hub\/api/i,
    'It could not reach the hub, or the hub refused its token. An administrator must check hub.connectUrl and the firewall',
  ],
  [
    'out-of-memory',
    /MemoryError|heap out of memory|Cannot allocate memory/i,
    'It ran out of memory',
  ],
]

/** Whether the log says that another program had taken the port. */
export function isPortTaken(log: readonly string[]): boolean {
  return log.some((line) =>
    /address already in use|EADDRINUSE|port \d+ is (?:already in use|not available)|no available port/i.test(
      line,
    ),
  )
}

/** Says in one sentence why a server has ended and what to do. */
export function explainEnding(ending: Ending): Exit {
  const { code, signal } = ending.exited
  if (code === 127) return explain('command-not-found', code, notFound(ending.program))
  if (code === 126) return explain('permission-denied', code, notAllowed(ending.program))
  if (signal === 'SIGKILL' && ending.memoryRanOut) {
    return explain('out-of-memory', code, 'The server was killed because memory ran out: use less.')
  }
  if (signal !== null) return explain('killed', code, `The server was ended by ${signal}.`)
  for (const [cause, pattern, words] of hints) {
    if (ending.log.some((line) => pattern.test(line))) {
      return explain(cause, code, `The server ended with status ${code}. ${words}.`)
    }
  }
  return explain('exited', code, `The server ended with status ${code}. Its log may say why.`)
}

/** How many processes the kernel has killed for lack of memory since the machine started. */
export function memoryKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'latin1'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

function explain(cause: ExitCause, code: number | null, message: string): Exit {
  return { cause, code, message }
}

function notFound(program: string): string {
  return `${program}, or the interpreter named in its first line, was not found. An administrator must install it or change spawner.cmd.`
}

function notAllowed(program: string): string {
  return `${program} may not be executed by this account. An administrator must change its mode or spawner.cmd.`
}
