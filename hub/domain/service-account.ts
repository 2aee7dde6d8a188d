import { homedir, userInfo } from 'node:os'
import { HubError } from '../../packages/core/errors.ts'
import { dropPrivileges, lookUpAccount } from '../../packages/process/index.ts'

/** The operating system account of a managed service. */
export interface ServiceAccount {
  /** Command that takes on the rights of the account; empty for the hub's own. */
  readonly prefix: readonly string[]
  readonly home: string
  /** USER, LOGNAME, HOME and SHELL. */
  readonly env: Readonly<Record<string, string>>
}

export const hubIsRoot = (): boolean => process.getuid?.() === 0

/**
 * The account that is named, or the hub's own. Root is only taken on where it is named or the hub's.
 * @throws {HubError} `not_found` for an account that does not exist, `forbidden` for one that the hub
 * cannot become since it is not root.
 */
export async function serviceAccount(name: string | undefined): Promise<ServiceAccount> {
  const own = ownAccount()
  if (name === undefined || name === own.env['USER']) return own
  if (!hubIsRoot())
    throw new HubError('forbidden', `only a hub that runs as root can run it as ${name}`)
  const account = await lookUpAccount(name)
  if (!account) throw new HubError('not_found', `this machine has no account named ${name}`)
  const { home, shell } = account
  return { prefix: dropPrivileges(account), home, env: variables(name, home, shell) }
}

/** Containers may run the hub under a uid without an entry in passwd. */
function ownAccount(): ServiceAccount {
  try {
    const { username, homedir: home, shell } = userInfo()
    return { prefix: [], home, env: variables(username, home, shell ?? '/bin/sh') }
  } catch {
    return { prefix: [], home: homedir(), env: { HOME: homedir() } }
  }
}

function variables(name: string, home: string, shell: string): Record<string, string> {
  return { USER: name, LOGNAME: name, HOME: home, SHELL: shell }
}
