import type { Receiver, ShareModel } from '../../packages/client/index.ts'
import { type Command, type CommandContext, type Flags, UsageError } from './command.ts'
import {
  collect,
  durationOf,
  hubCommand,
  listed,
  minute,
  printFacts,
  printJson,
  printTable,
} from './hub-command.ts'
import { parseServer, showServer } from './server-name.ts'
import type { Column } from './table.ts'

const receiverFlags: Flags = {
  user: { type: 'string', value: 'NAME', help: 'The user whom it is about.' },
  group: { type: 'string', value: 'NAME', help: 'The group that it is about.' },
}

const scopeFlag: Flags = {
  scope: {
    type: 'string',
    value: 'SCOPE',
    multiple: true,
    help: 'Only this. May be given several times. Default: access to the server, or all of it.',
  },
}

const columns: readonly Column<ShareModel>[] = [
  {
    head: 'SERVER',
    of: ({ server }) => showServer({ owner: server.user.name, server: server.name }),
  },
  { head: 'WITH', of: ({ user, group }) => (user ? user.name : `group ${group?.name}`) },
  { head: 'SCOPES', of: ({ scopes }) => listed(scopes) },
  { head: 'SINCE (UTC)', of: ({ created_at }) => minute(created_at) },
]

/** `USER` means all servers of the user here, and `USER/` the default one. */
function serversOf(text: string): [owner: string, server?: string] {
  const { owner, server } = parseServer(text)
  return text.includes('/') ? [owner, server] : [owner]
}

const list = hubCommand({
  name: 'shares list',
  usage: 'USER[/SERVER]',
  positionals: 1,
  summary: 'List what a user shares: of one server (USER/ is the default one), or of all.',
  examples: ['shares list ada', 'shares list ada/gpu --json'],
  async run(client, context) {
    const [text = ''] = context.positionals
    printTable(context, await collect(client.shares(...serversOf(text))), columns)
  },
})

const received = hubCommand({
  name: 'shares received',
  summary: 'List what is shared with a user, also through groups, or with a group.',
  flags: receiverFlags,
  examples: ['shares received --user grace', 'shares received --group physics'],
  async run(client, context) {
    printTable(context, await collect(client.sharedWith(receiverOf(context))), columns)
  },
})

const grant = hubCommand({
  name: 'shares grant',
  usage: 'SERVER',
  positionals: 1,
  summary: 'Share a server with a user or a group.',
  flags: { ...receiverFlags, ...scopeFlag },
  examples: ['shares grant ada --user grace', 'shares grant ada/gpu --group physics'],
  async run(client, context) {
    const server = parseServer(context.positionals[0] ?? '')
    const scopes = scopesOf(context)
    printShare(context, await client.share(server, receiverOf(context), scopes))
  },
})

const revoke = hubCommand({
  name: 'shares revoke',
  usage: 'SERVER',
  positionals: 1,
  summary: 'Share a server no longer with a user, a group, or anybody.',
  flags: {
    ...receiverFlags,
    ...scopeFlag,
    all: { type: 'boolean', help: 'With nobody any more.' },
  },
  examples: ['shares revoke ada --user grace', 'shares revoke ada/gpu --all'],
  async run(client, context) {
    const server = parseServer(context.positionals[0] ?? '')
    if (context.flags.has('all')) await client.deleteShares(server)
    const left = context.flags.has('all')
      ? null
      : await client.unshare(server, receiverOf(context), scopesOf(context))
    if (left) printShare(context, left)
    else if (context.flags.has('json')) printJson(context, {})
    else context.print(`${showServer(server)} is not shared any more`)
  },
})

const codes = hubCommand({
  name: 'shares codes',
  usage: 'USER[/SERVER]',
  positionals: 1,
  summary: 'List the share codes of one server (USER/ is the default one), or of all.',
  examples: ['shares codes ada'],
  async run(client, context) {
    const [text = ''] = context.positionals
    printTable(context, await collect(client.shareCodes(...serversOf(text))), [
      { head: 'ID', of: ({ id }) => id },
      {
        head: 'SERVER',
        of: ({ server }) => showServer({ owner: server.user.name, server: server.name }),
      },
      { head: 'SCOPES', of: ({ scopes }) => listed(scopes) },
      { head: 'USED', of: ({ exchange_count }) => String(exchange_count), isNumber: true },
      { head: 'EXPIRES (UTC)', of: ({ expires_at }) => minute(expires_at) },
    ])
  },
})

const createCode = hubCommand({
  name: 'shares create-code',
  usage: 'SERVER',
  positionals: 1,
  summary: 'Make a code that gives whoever has it access to a server. It is never shown again.',
  flags: {
    ...scopeFlag,
    'expires-in': {
      type: 'string',
      value: 'TIME',
      help: 'Seconds, or such as 15m, 12h, 30d; at least a minute. Default: a day.',
    },
  },
  examples: ['shares create-code ada', 'shares create-code ada/gpu --expires-in 12h'],
  async run(client, context) {
    const server = parseServer(context.positionals[0] ?? '')
    const scopes = scopesOf(context)
    const expiresIn = durationOf(context, 'expires-in')
    const made = await client.createShareCode(server, {
      ...(scopes ? { scopes } : {}),
      ...(expiresIn === undefined ? {} : { expiresIn }),
    })
    if (context.flags.has('json')) printJson(context, made)
    else context.print(made.full_accept_url ?? made.accept_url)
  },
})

const deleteCode = hubCommand({
  name: 'shares delete-code',
  usage: 'SERVER [ID]',
  positionals: { least: 1, most: 2 },
  summary: 'Delete one share code of a server, or all of them.',
  flags: { all: { type: 'boolean', help: 'All codes of the server.' } },
  examples: ['shares delete-code ada sc_3', 'shares delete-code ada --all'],
  async run(client, context) {
    const [text = '', id] = context.positionals
    if ((id === undefined) !== context.flags.has('all'))
      throw new UsageError("'shares delete-code' needs the id of a code, or --all")
    await client.deleteShareCodes(parseServer(text), id)
    if (context.flags.has('json'))
      printJson(context, { server: text, id: id ?? null, deleted: true })
    else context.print(id === undefined ? `the codes of ${text} are deleted` : `${id} is deleted`)
  },
})

function receiverOf({ flags }: CommandContext): Receiver {
  const user = flags.text('user')
  const group = flags.text('group')
  if ((user === undefined) === (group === undefined))
    throw new UsageError('name either a --user or a --group')
  return user === undefined ? { group: group ?? '' } : { user }
}

function scopesOf({ flags }: CommandContext): readonly string[] | undefined {
  const scopes = flags.list('scope')
  return scopes.length === 0 ? undefined : scopes
}

function printShare(context: CommandContext, share: ShareModel): void {
  const facts = columns.map(({ head, of }) => [head, of(share)] as const)
  printFacts(context, share, Object.fromEntries(facts))
}

export const shareCommands: readonly Command[] = [
  list,
  received,
  grant,
  revoke,
  codes,
  createCode,
  deleteCode,
]
