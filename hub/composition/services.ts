import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import type { Access } from '../domain/access.ts'
import type { Changes } from '../domain/changes.ts'
import type { Routes } from '../domain/routes.ts'
import { Services } from '../domain/services.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { Events } from '../events.ts'
import type { Log } from '../log.ts'
import type { Secrets } from '../secrets.ts'
import type { Database } from '../store/database.ts'
import type { OauthStore } from '../store/oauth.ts'
import { processStore } from '../store/processes.ts'
import type { RoleStore } from '../store/roles.ts'
import { serviceStore } from '../store/services.ts'

/** What commands of services inherit from the hub, as on JupyterHub, whatever servers inherit. */
const inherited = [
  'CONDA_DEFAULT_ENV',
  'CONDA_ROOT',
  'LANG',
  'LC_ALL',
  'LD_LIBRARY_PATH',
  'PATH',
  'PYTHONPATH',
  'TZ',
  'VIRTUAL_ENV',
]

/** The services of the config and of the database, with their tokens, clients and routes; nothing runs yet. */
export async function loadServices(deps: {
  readonly config: Config
  readonly secrets: Secrets
  readonly database: Database
  readonly oauth: OauthStore
  readonly roles: RoleStore
  readonly access: Access
  readonly changes: Changes
  readonly events: Events
  readonly log: Log
  readonly clock: () => Date
  readonly urls: HubUrls
  readonly routes: Routes
  readonly logDir: string
  readonly env: Readonly<Record<string, string>>
}): Promise<Services> {
  const { config, secrets, database, env } = deps
  const logDir = join(deps.logDir, 'services')
  mkdirSync(logDir, { recursive: true, mode: 0o700 })
  const services = new Services({
    ...deps,
    logDir,
    store: serviceStore(database),
    processes: processStore(database),
    configured: config.services,
    tokens: secrets.serviceTokens,
    kept: Object.fromEntries(inherited.flatMap((name) => (env[name] ? [[name, env[name]]] : []))),
    cookieHostPrefixEnabled: config.hub.cookieHostPrefixEnabled,
    allowPlainHttp: config.hub.allowPlainHttp,
    checkInterval: config.hub.serviceCheckInterval,
  })
  await services.load()
  return services
}
