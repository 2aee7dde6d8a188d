import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { HubError } from 'portico/errors'
import { z } from 'zod'

const run = promisify(execFile)
/** Milliseconds. */
const patience = 60_000
const folders = ['/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Names that no tool takes for an option or a path (`NAME_REGEX` of adduser, useradd). */
const safeName = /^[a-z_][a-z0-9_.-]{0,31}$/

/** Options of authenticators whose users are accounts of this machine (JupyterHub: LocalAuthenticator). */
export const localAccountOptions = {
  /** Makes an account for users of the hub that have none. The hub must run as root. */
  createSystemUsers: z.boolean().default(false),
  /**
   * The program that makes an account, with arguments; `USERNAME` in them becomes the name, and
   * `--` and the name are appended. No shell.
   */
  addUserCmd: z
    .tuple([z.string().min(1)], z.string())
    .default(['adduser', '-q', '--gecos', '', '--disabled-password']),
  /** The uid of accounts that are made, by name. */
  uids: z.record(z.string(), z.int().min(1_000)).default({}),
}

export interface LocalAccountOptions {
  readonly createSystemUsers: boolean
  readonly addUserCmd: readonly [string, ...string[]]
  readonly uids: Readonly<Record<string, number>>
}

/**
 * `addUser` for such authenticators: the account exists, or is made. Safe to call again.
 * @throws {HubError} `invalid_request` when there is no such account and none may be made,
 * `unavailable` when making it has failed.
 */
export async function ensureAccount(options: LocalAccountOptions, name: string): Promise<void> {
  if (await hasAccount(name)) return
  const quoted = JSON.stringify(name)
  if (!options.createSystemUsers)
    throw new HubError(
      'invalid_request',
      `This machine has no account ${quoted}. Create it, or set 'authenticator.createSystemUsers: true'`,
    )
  if (!safeName.test(name))
    throw new HubError(
      'invalid_request',
      `No account can be made for ${quoted}: names begin with a lower case letter or _, and go on with up to 31 of a-z, 0-9, _, . and -`,
    )
  const [file, ...args] = addUserCommand(options, name)
  try {
    await run(systemProgram(file), args, {
      timeout: patience,
      cwd: '/',
      env: { PATH: folders.join(':') },
    })
  } catch (error) {
    if (await hasAccount(name)) return
    throw new HubError('unavailable', `The account ${quoted} could not be made`, { cause: error })
  }
}

function addUserCommand(
  { addUserCmd: [file, ...given], uids }: LocalAccountOptions,
  name: string,
): [string, ...string[]] {
  const uid = Object.hasOwn(uids, name) ? uids[name] : undefined
  const args = given.map((argument) => argument.replaceAll('USERNAME', name))
  return [file, ...args, ...(uid === undefined ? [] : ['--uid', String(uid)]), '--', name]
}

/** Whether the machine knows exactly this name, from any of its sources. */
async function hasAccount(name: string): Promise<boolean> {
  if (/[\0\n:]/.test(name) || name === '') return false
  try {
    const { stdout } = await run(systemProgram('getent'), ['passwd', '--', name], {
      timeout: patience,
      cwd: '/',
      env: {},
    })
    return stdout.split(':')[0] === name
  } catch (error) {
    // Status 2 of getent(1): no such key.
    if ((error as { code?: unknown }).code === 2) return false
    throw new HubError('unavailable', 'The accounts of this machine could not be looked up', {
      cause: error,
    })
  }
}

function systemProgram(file: string): string {
  if (basename(file) !== file) return file
  const found = folders.map((folder) => join(folder, file)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${file} is not in ${folders.join(', ')}`)
  return found
}
