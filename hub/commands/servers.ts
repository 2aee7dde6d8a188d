import { setTimeout as sleep } from 'node:timers/promises'
import {
  type Client,
  ClientError,
  type ServerModel,
  type ServerName,
  type ServerSettings,
} from '../../packages/client/index.ts'
import { HubError } from '../../packages/core/errors.ts'
import type { Command, CommandContext, Flags } from './command.ts'
import {
  forEachName,
  hubCommand,
  minute,
  namesOf,
  objectOf,
  printFacts,
  printJson,
  printTable,
} from './hub-command.ts'
import { parseServer, showServer } from './server-name.ts'
import { plain } from './table.ts'

const some = { least: 1, most: Infinity }

/** Servers that are started or stopped at once: most of that time is waiting. */
const atOnce = 10

const settingFlags: Flags = {
  options: {
    type: 'string',
    value: 'JSON',
    help: 'What the spawner is asked for. Default: as at the last start.',
  },
  'display-name': { type: 'string', value: 'TEXT', help: 'The name that people see.' },
}

const waitFlag: Flags = {
  wait: { type: 'boolean', help: 'Return when it is done, and show what happens.' },
}

/** What a server does, in one word. */
export function stateOf({ ready, pending }: ServerModel): string {
  if (pending)
    return { spawn: 'starting', stop: 'stopping', check: 'being checked', rename: 'being renamed' }[
      pending
    ]
  return ready ? 'running' : 'stopped'
}

interface Row extends ServerModel {
  readonly user: string
}

const list = hubCommand({
  name: 'servers list',
  usage: '[USER]',
  positionals: { least: 0, most: 1 },
  summary: 'List the servers that run, or all servers of one user.',
  flags: { all: { type: 'boolean', help: 'Of every user, also those that are stopped.' } },
  examples: ['servers list', 'servers list ada', 'servers list --all --json'],
  async run(client, context) {
    printTable(context, await rowsOf(client, context), [
      { head: 'SERVER', of: ({ user, name }) => showServer({ owner: user, server: name }) },
      { head: 'STATE', of: stateOf },
      { head: 'STARTED (UTC)', of: ({ started }) => minute(started) },
      { head: 'LAST ACTIVITY (UTC)', of: ({ last_activity }) => minute(last_activity) },
      { head: 'PATH', of: ({ url }) => url },
    ])
  },
})

async function rowsOf(client: Client, { positionals, flags }: CommandContext): Promise<Row[]> {
  const [name] = positionals
  const includeStoppedServers = flags.has('all')
  const users =
    name === undefined
      ? client.users({
          sort: 'name',
          pageSize: 200,
          ...(includeStoppedServers ? { includeStoppedServers } : { state: 'active' }),
        })
      : [await client.user(name, { includeStoppedServers: true })]
  const rows: Row[] = []
  for await (const user of users)
    for (const server of Object.values(user.servers ?? {}))
      rows.push({ user: user.name, ...server })
  return rows
}

const show = hubCommand({
  name: 'servers show',
  usage: 'SERVER',
  positionals: 1,
  summary: 'Show one server: USER for the default one, USER/NAME for a named one.',
  examples: ['servers show ada', 'servers show ada/gpu --json'],
  async run(client, context) {
    const wanted = parseServer(context.positionals[0] ?? '')
    const server = await client.server(wanted.owner, wanted.server)
    const { display_name: shown = server.name, user_options: options } = server
    printFacts(context, server, {
      Server: showServer(wanted),
      ...(shown === server.name ? {} : { 'Display name': shown }),
      State: stateOf(server),
      Started: minute(server.started),
      'Last activity': minute(server.last_activity),
      Address: server.full_url ?? server.url,
      Options: JSON.stringify(options ?? null),
    })
  },
})

const create = hubCommand({
  name: 'servers create',
  usage: 'USER/NAME',
  positionals: 1,
  summary: 'Make a named server without starting it.',
  flags: settingFlags,
  examples: ['servers create ada/gpu', 'servers create ada/gpu --options {"gpu":1}'],
  async run(client, context) {
    const { owner, server } = parseServer(context.positionals[0] ?? '')
    const made = await client.createServer(owner, server, settingsOf(context))
    if (context.flags.has('json')) printJson(context, made)
    else context.print(`${showServer({ owner, server: made.name })} is made`)
  },
})

function settingsOf({ flags }: CommandContext): ServerSettings {
  const options = flags.text('options')
  const displayName = flags.text('display-name')
  return {
    ...(options === undefined ? {} : { userOptions: objectOf('--options', options) }),
    ...(displayName === undefined ? {} : { displayName }),
  }
}

const start = hubCommand({
  name: 'servers start',
  usage: 'SERVER... | -',
  positionals: some,
  summary: 'Start servers: USER for the default one, USER/NAME for a named one.',
  details: 'A named server is made when there is none.',
  flags: { ...waitFlag, ...settingFlags },
  examples: ['servers start ada', 'servers start ada/gpu --wait', 'servers start - < names.txt'],
  async run(client, context) {
    const settings = settingsOf(context)
    return forEachName(context, await namesOf(context), {
      async work(text) {
        const wanted = parseServer(text)
        const starting = client.startServer(wanted.owner, wanted.server, settings)
        const state = context.flags.has('wait')
          ? await follow(client, wanted, starting, context)
          : await starting
        return { server: showServer(wanted), state }
      },
      atOnce,
      told: (name, { state }) => (state === 'ready' ? `${name} runs` : `${name} is starting`),
    })
  },
})

/** Shows what happens until the start has ended. */
async function follow(
  client: Client,
  wanted: ServerName,
  starting: Promise<'ready' | 'starting'>,
  context: CommandContext,
): Promise<'ready'> {
  const settled = starting.then(() => true)
  settled.catch(() => {})
  const { owner, server } = wanted
  const hasBegun = async (): Promise<boolean> =>
    (await client.server(owner, server)).pending === 'spawn'
  while (!(await Promise.race([settled, sleep(100).then(() => false)])))
    if (await hasBegun().catch(() => false)) break
  try {
    for await (const event of client.progress(owner, server)) {
      if (event.failed) throw new HubError('spawn_failed', event.message)
      if (event.ready) break
      if (!context.flags.has('json'))
        context.print(plain(`${showServer(wanted)}: ${event.progress} % ${event.message}`))
    }
  } catch (error) {
    // The answer to the start itself says more than the end of its story, where it has come.
    await Promise.race([starting, sleep(2000)])
    throw error
  }
  await starting
  return 'ready'
}

const stop = hubCommand({
  name: 'servers stop',
  usage: 'SERVER... | -',
  positionals: some,
  summary: 'Stop servers: USER for the default one, USER/NAME for a named one.',
  flags: waitFlag,
  examples: ['servers stop ada', 'servers stop ada/gpu --wait'],
  async run(client, context) {
    return forEachName(context, await namesOf(context), {
      async work(text) {
        const wanted = parseServer(text)
        const first = await client.stopServer(wanted.owner, wanted.server)
        const isAwaited = first === 'stopping' && context.flags.has('wait')
        const state = isAwaited ? await stopped(client, wanted) : first
        return { server: showServer(wanted), state }
      },
      atOnce,
      told: (name, { state }) =>
        state === 'stopped' ? `${name} is stopped` : `${name} is stopping`,
    })
  },
})

/** Longest time that a stop is waited for, in ms. */
const patience = 300_000

async function stopped(client: Client, { owner, server }: ServerName): Promise<'stopped'> {
  const deadline = performance.now() + patience
  while ((await stateNow(client, owner, server)) !== 'stopped') {
    if (performance.now() > deadline)
      throw new HubError('unavailable', 'it has not stopped within 5 minutes')
    await sleep(500)
  }
  return 'stopped'
}

async function stateNow(client: Client, owner: string, server: string): Promise<string> {
  try {
    return stateOf(await client.server(owner, server))
  } catch (error) {
    if (error instanceof ClientError && error.status === 404) return 'stopped'
    throw error
  }
}

const rename = hubCommand({
  name: 'servers rename',
  usage: 'USER/NAME NEW',
  positionals: 2,
  summary: 'Give a stopped server another name.',
  examples: ['servers rename ada/gpu big'],
  async run(client, context) {
    const [text = '', name = ''] = context.positionals
    const { owner, server } = parseServer(text)
    const renamed = await client.updateServer(owner, server, { name })
    if (context.flags.has('json')) printJson(context, renamed)
    else context.print(`${text} is ${showServer({ owner, server: renamed.name })} now`)
  },
})

const remove = hubCommand({
  name: 'servers delete',
  usage: 'USER/NAME... | -',
  positionals: some,
  summary: 'Delete named servers; those that run are stopped first.',
  examples: ['servers delete ada/gpu'],
  async run(client, context) {
    return forEachName(context, await namesOf(context), {
      async work(text) {
        const { owner, server } = parseServer(text)
        const state = await client.stopServer(owner, server, { remove: true })
        return { server: text, deleted: true, state }
      },
      told: (name, { state }) =>
        state === 'stopped' ? `${name} is deleted` : `${name} is stopping and deleted then`,
    })
  },
})

export const serverCommands: readonly Command[] = [list, show, create, start, stop, rename, remove]
