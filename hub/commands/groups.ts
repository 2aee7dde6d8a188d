import type { GroupModel } from '../../packages/client/index.ts'
import type { Command, CommandContext } from './command.ts'
import {
  collect,
  forEachName,
  hubCommand,
  listed,
  namesOf,
  objectOf,
  printFacts,
  printTable,
} from './hub-command.ts'

const some = { least: 1, most: Infinity }

const list = hubCommand({
  name: 'groups list',
  summary: 'List groups.',
  examples: ['groups list', 'groups list --json'],
  async run(client, context) {
    const groups = await collect(client.groups({ pageSize: 200 }))
    printTable(context, groups, [
      { head: 'NAME', of: ({ name }) => name },
      { head: 'USERS', of: ({ users }) => String(users?.length ?? '-'), isNumber: true },
      { head: 'ROLES', of: ({ roles }) => listed(roles) },
    ])
  },
})

const show = hubCommand({
  name: 'groups show',
  usage: 'GROUP',
  positionals: 1,
  summary: 'Show one group with its members.',
  examples: ['groups show physics'],
  async run(client, context) {
    printGroup(context, await client.group(context.positionals[0] ?? ''))
  },
})

const create = hubCommand({
  name: 'groups create',
  usage: 'GROUP... | -',
  positionals: some,
  summary: 'Make groups; a dash reads names from standard input, one a line.',
  flags: {
    user: {
      type: 'string',
      value: 'NAME',
      multiple: true,
      help: 'A first member of each of them. May be given several times.',
    },
  },
  examples: ['groups create physics', 'groups create physics --user ada --user grace'],
  async run(client, context) {
    const users = context.flags.list('user')
    return forEachName(context, await namesOf(context), {
      work: (name) => client.createGroup(name, { users }),
      told: (name) => `${name} is made`,
    })
  },
})

const remove = hubCommand({
  name: 'groups delete',
  usage: 'GROUP... | -',
  positionals: some,
  summary: 'Delete groups. Their members stay.',
  examples: ['groups delete physics'],
  async run(client, context) {
    return forEachName(context, await namesOf(context), {
      work: (name) => client.deleteGroup(name).then(() => ({ name, deleted: true })),
      told: (name) => `${name} is deleted`,
    })
  },
})

const add = hubCommand({
  name: 'groups add',
  usage: 'GROUP USER... | -',
  positionals: { least: 2, most: Infinity },
  summary: 'Add users to a group.',
  examples: ['groups add physics ada grace', 'groups add physics - < names.txt'],
  async run(client, context) {
    const [group = ''] = context.positionals
    printGroup(context, await client.addToGroup(group, await namesOf(context, 1)))
  },
})

const takeOut = hubCommand({
  name: 'groups remove',
  usage: 'GROUP USER... | -',
  positionals: { least: 2, most: Infinity },
  summary: 'Take users out of a group.',
  examples: ['groups remove physics eve'],
  async run(client, context) {
    const [group = ''] = context.positionals
    printGroup(context, await client.removeFromGroup(group, await namesOf(context, 1)))
  },
})

const setProperties = hubCommand({
  name: 'groups set-properties',
  usage: 'GROUP JSON | -',
  positionals: 2,
  summary: 'Replace the properties of a group; a dash reads them from standard input.',
  examples: [
    'groups set-properties physics {"cpu":2}',
    'groups set-properties physics - < properties.json',
  ],
  async run(client, context) {
    const [group = '', text = ''] = context.positionals
    const properties = objectOf('the properties', text === '-' ? await context.input() : text)
    printGroup(context, await client.setGroupProperties(group, properties))
  },
})

function printGroup(context: CommandContext, group: GroupModel): void {
  printFacts(context, group, {
    Name: group.name,
    Users: listed(group.users),
    Roles: listed(group.roles),
    Properties: JSON.stringify(group.properties ?? {}),
  })
}

export const groupCommands: readonly Command[] = [
  list,
  show,
  create,
  remove,
  add,
  takeOut,
  setProperties,
]
