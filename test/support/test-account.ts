import { execFileSync } from 'node:child_process'

export interface TestAccount {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  /** Also in this group, by the group database only. */
  readonly extraGroup: number
  /** Removes it. Its processes must have ended. */
  readonly remove: () => void
}

/** A real account of this machine, for tests that run as root. Every test file uses a name of its own. */
export function createTestAccount(name: string): TestAccount {
  if (!exists(name)) execFileSync('useradd', ['-m', '-s', '/bin/sh', '-G', 'users', name])
  const [, , uid, gid, , home = ''] = getent('passwd', name).split(':')
  const [, , extraGroup] = getent('group', 'users').split(':')
  return {
    name,
    uid: Number(uid),
    gid: Number(gid),
    home,
    extraGroup: Number(extraGroup),
    remove: () => void execFileSync('userdel', ['-r', name], { stdio: 'ignore' }),
  }
}

function exists(name: string): boolean {
  try {
    return getent('passwd', name) !== ''
  } catch {
    return false
  }
}

function getent(database: string, key: string): string {
  return execFileSync('getent', [database, key], { encoding: 'utf8' }).trim()
}
