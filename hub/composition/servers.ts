import { join } from 'node:path'
import { HubError } from '../../packages/core/errors.ts'
import type { ServerContext, SpawnerDriver } from '../../packages/core/spawner.ts'
import type { Config } from '../config.ts'
import { Servers, type ServersDeps } from '../domain/servers.ts'

type Settled = 'store' | 'driver' | 'createSpawner' | 'spawner' | 'environment' | 'limits' | 'named'

export interface ServersParts extends Omit<ServersDeps, Settled> {
  readonly config: Config
  readonly serverRows: ServersDeps['store']
  /** Kept variables of the hub's own environment, no secrets. */
  readonly env: Readonly<Record<string, string>>
  /** For servers that an earlier config has started. */
  readonly spawners: readonly SpawnerDriver[]
  /** The configured spawner's own options, with the command settled. */
  readonly options: Readonly<Record<string, unknown>>
}

/** Servers as the config wants them; those of a spawner that is configured no more keep theirs. */
export function createServers(deps: ServersParts): Servers {
  const { config, env, spawners, options } = deps
  const { driver, base } = config.spawner
  const kept = Object.fromEntries(
    [...base.envKeep, 'PATH', 'LANG', 'LC_ALL', 'TZ'].flatMap((name) =>
      env[name] === undefined ? [] : [[name, env[name]]],
    ),
  )
  return new Servers({
    ...deps,
    store: deps.serverRows,
    logDir: join(deps.logDir, 'servers'),
    driver: driver.name,
    createSpawner(name: string, context: ServerContext) {
      if (name === driver.name) return driver.create(options, context)
      const other = spawners.find((candidate) => candidate.name === name)
      if (!other)
        throw new HubError('unavailable', `its spawner ${name} is not configured any more`)
      return other.create(other.config.parse({}), context)
    },
    spawner: base,
    environment: {
      ...base,
      kept,
      cookieHostPrefixEnabled: config.hub.cookieHostPrefixEnabled,
      hubConnectUrl: base.hubConnectUrl ?? null,
    },
    limits: {
      concurrentSpawns: config.hub.concurrentSpawnLimit,
      activeServers: config.hub.activeServerLimit,
    },
    named: config.hub,
  })
}
