import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** An account of the operating system: a line of `getent passwd`. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  readonly shell: string
}

const lookUpDeadline = 10_000
const folders = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/run/current-system/sw/bin']

/**
 * The account with exactly this name, from every source that the machine knows (files, LDAP, ...);
 * null when there is none.
 * @throws when the sources do not answer.
 */
export async function lookUpAccount(name: string): Promise<Account | null> {
  const line = await getent(name)
  const [found, , uid, gid, , home, shell] = line?.trimEnd().split(':') ?? []
  // A number is looked up as a uid, and some sources ignore case: both would be somebody else.
  if (found !== name || !/^\d+$/.test(uid ?? '') || !/^\d+$/.test(gid ?? '')) return null
  return { name, uid: Number(uid), gid: Number(gid), home: home || '/', shell: shell || '/bin/sh' }
}

/**
 * For `LaunchOptions.prefix`: becomes the account for good, with its groups from the group database,
 * no capabilities, and no way back through setuid programs. setpriv ends when any step fails, before
 * it runs anything. Needs root.
 */
export function dropPrivileges({ uid, gid }: Account): readonly string[] {
  return [
    systemProgram('setpriv'),
    `--reuid=${uid}`,
    `--regid=${gid}`,
    '--init-groups',
    '--inh-caps=-all',
    '--no-new-privs',
    '--',
  ]
}

/** The absolute path of a program of the operating system, whatever PATH says. */
export function systemProgram(name: string): string {
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`${name} is missing: install it (${folders.join(', ')})`)
  return found
}

/** Null when there is no such entry. */
function getent(name: string): Promise<string | null> {
  if (/[\0\n:]/.test(name)) return Promise.resolve(null)
  return new Promise((resolve, reject) => {
    const options = { env: {}, cwd: '/', timeout: lookUpDeadline }
    execFile(systemProgram('getent'), ['passwd', '--', name], options, (error, output) => {
      if (!error) resolve(output)
      else if (error.code === 2) resolve(null)
      else {
        const message = 'The accounts of this machine could not be looked up. Try again.'
        reject(new Error(message, { cause: error }))
      }
    })
  })
}
