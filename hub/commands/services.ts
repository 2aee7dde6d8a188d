import type { NewService } from '../../packages/client/index.ts'
import { type Command, type CommandContext, UsageError } from './command.ts'
import {
  forEachName,
  hubCommand,
  listed,
  namesOf,
  objectOf,
  printFacts,
  printJson,
  printTable,
} from './hub-command.ts'

const list = hubCommand({
  name: 'services list',
  summary: 'List services.',
  examples: ['services list', 'services list --json'],
  async run(client, context) {
    printTable(context, await client.services(), [
      { head: 'NAME', of: ({ name }) => name },
      { head: 'ADMIN', of: ({ admin }) => (admin ? 'yes' : '') },
      { head: 'PID', of: ({ pid }) => (pid ? String(pid) : '-'), isNumber: true },
      { head: 'PATH', of: ({ prefix }) => prefix ?? '-' },
      { head: 'URL', of: ({ url }) => url ?? '-' },
    ])
  },
})

const show = hubCommand({
  name: 'services show',
  usage: 'NAME',
  positionals: 1,
  summary: 'Show one service.',
  examples: ['services show culler'],
  async run(client, context) {
    const service = await client.service(context.positionals[0] ?? '')
    printFacts(context, service, {
      Name: service.name,
      Admin: service.admin ? 'yes' : 'no',
      Roles: listed(service.roles),
      Path: service.prefix ?? '-',
      Url: service.url ?? '-',
      Command: service.command?.join(' ') || '-',
      Pid: service.pid ? String(service.pid) : '-',
      Info: JSON.stringify(service.info ?? {}),
    })
  },
})

const create = hubCommand({
  name: 'services create',
  usage: 'NAME',
  positionals: 1,
  summary: 'Register a service that somebody else runs, until it is deleted.',
  details: 'With a url the hub waits until it answers.',
  flags: {
    at: { type: 'string', value: 'URL', help: 'Where it listens; the hub routes its path there.' },
    admin: { type: 'boolean', help: 'Give it the admin role.' },
    'token-stdin': { type: 'boolean', help: 'Read its API token from standard input.' },
    scope: {
      type: 'string',
      value: 'SCOPE',
      multiple: true,
      help: 'What it may ask of people who log in to it. May be given several times.',
    },
    'no-confirm': { type: 'boolean', help: 'Skip the consent page.' },
    info: { type: 'string', value: 'JSON', help: 'Facts for pages, such as a description.' },
  },
  examples: [
    'services create whoami --at http://127.0.0.1:9000 --token-stdin < token.txt',
    'services create culler --token-stdin < token.txt',
  ],
  async run(client, context) {
    const [name = ''] = context.positionals
    const service = await client.createService(name, await wishes(context))
    if (context.flags.has('json')) printJson(context, service)
    else context.print(`${name} is registered`)
  },
})

async function wishes({ flags, input }: CommandContext): Promise<NewService> {
  const at = flags.text('at')
  const info = flags.text('info')
  const scopes = flags.list('scope')
  const token = flags.has('token-stdin') ? (await input()).trim() : undefined
  if (token === '') throw new UsageError('standard input holds no token')
  return {
    ...(at === undefined ? {} : { url: at }),
    ...(flags.has('admin') ? { admin: true } : {}),
    ...(token === undefined ? {} : { apiToken: token }),
    ...(scopes.length === 0 ? {} : { oauthClientAllowedScopes: scopes }),
    ...(flags.has('no-confirm') ? { oauthNoConfirm: true } : {}),
    ...(info === undefined ? {} : { info: objectOf('--info', info) }),
  }
}

const remove = hubCommand({
  name: 'services delete',
  usage: 'NAME... | -',
  positionals: { least: 1, most: Infinity },
  summary: 'Delete services that were registered while the hub ran.',
  examples: ['services delete whoami'],
  async run(client, context) {
    return forEachName(context, await namesOf(context), {
      work: (name) => client.deleteService(name).then(() => ({ name, deleted: true })),
      told: (name) => `${name} is deleted`,
    })
  },
})

export const serviceCommands: readonly Command[] = [list, show, create, remove]
