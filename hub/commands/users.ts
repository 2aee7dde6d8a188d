import { ClientError } from '../../packages/client/index.ts'
import { HubError } from '../../packages/core/errors.ts'
import { type Command, type CommandContext, hubFlags } from './command.ts'
import { noHub, reach } from './operator.ts'

export const usersAdmin: Command = {
  name: 'users admin',
  usage: 'NAME',
  positionals: 1,
  summary: 'Make a user an admin, or no longer one.',
  details: 'Works whether or not the hub runs: the way back in when nobody is admin any more.',
  flags: {
    ...hubFlags,
    revoke: { type: 'boolean', help: 'Take the admin rights away.' },
  },
  examples: ['users admin ada', 'users admin ada --revoke'],
  async run(context) {
    const [name = ''] = context.positionals
    const admin = !context.flags.has('revoke')
    const known = await setAdmin(context, name, admin)
    if (!known) {
      throw new HubError('user_not_found', `'${name}' is not known: they must have logged in once`)
    }
    context.print(admin ? `${name} is an admin now` : `${name} is no admin any more`)
    return 0
  },
}

async function setAdmin(context: CommandContext, name: string, admin: boolean): Promise<boolean> {
  const reached = await reach(context)
  if (reached.kind === 'nothing') throw noHub(reached.dataDir, context)
  if (reached.kind === 'data') return setAdminOffline(reached.dataDir, name, admin)
  try {
    await reached.client.updateUser(name, { admin })
    return true
  } catch (error) {
    if (error instanceof ClientError && error.status === 404) return false
    throw error
  }
}

async function setAdminOffline(dataDir: string, name: string, admin: boolean): Promise<boolean> {
  const { userStore } = await import('../store/users.ts')
  const { withDatabase } = await import('./offline.ts')
  return withDatabase(dataDir, (database) => userStore(database).setAdmin(name, admin))
}
