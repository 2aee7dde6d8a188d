import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { closeInherited } from './descriptors.ts'
import { openLog } from './log-file.ts'
import { type ProcessIdentity, identityOf } from './identity.ts'
import { type Exited, SupervisedProcess } from './supervised-process.ts'

export type Command = readonly [file: string, ...args: string[]]

export interface LaunchOptions {
  /** Program and arguments, looked up in the PATH of `env`. Everybody on the machine can read them: no secrets. */
  readonly command: Command
  /** The whole environment of the program: nothing of ours is added. */
  readonly env: Readonly<Record<string, string>>
  /** Absolute working directory, entered with the rights of the program, after `prefix`. Default: `/`. */
  readonly cwd?: string
  /** Receives stdout and stderr: appended, created with mode 0600, never through a symbolic link. */
  readonly logFile: string
  /**
   * Writes down the identity; resolves when that is durable. Until then the program has not begun.
   * Rejecting ends the process.
   */
  readonly save: (identity: ProcessIdentity) => Promise<void>
  /**
   * A command that execs the command appended to it, such as `setpriv --reuid=1000 --`. It runs with
   * an empty environment, so its file must be absolute.
   */
  readonly prefix?: readonly string[]
  /** Ends the process when it aborts before `launch` has resolved. */
  readonly signal?: AbortSignal
}

/** What `launch` throws when the program was never begun. Nothing of it is left. */
export class LaunchFailed extends Error {
  override readonly name: string = 'LaunchFailed'
  /** `cwd`: the working directory cannot be entered. `prefix`: `prefix` or the shell ended early. */
  readonly stage: 'cwd' | 'prefix'

  constructor(stage: 'cwd' | 'prefix', message: string, options?: ErrorOptions) {
    super(message, options)
    this.stage = stage
  }
}

/**
 * Stands between fork and the program. Says that it is there, waits for one line with the
 * environment as assignments, closes the pipe and becomes the program under the same pid. When the
 * line does not come to its end, because our end was closed or we were killed, it ends.
 */
const gate = `umask 077
cd -P -- "$1" || { echo cwd >&3; exit 1; }
shift
echo ready >&3
IFS= read -r portico_line <&3 || exit 1
exec 3>&-
unset PWD OLDPWD
portico_newline='
'
eval "$portico_line"
exec "$@"`

/**
 * Starts a program in a session of its own that outlives us, with output to a file, so that it is
 * never running unknown: the new process waits until `save` has resolved, and ends if we die first.
 * Umask 077, stdin empty, no other descriptors. A program that cannot be executed shows as exit
 * status 127 (not found, or its interpreter is) or 126 (no permission), as in a shell.
 *
 * @throws {LaunchFailed} when the program could not be begun; what `save` rejects with; the signal's
 * reason. In each case the process is gone.
 */
export async function launch(options: LaunchOptions): Promise<SupervisedProcess> {
  const { signal } = options
  signal?.throwIfAborted()
  const environment = environmentLine(options.env)
  const { child, identity, exited } = await spawnGate(options)
  const supervised = new SupervisedProcess(identity, exited)
  const kill = () => child.kill('SIGKILL')
  signal?.addEventListener('abort', kill)
  try {
    await passGate(child, () => options.save(identity), environment)
    signal?.throwIfAborted()
  } catch (error) {
    await supervised.stop([['SIGKILL', 5_000]])
    signal?.throwIfAborted()
    throw error
  } finally {
    signal?.removeEventListener('abort', kill)
  }
  child.unref()
  return supervised
}

interface Gate {
  readonly child: ChildProcess
  readonly identity: ProcessIdentity
  readonly exited: Promise<Exited>
}

async function spawnGate({
  command,
  cwd = '/',
  logFile,
  prefix = [],
}: LaunchOptions): Promise<Gate> {
  const chain = [...prefix, '/bin/sh', '-c', gate, 'sh', cwd, ...command]
  const [file = '', ...args] = chain
  closeInherited()
  const log = openLog(logFile)
  try {
    const child = spawn(file, args, {
      env: {},
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log, 'pipe'],
    })
    const exited = new Promise<Exited>((resolve) => {
      child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    const failed = once(child, 'error')
    // Read in the same turn, before an early end could be reaped.
    const identity = child.pid === undefined ? null : identityOf(child.pid)
    if (identity) return { child, identity, exited }
    const [cause] = await failed
    throw new LaunchFailed('prefix', `cannot start ${file}`, { cause })
  } finally {
    closeSync(log)
  }
}

async function passGate(
  child: ChildProcess,
  save: () => Promise<void>,
  environment: string,
): Promise<void> {
  const pipe = child.stdio[3] as Duplex
  // A gate that dies closes the pipe; what it died of is told by its exit status.
  pipe.on('error', () => {})
  const closed = new Promise((resolve) => pipe.once('close', resolve))
  try {
    await expectReady(pipe, child)
    await save()
    pipe.end(environment)
    await closed
  } finally {
    pipe.destroy()
  }
}

async function expectReady(pipe: Duplex, child: ChildProcess): Promise<void> {
  const word = await new Promise<string>((resolve) => {
    pipe.once('close', () => resolve(''))
    pipe.on('data', (chunk: Buffer) => resolve(chunk.toString().trim()))
  })
  if (word === 'ready') return
  if (word === 'cwd') throw new LaunchFailed('cwd', 'the working directory cannot be entered')
  const [file = ''] = child.spawnargs
  throw new LaunchFailed('prefix', `${file} ended before it ran the program`)
}

/** One line of shell that exports everything. Nothing in it is expanded but the newlines. */
function environmentLine(env: Readonly<Record<string, string>>): string {
  const assignments = Object.entries(env).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new Error(`${JSON.stringify(name)} cannot be the name of an environment variable`)
    }
    if (value.includes('\0')) throw new Error(`the environment variable ${name} holds a NUL`)
    const quoted = value.replaceAll("'", `'\\''`).replaceAll('\n', `'"$portico_newline"'`)
    return `${name}='${quoted}'`
  })
  return assignments.length === 0 ? ':\n' : `export ${assignments.join(' ')}\n`
}
