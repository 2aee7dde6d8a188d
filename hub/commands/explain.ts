import type { Client, GrantSource } from '../../packages/client/index.ts'
import type { CommandContext } from './command.ts'
import { hubCommand, printJson, printTable } from './hub-command.ts'
import { plain } from './table.ts'

export const explain = hubCommand({
  name: 'explain',
  usage: 'USER|TOKEN-ID [SCOPE [TARGET]] | login NAME',
  positionals: { least: 1, most: 3 },
  summary: 'Say why a user or token may do something, or who may log in, or what is missing.',
  details:
    'The target is user=NAME, server=USER/NAME, group=NAME or service=NAME, or briefly a user or USER/NAME. Without a scope all that a user may do is listed. With `login`, says which rule lets NAME log in, whether there is such a user or not. Exits with 1 when the answer is no.',
  flags: {
    user: {
      type: 'boolean',
      help: 'The name is that of a user, though it looks like a12, or is login.',
    },
  },
  examples: [
    'explain ada',
    'explain ada read:users',
    'explain ada servers server=bob/',
    'explain a12 access:servers bob/',
    'explain login ada',
  ],
  async run(client, context) {
    const [who = '', scope, target] = context.positionals
    if (who === 'login' && scope !== undefined && !context.flags.has('user'))
      return login(client, context, scope)
    const isToken = /^a\d+$/.test(who) && !context.flags.has('user')
    if (scope === undefined) return list(client, context, who)
    const answer = await client.explain({
      ...(isToken ? { token: who } : { user: who }),
      scope,
      ...(target === undefined ? {} : { target }),
    })
    if (context.flags.has('json')) printJson(context, answer)
    else context.print(plain(answer.message))
    return answer.allowed ? 0 : 1
  },
})

async function login(client: Client, context: CommandContext, name: string): Promise<number> {
  const answer = await client.explainLogin(name)
  if (context.flags.has('json')) printJson(context, answer)
  else context.print(plain(answer.message))
  return answer.allowed ? 0 : 1
}

async function list(client: Client, context: CommandContext, name: string): Promise<void> {
  const all = await client.explainUser(name)
  if (context.flags.has('json')) return printJson(context, all)
  printTable(context, Object.entries(all.scopes), [
    { head: 'SCOPE', of: ([scope]) => scope },
    { head: 'FROM', of: ([, sources]) => [...new Set(sources.map(sourceOf))].join(', ') },
  ])
}

function sourceOf({ kind, name, group }: GrantSource): string {
  const what = kind === 'role' ? `role ${name}` : `share of ${name}`
  return group === null ? what : `${what} of group ${group}`
}
