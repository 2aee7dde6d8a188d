import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename, delimiter, join } from 'node:path'
import { type Command, programPath } from 'portico/process'
import { z } from 'zod'

const jupyterHubCommand = 'jupyterhub-singleuser'
const lookUpDeadline = 10_000

/** Options that say which program runs as the single-user server. */
export const commandOptions = {
  /**
   * Program of the single-user server, with arguments; a string is a program without any. Looked up
   * in the PATH of the server's environment, no shell. Default: `jupyterhub-singleuser` when it is
   * there and the account may run it, else the embedded server. JupyterHub: `Spawner.cmd`.
   */
  cmd: z.union([z.string().min(1), z.tuple([z.string().min(1)], z.string())]).optional(),
  /** Arguments appended to `cmd`. Everybody on the machine can read them. JupyterHub: `Spawner.args`. */
  args: z.array(z.string()).default([]),
}

export interface CommandChoice {
  readonly cmd?: string | readonly [string, ...string[]] | undefined
  readonly args: readonly string[]
}

/** The command of the embedded single-user server, for `cmd`. */
export function embeddedCommand(): [file: string, script: string] {
  return programPath('packages/singleuser/main')
}

/**
 * Decides between JupyterHub's server and the embedded one once for all accounts, where that is
 * possible: `cmd` as configured, the embedded server when no `jupyterhub-singleuser` is on the
 * hub's PATH, undefined when each account has to be looked at.
 */
export function settleCommand(cmd: unknown, path: string): unknown {
  if (cmd !== undefined) return cmd
  const isInstalled = path
    .split(delimiter)
    .some((folder) => existsSync(join(folder, jupyterHubCommand)))
  return isInstalled ? undefined : embeddedCommand()
}

/** Whether a settled command is that of the embedded server. */
export function isEmbeddedCommand(cmd: unknown): boolean {
  return Array.isArray(cmd) && cmd[1] === embeddedCommand()[1]
}

/**
 * The command of the server, without `args`. `prefix` takes on the rights of the account, so that
 * what only the hub may execute is not chosen.
 */
export async function chooseCommand(
  cmd: CommandChoice['cmd'],
  path: string,
  prefix: readonly string[],
): Promise<Command> {
  if (cmd !== undefined) return typeof cmd === 'string' ? [cmd] : cmd
  return (await isOnPath(jupyterHubCommand, path, prefix)) ? [jupyterHubCommand] : embeddedCommand()
}

/** Whether this is a server that refuses to run as root without `--allow-root`: JupyterHub's or ours. */
export function refusesRoot([file, script]: Command): boolean {
  return basename(file) === jupyterHubCommand || script === embeddedCommand()[1]
}

/** What people call the command. */
export function programName([file, script]: Command): string {
  return script === embeddedCommand()[1] ? 'the embedded server' : basename(file)
}

function isOnPath(name: string, path: string, prefix: readonly string[]): Promise<boolean> {
  const look = [...prefix, '/bin/sh', '-c', 'PATH=$1; command -v -- "$2"', 'sh', path, name]
  const [file = '', ...args] = look
  return new Promise((resolve) => {
    execFile(file, args, { env: {}, cwd: '/', timeout: lookUpDeadline }, (error) => resolve(!error))
  })
}
