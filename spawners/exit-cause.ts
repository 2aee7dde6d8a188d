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

/** What a log gives away about the reason. */
interface Hint {
  readonly cause: ExitCause
  readonly pattern: RegExp
  readonly message: string
}

const seeLog = 'Its log may say why.'

const hints: readonly Hint[] = [
  {
    cause: 'hub-unreachable',
    pattern:
      /failed to connect to my hub|hub\/api.*(?:refused|timed out|\b403\b)|\b403\b.*hub\/api/i,
    message:
      'It could not reach the hub, or the hub refused its token. An administrator must check hub.hubConnectUrl and the firewall.',
  },
  {
    cause: 'out-of-memory',
    pattern: /MemoryError|heap out of memory|Cannot allocate memory/i,
    message: 'It ran out of memory: use less.',
  },
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
  const { cause, message } = reasonIn(ending.log) ?? { cause: 'exited', message: seeLog }
  return explain(cause, code, `The server ended with status ${code}. ${message}`)
}

/** Why a server that was ended while it still opened no port did not do so. */
export function explainNoPort(port: number, log: readonly string[]): Exit {
  const { cause, message } = reasonIn(log) ?? { cause: 'port-never-opened', message: seeLog }
  return explain(cause, null, `The server did not open port ${port} in time. ${message}`)
}

/** How many processes the kernel has killed for lack of memory since the machine started. */
export function memoryKills(): number {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'latin1'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

function reasonIn(log: readonly string[]): Hint | undefined {
  return hints.find(({ pattern }) => log.some((line) => pattern.test(line)))
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
