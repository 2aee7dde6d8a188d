import type { NewToken, TokenModel } from '../../packages/client/index.ts'
import type { Command, CommandContext, Flags } from './command.ts'
import {
  durationOf,
  forEachName,
  hubCommand,
  listed,
  minute,
  namesOf,
  printFacts,
  printJson,
  printTable,
} from './hub-command.ts'

const list = hubCommand({
  name: 'tokens list',
  usage: 'USER',
  positionals: 1,
  summary: 'List the API tokens of a user, without their secrets.',
  examples: ['tokens list ada', 'tokens list ada --json'],
  async run(client, context) {
    printTable(context, await client.tokens(context.positionals[0] ?? ''), [
      { head: 'ID', of: ({ id }) => id },
      { head: 'NOTE', of: ({ note }) => note ?? '' },
      { head: 'ISSUED TO', of: ({ oauth_client }) => oauth_client ?? '-' },
      { head: 'SCOPES', of: ({ scopes }) => String(scopes.length), isNumber: true },
      { head: 'CREATED (UTC)', of: ({ created }) => minute(created) },
      { head: 'LAST USE (UTC)', of: ({ last_activity }) => minute(last_activity) },
      { head: 'EXPIRES (UTC)', of: ({ expires_at }) => minute(expires_at) },
    ])
  },
})

const show = hubCommand({
  name: 'tokens show',
  usage: 'USER ID',
  positionals: 2,
  summary: 'Show one token with what it allows now.',
  examples: ['tokens show ada a12'],
  async run(client, context) {
    const [user = '', id = ''] = context.positionals
    const token = await client.token(user, id)
    printFacts(context, token, factsOf(token))
  },
})

function factsOf(token: TokenModel): Readonly<Record<string, string>> {
  return {
    Id: token.id,
    Note: token.note ?? '-',
    'Issued to': token.oauth_client ?? '-',
    Scopes: listed(token.scopes),
    Created: minute(token.created),
    'Last use': minute(token.last_activity),
    Expires: minute(token.expires_at),
  }
}

/** Flags that say what a new token is to be. */
export const newTokenFlags: Flags = {
  note: { type: 'string', value: 'TEXT', help: 'What it is for.' },
  'expires-in': {
    type: 'string',
    value: 'TIME',
    help: 'Seconds, or such as 15m, 12h, 30d. Default: as long as the hub allows.',
  },
  scope: {
    type: 'string',
    value: 'SCOPE',
    multiple: true,
    help: 'What it may do, such as read:users. May be given several times.',
  },
}

/** What `newTokenFlags` say. @throws {UsageError} */
export function newTokenOf(context: CommandContext): NewToken {
  const note = context.flags.text('note')
  const expiresIn = durationOf(context, 'expires-in')
  const scopes = context.flags.list('scope')
  return {
    ...(note === undefined ? {} : { note }),
    ...(expiresIn === undefined ? {} : { expiresIn }),
    ...(scopes.length === 0 ? {} : { scopes }),
  }
}

const create = hubCommand({
  name: 'tokens create',
  usage: 'USER',
  positionals: 1,
  summary: 'Make an API token and print its secret, which is never shown again.',
  details: 'Without --scope it may do whatever its owner may.',
  flags: newTokenFlags,
  examples: [
    'tokens create ada',
    'tokens create ada --note backup --expires-in 30d --scope read:users --scope list:users',
  ],
  async run(client, context) {
    const token = await client.createToken(context.positionals[0] ?? '', newTokenOf(context))
    if (context.flags.has('json')) printJson(context, token)
    else context.print(token.token)
  },
})

const revoke = hubCommand({
  name: 'tokens revoke',
  usage: 'USER ID... | -',
  positionals: { least: 2, most: Infinity },
  summary: 'Revoke tokens; of a token that a service got, all that it got for this user.',
  examples: ['tokens revoke ada a12'],
  async run(client, context) {
    const [user = ''] = context.positionals
    return forEachName(context, await namesOf(context, 1), {
      work: (id) => client.revokeToken(user, id).then(() => ({ user, id, revoked: true })),
      told: (id) => `${id} is revoked`,
    })
  },
})

export const tokenCommands: readonly Command[] = [list, show, create, revoke]
