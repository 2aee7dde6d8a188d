import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ConfigInput, describeProblem, loadConfig } from '../../hub/config.ts'
import { drivers, type Hub, startHub } from '../../hub/hub.ts'
import { loadSecrets } from '../../hub/secrets.ts'
import { createClient, type Client } from '../../packages/client/index.ts'
import { socketFetch } from '../../hub/commands/socket-fetch.ts'

/** The command of the tiny single-user server, with flags that make it misbehave. */
export const singleUser = (...flags: readonly string[]): [string, ...string[]] => [
  process.execPath,
  fileURLToPath(new URL('single-user.mjs', import.meta.url)),
  ...flags,
]

export interface TestHub extends AsyncDisposable {
  readonly hub: Hub
  /** Origin of the proxy, no path. */
  readonly origin: string
  /** Prefix of everything, such as `/jhub/`. */
  readonly baseUrl: string
  readonly dataDir: string
  readonly logLines: readonly string[]
  /** Full rights, through the hub's own socket. */
  readonly operator: Client
  /** Stops the hub but not its proxy and servers, and starts another on the same data, with changed options for the authenticator and other services where given. */
  restart(
    authenticator?: ConfigInput['authenticator'],
    services?: ConfigInput['services'],
  ): Promise<TestHub>
}

export interface TestHubOptions {
  readonly config?: ConfigInput
  readonly baseUrl?: string
  /** The server's command; default: the tiny no-op server. */
  readonly cmd?: readonly [string, ...string[]]
  readonly quickStart?: boolean
  /** Variables that hold secrets, such as `JUPYTERHUB_CRYPT_KEY`. */
  readonly secrets?: Readonly<Record<string, string>>
}

/** A real hub with a real proxy on free ports, in this process, with a data directory of its own. */
export async function startTestHub(options: TestHubOptions = {}): Promise<TestHub> {
  const dataDir = mkdtempSync(join(tmpdir(), 'portico-test-'))
  const [bind, internal, api] = await freePorts(3)
  const { baseUrl = '/', cmd = singleUser() } = options
  const { hub, proxy, authenticator, spawner, services } = options.config ?? {}
  const input: ConfigInput = {
    hub: {
      bindUrl: `http://127.0.0.1:${bind}`,
      hubBindUrl: `http://127.0.0.1:${internal}`,
      baseUrl,
      ...hub,
    },
    proxy: { apiUrl: `http://127.0.0.1:${api}`, checkRunningInterval: 0.5, ...proxy },
    authenticator: { driver: 'dummy', refusalTime: 0, ...authenticator },
    spawner: {
      ...(spawner?.driver === undefined ? { driver: 'simple', allowRoot: true } : {}),
      cmd,
      pollInterval: 1,
      ...spawner,
    },
    ...(services ? { services } : {}),
  }
  return run(input, dataDir, options)
}

async function run(
  input: ConfigInput,
  dataDir: string,
  options: Pick<TestHubOptions, 'quickStart' | 'secrets'>,
): Promise<TestHub> {
  const { quickStart = false, secrets = {} } = options
  const loaded = await loadConfig(input, drivers, { source: 'test', folder: dataDir })
  if ('problems' in loaded) throw new Error(loaded.problems.map(describeProblem).join('\n'))
  const logLines: string[] = []
  const path = process.env['PATH'] ?? ''
  const hub = await startHub({
    config: loaded.config,
    secrets: loadSecrets({ dataDir, env: secrets, services: loaded.config.services }),
    dataDir,
    env: { PATH: path },
    quickStart,
    version: '0.0.0-test',
    writeLog: (line) => logLines.push(line),
  })
  const { bindUrl, baseUrl } = loaded.config.hub
  let isDone = false
  return {
    hub,
    origin: bindUrl.origin,
    baseUrl,
    dataDir,
    logLines,
    operator: createClient({
      url: 'http://localhost/',
      fetch: socketFetch(join(dataDir, 'hub.sock')),
    }),
    async restart(change = {}, services = input.services ?? []) {
      await hub.stop({ servers: false, proxy: false })
      isDone = true
      const authenticator = { ...input.authenticator, ...change }
      return run({ ...input, authenticator, services }, dataDir, options)
    },
    async [Symbol.asyncDispose]() {
      if (isDone) return
      await hub.stop({ servers: true, proxy: true })
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const listeners = await Promise.all(
    Array.from({ length: count }, async () => {
      const listener = createServer().listen(0, '127.0.0.1')
      await once(listener, 'listening')
      return listener
    }),
  )
  return listeners.map((listener) => {
    const address = listener.address()
    listener.close()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
}
