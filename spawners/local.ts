import { userInfo } from 'node:os'
import { type Account, dropPrivileges, systemProgram } from 'portico/process'
import { StartFailed, defineSpawner } from 'portico/spawner'
import { z } from 'zod'
import { accountNamed } from './account.ts'
import { LocalProcess, type ServerAccount, processOptions } from './local-process.ts'

const firstUserId = 1_000

/**
 * Runs each server as the operating system account with the user's name, in its home directory.
 * Accounts below uid 1000 are refused. A hub that does not run as root can only start servers of
 * its own account. JupyterHub: LocalProcessSpawner, of which it keeps the option names.
 */
export const local = defineSpawner({
  name: 'local',
  config: z.strictObject(processOptions),
  check: () => {
    if (isRoot()) for (const name of ['setpriv', 'getent']) systemProgram(name)
  },
  refusal: async (_options, userName) => {
    try {
      await accountOf(userName)
      return null
    } catch (error) {
      if (error instanceof StartFailed && error.exit.cause !== 'unknown') return error.message
      throw error
    }
  },
  create: (options, context) =>
    new LocalProcess(options, context, () => accountOf(context.userName)),
})

async function accountOf(userName: string): Promise<ServerAccount> {
  const account = isRoot() ? await accountNamed(userName) : ownAccount(userName)
  const { name, uid, home, shell } = account
  if (uid < firstUserId && isRoot()) {
    throw refused(
      'no-account',
      `The account ${name} has uid ${uid}. Servers run only for accounts with uid ${firstUserId} or above: log in with another name.`,
    )
  }
  const env = { USER: name, LOGNAME: name, HOME: home, SHELL: shell }
  return { prefix: isRoot() ? dropPrivileges(account) : [], home, env, isRoot: false }
}

function ownAccount(userName: string): Account {
  const { username, uid, gid, homedir, shell } = userInfo()
  if (username === userName)
    return { name: username, uid, gid, home: homedir, shell: shell ?? '/bin/sh' }
  throw refused(
    'permission-denied',
    `The hub does not run as root, so it can start servers only for its own account, ${username}. An administrator must run it as root or choose another spawner.`,
  )
}

function refused(cause: 'no-account' | 'permission-denied', message: string): StartFailed {
  return new StartFailed({ cause, code: null, message })
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}
