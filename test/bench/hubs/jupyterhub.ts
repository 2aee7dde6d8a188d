import { randomBytes } from 'node:crypto'
import { accessSync, constants, existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from '../../../packages/client/index.ts'
import { packageRoot } from '../../../packages/process/index.ts'
import { freePorts, singleUser } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'
import type { BenchHub, Contender } from '../contender.ts'
import type { Launcher } from '../launcher.ts'
import { pidOf } from '../process-figures.ts'
import { seedJupyterhub } from '../seeds/jupyterhub.ts'
import { type Seed, startSharedServer } from '../seeds/seed.ts'

const program = '/usr/bin/jupyterhub'
const proxyProgram = join(
  packageRoot(),
  'node_modules/configurable-http-proxy/bin/configurable-http-proxy',
)

/** Milliseconds; it looks at every user before it answers. */
const slowStart = 300_000

/** Debian's JupyterHub with configurable-http-proxy from npm, set up as Portico is. */
export const jupyterhub: Contender = { name: 'JupyterHub', start }

/** Why the peer cannot be measured here, or null when it can. */
export function whyNoJupyterhub(): string | null {
  try {
    accessSync(program, constants.X_OK)
  } catch {
    return `JupyterHub is not installed at ${program}: 'apt-get install jupyterhub' installs it on Debian`
  }
  return existsSync(proxyProgram)
    ? null
    : "configurable-http-proxy is not installed: 'npm ci' installs it"
}

async function start(launcher: Launcher, seed?: Seed): Promise<BenchHub> {
  const folder = launcher.folder()
  const [bind, internal, api] = (await freePorts(3)).map(
    (port) => new URL(`http://127.0.0.1:${port}/`),
  )
  if (!bind || !internal || !api) throw new Error('no free ports')
  const serviceToken = randomBytes(32).toString('hex')
  writeFileSync(
    join(folder, 'jupyterhub_config.py'),
    configFile({ folder, bind, internal, api, isSeeded: seed !== undefined }),
    {
      mode: 0o600,
    },
  )
  const plan = {
    command: [program],
    env: {
      PATH: '/usr/bin:/bin',
      HOME: folder,
      BENCH_TOKEN: serviceToken,
      CONFIGPROXY_AUTH_TOKEN: randomBytes(32).toString('hex'),
    },
    folder,
    url: new URL('/hub/health', internal),
    patience: slowStart,
  } as const
  if (seed) {
    const shared = await startSharedServer(launcher)
    const empty = await launcher.launch(plan)
    await empty.stop({ keepsFolder: true })
    seedJupyterhub(join(folder, 'jupyterhub.sqlite'), seed, shared)
  }
  const launched = await launcher.launch(plan)
  try {
    const url = bind.href
    await until('its proxy answers', () => isUp(new URL('/hub/health', bind)), 30_000)
    const service = createClient({ url, token: serviceToken })
    await service.createUsers(['ada'])
    const { token } = await service.createToken('bench', { note: 'benchmark' })
    const processes = {
      hub: launched.process.identity.pid,
      proxy: await pidOf(launched.process, 'configurable-http-proxy'),
    }
    return {
      ...launched,
      contender: 'JupyterHub',
      direct: internal,
      front: bind,
      token,
      user: 'ada',
      processes,
    }
  } catch (error) {
    await launched.stop()
    throw error
  }
}

async function isUp(url: URL): Promise<boolean> {
  const response = await fetch(url).catch(() => null)
  await response?.body?.cancel()
  return response?.status === 200
}

function configFile(site: {
  readonly folder: string
  readonly bind: URL
  readonly internal: URL
  readonly api: URL
  readonly isSeeded: boolean
}): string {
  const text = (value: unknown): string => JSON.stringify(value)
  return `import os
c.JupyterHub.cleanup_servers = ${site.isSeeded ? 'False' : 'True'}
c.JupyterHub.bind_url = ${text(site.bind.origin)}
c.JupyterHub.hub_bind_url = ${text(site.internal.origin)}
c.JupyterHub.db_url = ${text(`sqlite:///${join(site.folder, 'jupyterhub.sqlite')}`)}
c.JupyterHub.cookie_secret_file = ${text(join(site.folder, 'cookie_secret'))}
c.ConfigurableHTTPProxy.command = [${text(process.execPath)}, ${text(proxyProgram)}]
c.ConfigurableHTTPProxy.api_url = ${text(site.api.origin)}
c.JupyterHub.authenticator_class = 'dummy'
c.Authenticator.admin_users = {'bench'}
c.JupyterHub.spawner_class = 'simple'
c.SimpleLocalProcessSpawner.home_dir_template = ${text(join(site.folder, 'homes', '{username}'))}
c.Spawner.cmd = ${text(singleUser())}
c.JupyterHub.services = [{'name': 'bench-setup', 'api_token': os.environ['BENCH_TOKEN']}]
c.JupyterHub.load_roles = [
    {'name': 'bench-setup', 'scopes': ['admin:users', 'tokens'], 'services': ['bench-setup']}
]
`
}
