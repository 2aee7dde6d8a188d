import { accessSync, constants } from 'node:fs'
import type * as nodePty from 'node-pty'
import { describeError, HubError } from '../core/errors.ts'

/** What a connection hears of a terminal. */
export interface TerminalListener {
  output(text: string): void
  exit(): void
}

export interface TerminalOptions {
  readonly env: Readonly<Record<string, string>>
  /** Where shells start. */
  readonly cwd: string
  /** Loads the native part, which may be missing. */
  readonly load?: () => Promise<Pick<typeof nodePty, 'spawn'>>
}

/** Characters of output kept for those who attach later. */
const maxScrollback = 256 * 1024
const maxTerminals = 16
/** Milliseconds between SIGHUP and SIGKILL. */
const grace = 800

/** The shells of one server. They live on while nobody watches, until closed or exited. */
export class Terminals {
  readonly #options: TerminalOptions
  readonly #open = new Map<string, Terminal>()
  #count = 0

  constructor(options: TerminalOptions) {
    this.#options = options
  }

  /** Why there can be no terminal; empty when there can. */
  async problem(): Promise<string> {
    try {
      await this.#load()
      return ''
    } catch (error) {
      const reason = describeError(error).split('\n', 1)[0] ?? ''
      return `The optional package node-pty is not usable on this machine: ${reason}`
    }
  }

  list(): Terminal[] {
    return [...this.#open.values()]
  }

  /** Throws `not_found`. */
  get(name: string): Terminal {
    const terminal = this.#open.get(name)
    if (terminal) return terminal
    throw new HubError('not_found', `terminal ${name} is not open any more`)
  }

  /** Starts a login shell. Throws `unavailable` without node-pty, `too_many_requests` past 16. */
  async create(): Promise<Terminal> {
    if (this.#open.size >= maxTerminals) {
      const advice = 'close one first'
      throw new HubError('too_many_requests', `${maxTerminals} terminals are open: ${advice}`)
    }
    const problem = await this.problem()
    if (problem !== '') throw new HubError('unavailable', problem)
    const { spawn } = await this.#load()
    const { env, cwd } = this.#options
    const pty = spawn(shellOf(env), ['-l'], {
      name: 'xterm-256color',
      cwd,
      env: { ...env, TERM: 'xterm-256color', COLORTERM: 'truecolor' },
      cols: 80,
      rows: 24,
    })
    const name = String(++this.#count)
    const terminal = new Terminal(name, pty, () => this.#open.delete(name))
    this.#open.set(name, terminal)
    return terminal
  }

  /** Ends every shell; resolves when all are gone, within a second. */
  async closeAll(): Promise<void> {
    await Promise.all(this.list().map((terminal) => terminal.close()))
  }

  #load(): Promise<Pick<typeof nodePty, 'spawn'>> {
    return this.#options.load?.() ?? import('node-pty')
  }
}

/** One shell on a pseudo-terminal, with the last of its output. */
export class Terminal {
  readonly name: string
  lastActivity = new Date()
  readonly #pty: nodePty.IPty
  readonly #exited: Promise<void>
  readonly #listeners = new Set<TerminalListener>()
  readonly #slow = new Set<TerminalListener>()
  #scrollback = ''

  constructor(name: string, pty: nodePty.IPty, onExit: () => void) {
    this.name = name
    this.#pty = pty
    pty.onData((text) => this.#onOutput(text))
    this.#exited = new Promise((resolve) => {
      pty.onExit(() => {
        resolve()
        onExit()
        for (const listener of this.#listeners) listener.exit()
      })
    })
  }

  /** Hears what comes from now on; returns what came before. */
  attach(listener: TerminalListener): string {
    this.#listeners.add(listener)
    return this.#scrollback
  }

  detach(listener: TerminalListener): void {
    this.#listeners.delete(listener)
    this.setSlow(listener, false)
  }

  /** While any listener is slow the shell's output waits, as on a real terminal. */
  setSlow(listener: TerminalListener, slow: boolean): void {
    const before = this.#slow.size
    if (slow) this.#slow.add(listener)
    else this.#slow.delete(listener)
    if (before === 0 && this.#slow.size === 1) this.#pty.pause()
    if (before === 1 && this.#slow.size === 0) this.#pty.resume()
  }

  write(text: string): void {
    this.lastActivity = new Date()
    this.#pty.write(text)
  }

  /** Ignores sizes that no screen has. */
  resize(columns: number, rows: number): void {
    const fits = (size: number): boolean => Number.isInteger(size) && size > 0 && size <= 1000
    if (fits(columns) && fits(rows)) this.#pty.resize(columns, rows)
  }

  /** Hangs up, then kills; resolves when the shell is gone. */
  async close(): Promise<void> {
    const deadline = setTimeout(() => this.#signal('SIGKILL'), grace)
    this.#signal('SIGHUP')
    await this.#exited
    clearTimeout(deadline)
  }

  /** To the shell's whole group; a group that is gone is what we want. */
  #signal(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.#pty.pid, signal)
    } catch {
      // ESRCH: it has exited.
    }
  }

  #onOutput(text: string): void {
    this.lastActivity = new Date()
    this.#scrollback = lastOf(this.#scrollback + text)
    for (const listener of this.#listeners) listener.output(text)
  }
}

/** At most `maxScrollback` characters, cut at a line, and only when a quarter more has come. */
function lastOf(text: string): string {
  if (text.length <= maxScrollback * 1.25) return text
  const kept = text.slice(-maxScrollback)
  return kept.slice(kept.indexOf('\n') + 1)
}

/** The account's shell if it can be run, else one that every system has. */
function shellOf(env: Readonly<Record<string, string>>): string {
  const candidates = [env['SHELL'] ?? '', '/bin/bash', '/bin/sh']
  return candidates.find((file) => file !== '' && isExecutable(file)) ?? '/bin/sh'
}

function isExecutable(file: string): boolean {
  if (/(?:nologin|false)$/.test(file)) return false
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}
