import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { socketFetch } from '../../../hub/commands/socket-fetch.ts'
import { createClient } from '../../../packages/client/index.ts'
import { programPath } from '../../../packages/process/index.ts'
import { freePorts, singleUser } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'
import type { BenchHub, Contender } from '../contender.ts'
import type { Launched, Launcher } from '../launcher.ts'
import { pidOf } from '../process-figures.ts'
import { seedPortico } from '../seeds/portico.ts'
import { type Seed, startSharedServer } from '../seeds/seed.ts'

const path = '/usr/bin:/bin'

/** Whom the API is asked about. */
const user = 'ada'

/** Portico as built in `dist`, with a config file. */
export const portico: Contender = { name: 'Portico', start }

function start(launcher: Launcher, seed?: Seed): Promise<BenchHub> {
  return startPortico(launcher, seed ? { seed } : {})
}

/** The same with another authenticator. */
export async function startPortico(
  launcher: Launcher,
  {
    seed,
    authenticator = { driver: 'dummy', allowAll: true },
  }: { readonly seed?: Seed; readonly authenticator?: Readonly<Record<string, unknown>> },
): Promise<BenchHub> {
  const folder = launcher.folder()
  const { bind, internal, api } = await ports()
  const config = {
    hub: {
      bindUrl: bind.origin,
      hubBindUrl: internal.origin,
      adminUsers: ['bench'],
      // Seeded servers are one process, which others need too.
      cleanupServers: seed === undefined,
      cleanupProxy: true,
    },
    proxy: { apiUrl: api.origin },
    authenticator,
    spawner: {
      driver: 'simple',
      allowRoot: true,
      homeDir: join(folder, 'homes', '{username}'),
      cmd: singleUser(),
    },
  }
  const configFile = join(folder, 'portico.config.json')
  writeFileSync(configFile, JSON.stringify(config))
  const boot = () =>
    launcher.launch({
      command: [...programPath('hub/main'), 'start', '--config', configFile, '--data-dir', folder],
      env: { PATH: path, HOME: folder },
      folder,
      url: new URL('/hub/health', internal),
    })
  if (seed) {
    const shared = await startSharedServer(launcher)
    const empty = await boot()
    await untilReady(internal)
    await empty.stop({ keepsFolder: true })
    seedPortico(join(folder, 'portico.sqlite'), seed, shared)
  }
  const launched = await boot()
  try {
    await untilReady(internal)
    const operator = createClient({
      url: 'http://localhost/',
      fetch: socketFetch(join(folder, 'hub.sock')),
    })
    const [{ token }, proxy] = await Promise.all([
      operator.createToken('bench', { note: 'benchmark' }),
      pidOf(launched.process, 'proxy/main.js'),
      // Others know only accounts of their own.
      authenticator['driver'] === 'dummy' ? operator.createUsers([user]) : null,
    ])
    const processes = { hub: launched.process.identity.pid, proxy }
    return {
      ...launched,
      contender: 'Portico',
      direct: internal,
      front: bind,
      token,
      user,
      processes,
    }
  } catch (error) {
    await launched.stop()
    throw error
  }
}

/** A quick start: what `npm start` runs when there is no config. `viaNpm` runs `npm start` itself. */
export async function startQuick(
  launcher: Launcher,
  options: { readonly viaNpm: boolean },
): Promise<Launched & { readonly pids: () => Promise<{ hub: number; proxy: number }> }> {
  const folder = launcher.folder()
  const { bind, internal, api } = await ports()
  const flags = [
    `--data-dir=${folder}`,
    `--port=${bind.port}`,
    `--set=hub.hubBindUrl=${internal.origin}`,
    `--set=proxy.apiUrl=${api.origin}`,
  ]
  const [node, program] = programPath('hub/main')
  const launched = await launcher.launch({
    command: options.viaNpm
      ? ['npm', 'start', '--silent', '--', ...flags]
      : [node, program, 'start', ...flags],
    env: { PATH: path, HOME: folder },
    folder,
    // A folder without a config file; npm needs the package's.
    cwd: options.viaNpm ? join(program, '..', '..', '..') : folder,
    url: new URL('/hub/health', internal),
  })
  const pids = async () => ({
    hub: launched.process.identity.pid,
    proxy: await pidOf(launched.process, 'proxy/main.js'),
  })
  return { ...launched, pids }
}

async function untilReady(internal: URL): Promise<void> {
  const url = new URL('/hub/health?ready', internal)
  await until('the hub is ready', async () => (await fetch(url)).status === 200, 30_000)
}

async function ports() {
  const [bind, internal, api] = (await freePorts(3)).map(
    (port) => new URL(`http://127.0.0.1:${port}/`),
  )
  if (!bind || !internal || !api) throw new Error('no free ports')
  return { bind, internal, api }
}
