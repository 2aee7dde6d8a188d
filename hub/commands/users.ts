import {
  type Client,
  ClientError,
  type UserFilter,
  type UserModel,
} from '../../packages/client/index.ts'
import { HubError } from '../../packages/core/errors.ts'
import { type Command, type CommandContext, hubFlags, UsageError } from './command.ts'
import {
  collect,
  forEachName,
  hubCommand,
  listed,
  minute,
  namesOf,
  printFacts,
  printJson,
  printTable,
} from './hub-command.ts'
import { noHub, reach } from './operator.ts'
import { stateOf } from './servers.ts'

const some = { least: 1, most: Infinity }

const states = ['active', 'ready', 'inactive'] as const
const sorts = ['id', 'name', 'last_activity', '-id', '-name', '-last_activity'] as const

const list = hubCommand({
  name: 'users list',
  summary: 'List users.',
  flags: {
    name: { type: 'string', value: 'TEXT', help: 'Only those whose name holds this.' },
    state: {
      type: 'string',
      value: 'STATE',
      help: 'Only those with a server that runs (ready), runs or is about to (active), or with none (inactive).',
    },
    sort: {
      type: 'string',
      value: 'KEY',
      help: 'id, name or last_activity; with a dash before it in the other direction.',
    },
  },
  examples: ['users list', 'users list --state ready --sort=-last_activity', 'users list --json'],
  async run(client, context) {
    const users = await collect(client.users(filterOf(context)))
    printTable(context, users, [
      { head: 'NAME', of: ({ name }) => name },
      { head: 'ADMIN', of: ({ admin }) => (admin ? 'yes' : '') },
      { head: 'GROUPS', of: ({ groups }) => listed(groups) },
      { head: 'SERVERS', of: serversOf },
      { head: 'LAST ACTIVITY (UTC)', of: ({ last_activity }) => minute(last_activity) },
    ])
  },
})

function filterOf({ flags }: CommandContext): UserFilter {
  const name = flags.text('name')
  const state = oneOf('state', flags.text('state'), states)
  const sort = oneOf('sort', flags.text('sort') ?? 'name', sorts)
  return {
    pageSize: 200,
    ...(name === undefined ? {} : { nameFilter: name }),
    ...(state ? { state } : {}),
    ...(sort ? { sort } : {}),
  }
}

function oneOf<Choice extends string>(
  flag: string,
  text: string | undefined,
  choices: readonly Choice[],
): Choice | undefined {
  const choice = choices.find((candidate) => candidate === text)
  if (text !== undefined && choice === undefined)
    throw new UsageError(`'--${flag} ${text}' must be one of ${choices.join(', ')}`)
  return choice
}

function serversOf({ servers = {} }: UserModel): string {
  return listed(
    Object.values(servers).map((server) => `${server.name || 'default'} (${stateOf(server)})`),
  )
}

const show = hubCommand({
  name: 'users show',
  usage: 'NAME',
  positionals: 1,
  summary: 'Show one user.',
  examples: ['users show ada', 'users show ada --json'],
  async run(client, context) {
    const [name = ''] = context.positionals
    const user = await client.user(name, { includeStoppedServers: true })
    printFacts(context, user, {
      Name: user.name,
      Admin: user.admin ? 'yes' : 'no',
      Blocked: user.blocked ? 'yes' : 'no',
      Groups: listed(user.groups),
      Roles: listed(user.roles),
      Servers: serversOf(user),
      Created: minute(user.created),
      'Last activity': minute(user.last_activity),
    })
  },
})

/** Names per request. */
const batch = 100

const create = hubCommand({
  name: 'users create',
  usage: 'NAME... | -',
  positionals: some,
  summary: 'Make users; a dash reads names from standard input, one a line.',
  details: 'Those that exist are left as they are; it fails when all of them do.',
  flags: { admin: { type: 'boolean', help: 'Make them admins.' } },
  examples: ['users create ada grace', 'users create --admin ada', 'users create - < names.txt'],
  async run(client, context) {
    const names = await namesOf(context)
    const { made, failed } = await createAll(client, names, context)
    if (context.flags.has('json')) printJson(context, made)
    else for (const user of made) context.print(user.name)
    const known = names.length - made.length - failed
    if (known > 0) context.warn(`portico: ${known} of ${names.length} users existed already`)
    return failed > 0 || made.length === 0 ? 1 : 0
  },
})

/** In batches; one that is refused is told and does not keep the others. */
async function createAll(client: Client, names: readonly string[], context: CommandContext) {
  const admin = context.flags.has('admin')
  const made: UserModel[] = []
  let failed = 0
  for (let at = 0; at < names.length; at += batch) {
    if (names.length > batch) context.status(`${at} of ${names.length}`)
    const some = names.slice(at, at + batch)
    try {
      made.push(...(await client.createUsers(some, { admin })))
    } catch (error) {
      if (!(error instanceof ClientError)) throw error
      if (error.status === 409) continue
      if (names.length <= batch) throw error
      failed += some.length
      context.status('')
      context.warn(`portico: ${some[0]} to ${some.at(-1)}: ${error.message}`)
    }
  }
  context.status('')
  return { made, failed }
}

const remove = hubCommand({
  name: 'users delete',
  usage: 'NAME... | -',
  positionals: some,
  summary: 'Delete users, after their servers have stopped. Their files stay.',
  examples: ['users delete eve', 'users delete - < left.txt'],
  async run(client, context) {
    return forEachName(context, await namesOf(context), {
      work: (name) => client.deleteUser(name).then(() => ({ name, deleted: true })),
      told: (name) => `${name} is deleted`,
    })
  },
})

const rename = hubCommand({
  name: 'users rename',
  usage: 'NAME NEW',
  positionals: 2,
  summary: 'Give a user another name. Their servers must be stopped.',
  examples: ['users rename ada lovelace'],
  async run(client, context) {
    const [name = '', wanted = ''] = context.positionals
    const user = await client.updateUser(name, { name: wanted })
    if (context.flags.has('json')) printJson(context, user)
    else context.print(`${name} is ${user.name} now`)
  },
})

const block = hubCommand({
  name: 'users block',
  usage: 'NAME... | -',
  positionals: some,
  summary: 'Keep users out from now on: logins and tokens end, servers stop.',
  details: 'They are no admins any more. Somebody who has no user yet: authenticator.blockedUsers.',
  examples: ['users block eve', 'users block - < left.txt'],
  async run(client, context) {
    return forEachName(context, await namesOf(context), {
      work: (name) => client.updateUser(name, { blocked: true }),
      told: (name) => `${name} is blocked`,
    })
  },
})

const unblock = hubCommand({
  name: 'users unblock',
  usage: 'NAME... | -',
  positionals: some,
  summary: 'Let users log in again who were blocked.',
  examples: ['users unblock eve'],
  async run(client, context) {
    return forEachName(context, await namesOf(context), {
      work: (name) => client.updateUser(name, { blocked: false }),
      told: (name) => `${name} is not blocked any more`,
    })
  },
})

const setAdmin: Command = {
  name: 'users set-admin',
  usage: 'NAME',
  positionals: 1,
  summary: 'Make a user an admin, or no longer one.',
  details: 'Works whether or not the hub runs: the way back in when nobody is admin any more.',
  flags: {
    revoke: { type: 'boolean', help: 'Take the admin rights away.' },
    ...hubFlags,
  },
  examples: ['users set-admin ada', 'users set-admin ada --revoke'],
  async run(context) {
    const [name = ''] = context.positionals
    const admin = !context.flags.has('revoke')
    const known = await changeAdmin(context, name, admin)
    if (!known) {
      throw new HubError('user_not_found', `'${name}' is not known: they must have logged in once`)
    }
    context.print(admin ? `${name} is an admin now` : `${name} is no admin any more`)
    return 0
  },
}

async function changeAdmin(
  context: CommandContext,
  name: string,
  admin: boolean,
): Promise<boolean> {
  const reached = await reach(context)
  if (reached.kind === 'nothing') throw noHub(reached.dataDir, context)
  if (reached.kind === 'data') return changeAdminOffline(reached.dataDir, name, admin)
  try {
    await reached.client.updateUser(name, { admin })
    return true
  } catch (error) {
    if (error instanceof ClientError && error.status === 404) return false
    throw error
  }
}

async function changeAdminOffline(dataDir: string, name: string, admin: boolean): Promise<boolean> {
  const { userStore } = await import('../store/users.ts')
  const { withDatabase } = await import('./offline.ts')
  return withDatabase(dataDir, (database) => userStore(database).setAdmin(name, admin))
}

export const userCommands: readonly Command[] = [
  list,
  show,
  create,
  remove,
  rename,
  block,
  unblock,
  setAdmin,
]
