import type { NewToken } from '../../packages/client/index.ts'
import { HubError } from '../../packages/core/errors.ts'
import { unknownScopes } from '../../packages/core/scopes.ts'
import { type Command, hubFlags } from './command.ts'
import { noHub, reach } from './operator.ts'
import { newTokenFlags, newTokenOf } from './tokens.ts'

/** `jupyterhub token NAME`: beside `tokens create` for scripts that know it, and for when no hub runs. */
export const token: Command = {
  name: 'token',
  usage: 'USER',
  positionals: 1,
  summary: 'Make an API token and print its secret alone, whether or not the hub runs.',
  details: 'The secret is never shown again. Without --scope it may do whatever its owner may.',
  flags: { ...newTokenFlags, ...hubFlags },
  examples: ['token ada', 'token ada --note backup --expires-in 30d --scope read:users'],
  async run(context) {
    const [name = ''] = context.positionals
    const wanted = newTokenOf(context)
    const reached = await reach(context)
    if (reached.kind === 'nothing') throw noHub(reached.dataDir, context)
    const secret =
      reached.kind === 'hub'
        ? (await reached.client.createToken(name, wanted)).token
        : await issueOffline(reached.dataDir, name, wanted)
    context.print(secret)
    return 0
  },
}

/** What the token may do is decided at each use, so that scopes its owner lacks do no harm. */
async function issueOffline(
  dataDir: string,
  name: string,
  { note = 'Generated on the command line', expiresIn = 0, scopes = ['inherit'] }: NewToken,
): Promise<string> {
  const unknown = unknownScopes(scopes.filter((scope) => !scope.startsWith('custom:')))
  if (unknown.length > 0)
    throw new HubError('invalid_request', `unknown scopes: ${unknown.join(', ')}`)
  const { withDatabase } = await import('./offline.ts')
  const { tokenStore } = await import('../store/tokens.ts')
  const { userStore } = await import('../store/users.ts')
  return withDatabase(dataDir, async (database) => {
    const user = await userStore(database).findByName(name)
    if (!user) throw new HubError('user_not_found', `there is no user ${JSON.stringify(name)}`)
    const now = new Date()
    const expiresAt = expiresIn === 0 ? null : new Date(now.getTime() + expiresIn * 1000)
    const made = { userId: user.id, scopes, note, expiresAt }
    return (await tokenStore(database).issue(made, now)).secret
  })
}
