import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describeError } from '../../packages/core/errors.ts'
import { escapeSegment } from '../../packages/core/slug.ts'
import { adopt, type Command, parseIdentity } from '../../packages/process/index.ts'
import type { ServiceOptions } from '../config.ts'
import type { Events } from '../events.ts'
import type { Log } from '../log.ts'
import type { ProcessStore } from '../store/processes.ts'
import type { StoredService } from '../store/services.ts'
import { hashSecret, newSecret } from '../store/tokens.ts'
import { serviceAccount } from './service-account.ts'
import { serviceEnvironment } from './service-environment.ts'
import { type ServiceCommand, ServiceProcess } from './service-process.ts'
import type { HubUrls } from './urls.ts'

export interface ServiceCommandDeps {
  readonly processes: ProcessStore
  /** Configured tokens by the service's name. */
  readonly tokens: ReadonlyMap<string, string>
  readonly urls: HubUrls
  readonly events: Events
  readonly log: Log
  /** Gets one file for each managed service; exists. */
  readonly logDir: string
  /** Variables that commands inherit from the hub. */
  readonly kept: Readonly<Record<string, string>>
  readonly cookieHostPrefixEnabled: boolean
}

/** The file that gets the output of a managed service. */
export function serviceLog(logDir: string, name: string): string {
  return join(logDir, `${escapeSegment(name)}.log`)
}

/**
 * The process of a managed service; null when the config gives it no command. `authorize` makes the
 * token that it gets the one token of the service, before each start.
 */
export function managedProcess(
  deps: ServiceCommandDeps,
  service: { readonly stored: StoredService; readonly options: ServiceOptions },
  authorize: (token: string) => Promise<void>,
): ServiceProcess | null {
  const { processes, log, events, tokens, logDir } = deps
  const { stored, options } = service
  const { name } = stored
  const [file, ...args] = options.command
  if (file === undefined) return null
  const command: Command = [file, ...args]
  const key = processName(name)
  return new ServiceProcess({
    name,
    log,
    logFile: serviceLog(logDir, name),
    fingerprint: fingerprint(deps, stored, options),
    load: () => processes.load(key),
    save: (data) => processes.save(key, data),
    forget: () => processes.forget(key),
    async prepare() {
      const token = tokens.get(name) ?? newSecret()
      const rest = await surroundings({ ...deps, apiToken: token }, stored, options)
      await authorize(token)
      return { ...rest, command }
    },
    changed: (state) =>
      typeof state === 'string'
        ? events.emit({ kind: `service-${state}`, service: name })
        : events.emit({ kind: 'service-failed', service: name, cause: state.failed }),
  })
}

/** Ends what still runs of managed services that `isManaged` does not know any more. */
export async function endForgotten(
  { processes, log }: ServiceCommandDeps,
  isManaged: (name: string) => boolean,
): Promise<void> {
  for (const key of await processes.names()) {
    if (!key.startsWith(processName(''))) continue
    const name = key.slice(processName('').length)
    if (isManaged(name)) continue
    const saved = (await processes.load(key)) as { readonly identity?: unknown } | null
    const identity = parseIdentity(saved?.identity)
    try {
      if (identity) await adopt(identity).stop()
      await processes.forget(key)
    } catch (error) {
      log.error(`service ${name} could not be stopped`, { error: describeError(error) })
    }
  }
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** How a managed service is called in the table of processes. */
const processName = (serviceName: string): string => `service ${serviceName}`

async function surroundings(
  deps: ServiceCommandDeps & { readonly apiToken: string },
  stored: StoredService,
  { user, cwd, environment: own }: ServiceOptions,
): Promise<Omit<ServiceCommand, 'command'>> {
  const account = await serviceAccount(user)
  const kept = { PATH: defaultPath, ...deps.kept, ...account.env }
  const env = serviceEnvironment({ ...deps, service: stored, userName: user ?? '', kept, own })
  return { env, prefix: account.prefix, cwd: cwd ?? account.home }
}

/** Names everything that a process gets when it starts; its token as a hash, since this is stored. */
function fingerprint(
  deps: ServiceCommandDeps,
  stored: StoredService,
  { user = '', cwd = '', command, environment: own }: ServiceOptions,
): string {
  const token = deps.tokens.get(stored.name)
  const apiToken = token === undefined ? '' : hashSecret(token)
  const env = serviceEnvironment({ ...deps, service: stored, apiToken, userName: user, own })
  const parts = [command, cwd, user, env]
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex')
}
