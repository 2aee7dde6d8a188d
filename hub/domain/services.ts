import { describeError, HubError } from '../../packages/core/errors.ts'
import {
  covers,
  defaultRoles,
  expandScopes,
  type ScopeCatalogue,
  unknownScopes,
} from '../../packages/core/scopes.ts'
import { rotateLog } from '../../packages/process/index.ts'
import { isClearText } from '../config/services.ts'
import type { ServiceOptions } from '../config.ts'
import type { OauthStore } from '../store/oauth.ts'
import type { RoleStore } from '../store/roles.ts'
import type { ServiceStore, StoredService } from '../store/services.ts'
import { type Access, type Caller, isAdmin, userOf } from './access.ts'
import type { Changes } from './changes.ts'
import type { Routes } from './routes.ts'
import { hubIsRoot } from './service-account.ts'
import {
  endForgotten,
  managedProcess,
  type ServiceCommandDeps,
  serviceLog,
} from './service-command.ts'
import { oauthOf } from './service-environment.ts'
import { ServiceHealth } from './service-health.ts'
import type { ServiceProcess } from './service-process.ts'

/** A service as the API and the pages show it. */
export interface ServiceView extends StoredService {
  /** `/services/NAME/`, or null when the proxy does not serve it. */
  readonly prefix: string | null
  /** 0 when the hub does not run it, or it does not run now. */
  readonly pid: number
  readonly roles: readonly string[]
}

/** A service that is made while the hub runs: one that runs by itself. */
export type NewService = Omit<StoredService, 'id' | 'fromConfig' | 'timeout' | 'command'> & {
  readonly apiToken: string | null
}

export interface ServicesDeps extends ServiceCommandDeps {
  readonly store: ServiceStore
  readonly oauth: OauthStore
  readonly roles: Pick<RoleStore, 'grantsOfService'>
  readonly access: Pick<Access, 'catalogue'>
  readonly configured: readonly ServiceOptions[]
  readonly routes: Routes
  readonly changes: Changes
  readonly clock: () => Date
  readonly allowPlainHttp: boolean
  /** Seconds between two looks at services with a url; 0: none. */
  readonly checkInterval: number
}

/**
 * Writes the services of the config down, and deletes those that have left it, with all that they
 * had. Those that were made through the API stay as they are. Comes before roles are given out.
 * @throws {HubError} `already_exists` when the config takes the name of one made through the API.
 */
export async function recordServices(deps: {
  readonly store: ServiceStore
  readonly configured: readonly ServiceOptions[]
  readonly now: Date
}): Promise<void> {
  const { store, configured, now } = deps
  const stored = await store.all()
  const wanted = new Set(configured.map(({ name }) => name))
  const taken = stored.find(({ name, fromConfig }) => wanted.has(name) && !fromConfig)
  if (taken)
    throw new HubError(
      'already_exists',
      `services: '${taken.name}' was made through the API: give the one in the config another name, or delete the other first`,
    )
  for (const { id, name, fromConfig } of stored)
    if (fromConfig && !wanted.has(name)) await store.delete(id)
  for (const service of configured) await store.save(storedFormOf(service), now)
}

function storedFormOf(service: ServiceOptions): Omit<StoredService, 'id'> {
  const { url = null, oauthClientId = null, oauthRedirectUri = null } = service
  const { name, admin, command, info, display, timeout, oauthNoConfirm } = service
  const { oauthClientAllowedScopes } = service
  const plain = { name, admin, command, info, display, timeout, oauthNoConfirm }
  const oauth = { oauthClientId, oauthRedirectUri, oauthClientAllowedScopes }
  return { ...plain, ...oauth, url, fromConfig: true }
}

interface Registered {
  readonly stored: StoredService
  /** Null when it is none of ours to run. */
  readonly process: ServiceProcess | null
}

/** Longest wait of a creation through the API for the service to answer, in seconds (wire section 2.9). */
const creationPatience = 30

/** The programs registered with the hub: their tokens, OAuth clients, routes and processes. */
export class Services {
  readonly #deps: ServicesDeps
  readonly #registered = new Map<string, Registered>()
  readonly #stopping = new AbortController()
  readonly #health: ServiceHealth
  /** Names that are being made. */
  readonly #pending = new Set<string>()
  #timer: NodeJS.Timeout | null = null

  constructor(deps: ServicesDeps) {
    this.#deps = deps
    this.#health = new ServiceHealth(deps.log, this.#stopping.signal)
  }

  /**
   * Takes up all that are written down, with credentials and routes; nothing is started. Ends what
   * runs of services that are gone.
   * @throws {HubError} `invalid_request` for a url or token that cannot be used.
   */
  async load(): Promise<void> {
    const { store, configured, tokens } = this.#deps
    for (const stored of await store.all()) {
      const options = configured.find(({ name }) => name === stored.name)
      const process = options
        ? managedProcess(this.#deps, { stored, options }, (made) => this.#authorize(stored, made))
        : null
      this.#registered.set(stored.name, { stored, process })
      const token = tokens.get(stored.name) ?? null
      if (options && (process === null || token !== null)) await this.#authorize(stored, token)
      if (stored.url !== null) this.#expectRoute(stored)
    }
    await endForgotten(this.#deps, (name) => Boolean(this.#registered.get(name)?.process))
  }

  /** Starts the managed ones, and looks after all. Waits for nothing: a service that is down is a line in the log. */
  start(): void {
    const { checkInterval, log } = this.#deps
    for (const { stored, process } of this.#registered.values()) {
      const account = this.#deps.configured.find(({ name }) => name === stored.name)?.user
      if (process && account === undefined && hubIsRoot())
        log.warn(`service ${stored.name} runs as root, like the hub: its option user changes that`)
      process?.start()
    }
    void this.#lookAtAll((stored) => stored.timeout)
    if (checkInterval <= 0) return
    this.#timer = setInterval(() => void this.check(), checkInterval * 1000).unref()
  }

  /** Ends all managed services; `now` kills them. May be called again with `now`. Never throws. */
  async stop({ now }: { readonly now: boolean }): Promise<void> {
    this.#stopping.abort()
    if (this.#timer) clearInterval(this.#timer)
    const stopOne = async ({ stored, process }: Registered): Promise<void> => {
      try {
        await process?.stop({ now })
      } catch (error) {
        const fields = { error: describeError(error) }
        this.#deps.log.error(`service ${stored.name} could not be stopped`, fields)
      }
    }
    await Promise.all([...this.#registered.values()].map(stopOne))
  }

  /** Looks once at every service with a url, and cuts logs that have grown too long. */
  async check(): Promise<void> {
    await this.#lookAtAll(() => 0)
    for (const { stored, process } of this.#registered.values())
      if (process) await rotateLog(serviceLog(this.#deps.logDir, stored.name)).catch(() => {})
  }

  all(): Promise<readonly ServiceView[]> {
    return Promise.all([...this.#registered.values()].map((service) => this.#view(service)))
  }

  /** @throws {HubError} `not_found`. */
  async byName(name: string): Promise<ServiceView> {
    return this.#view(this.#known(name))
  }

  /** Services with a url that are shown to whoever holds these expanded scopes. */
  linksFor(
    scopes: ReadonlySet<string>,
  ): readonly { readonly name: string; readonly url: string }[] {
    return [...this.#registered.values()].flatMap(({ stored: { name, url, display } }) => {
      const isOpen = scopes.has('access:services') || scopes.has(`access:services!service=${name}`)
      return url !== null && display && isOpen
        ? [{ name, url: this.#deps.urls.servicePrefix(name) }]
        : []
    })
  }

  /**
   * Registers a service that runs by itself, for good. Resolves when it answers at its url, or has
   * not done so within half a minute.
   * @throws {HubError} `already_exists`; `invalid_request` for rights that the caller does not have,
   * a token or client id that is taken, or an address that is not allowed.
   */
  async create(service: NewService, by: Caller): Promise<ServiceView> {
    const { name } = service
    const { events } = this.#deps
    if (this.#registered.has(name) || this.#pending.has(name))
      throw new HubError('already_exists', `Service ${name} already exists`)
    this.#pending.add(name)
    try {
      checkGrant(service, by, this.#deps.access.catalogue)
      this.#checkAddresses(service)
      const stored = await this.#record(service)
      const registered: Registered = { stored, process: null }
      this.#registered.set(name, registered)
      events.emit({ kind: 'service-created', service: name, by: by.name })
      if (stored.url !== null) await this.#serve(stored)
      return await this.#view(registered)
    } finally {
      this.#pending.delete(name)
    }
  }

  /**
   * Deletes a service that was made through the API, with all its credentials.
   * @throws {HubError} `not_found`; `method_not_allowed` for one of the config.
   */
  async delete(name: string, by: Caller): Promise<void> {
    const { store, oauth, routes, changes, events, urls } = this.#deps
    const { stored } = this.#known(name)
    if (stored.fromConfig)
      throw new HubError('method_not_allowed', `Service ${name} is not modifiable at runtime`)
    this.#registered.delete(name)
    this.#health.forget(name)
    if (stored.url !== null) await routes.remove(urls.servicePrefix(name))
    const holders = await oauth.deleteServiceClient(stored.id)
    await store.delete(stored.id)
    changes.touchService(stored.id)
    changes.touchRights(...holders)
    events.emit({ kind: 'service-deleted', service: name, by: by.name })
  }

  #known(name: string): Registered {
    const registered = this.#registered.get(name)
    if (!registered) throw new HubError('not_found', `Service ${name} does not exist`)
    return registered
  }

  async #view({ stored, process }: Registered): Promise<ServiceView> {
    const { roles, urls } = this.#deps
    const grants = await roles.grantsOfService(stored.id)
    return {
      ...stored,
      prefix: stored.url === null ? null : urls.servicePrefix(stored.name),
      pid: process?.pid ?? 0,
      roles: grants.map((grant) => grant.name),
    }
  }

  async #record({ apiToken, ...service }: NewService): Promise<StoredService> {
    const { store, clock, changes } = this.#deps
    const rest = { fromConfig: false, timeout: creationPatience, command: [] }
    const stored = await store.save({ ...service, ...rest }, clock())
    try {
      await this.#authorize(stored, apiToken)
    } catch (error) {
      await store.delete(stored.id)
      changes.touchService(stored.id)
      throw error
    }
    return stored
  }

  /** The one token of a service, which is also the secret of its OAuth client. */
  async #authorize(stored: StoredService, secret: string | null): Promise<void> {
    const { store, oauth, urls, clock, changes, configured } = this.#deps
    const { id, name } = stored
    await store.setToken(id, secret, clock())
    const wanted = oauthOf(stored, urls)
    const options = configured.find((service) => service.name === name)
    const holders =
      wanted === null || secret === null
        ? await oauth.deleteServiceClient(id)
        : await oauth.saveServiceClient({
            identifier: wanted.clientId,
            description: `JupyterHub service ${name}`,
            secret,
            redirectUri: wanted.redirectUri,
            allowedScopes: wanted.allowedScopes,
            requirePkce: options?.oauthRequirePkce ?? false,
            serviceId: id,
          })
    changes.touchService(id)
    changes.touchRights(...holders)
  }

  #checkAddresses(service: NewService): void {
    const { routes, urls, allowPlainHttp } = this.#deps
    const { url, oauthRedirectUri } = service
    const refuse = (message: string): never => {
      throw new HubError('invalid_request', message)
    }
    if (url !== null) routes.checkTarget(new URL(url).origin)
    if (oauthRedirectUri !== null && !allowPlainHttp && isClearText(oauthRedirectUri))
      refuse('oauth_redirect_uri must begin with https://, since login codes pass through it')
    const clientId = oauthOf(service, urls)?.clientId
    const others = [...this.#registered.values()].map(({ stored }) => oauthOf(stored, urls))
    if (clientId !== undefined && others.some((other) => other?.clientId === clientId))
      refuse(`oauth_client_id ${clientId} is that of another service`)
  }

  #routeOf({ name, url }: StoredService) {
    const { urls } = this.#deps
    const target = new URL(url ?? '').origin
    return { routespec: urls.servicePrefix(name), target, data: { service: name } }
  }

  #expectRoute(stored: StoredService): void {
    const { routes } = this.#deps
    const route = this.#routeOf(stored)
    try {
      routes.checkTarget(route.target)
    } catch (cause) {
      const message = `the url of the service ${stored.name} cannot be used`
      throw new HubError('invalid_request', message, { cause })
    }
    routes.expect(route)
  }

  async #serve(stored: StoredService): Promise<void> {
    const { routes, log } = this.#deps
    await routes.add(this.#routeOf(stored)).catch((error: unknown) => {
      const fields = { error: describeError(error) }
      log.warn(`service ${stored.name} has no route yet: the next check adds it`, fields)
    })
    await this.#lookAt(stored, creationPatience)
  }

  async #lookAtAll(patience: (stored: StoredService) => number): Promise<void> {
    const all = [...this.#registered.values()]
    await Promise.all(all.map(({ stored }) => this.#lookAt(stored, patience(stored))))
  }

  async #lookAt(stored: StoredService, patience: number): Promise<void> {
    if (stored.url === null) return
    const { routespec, target } = this.#routeOf(stored)
    await this.#health.lookAt({ name: stored.name, url: `${target}${routespec}` }, patience)
  }
}

/**
 * Nobody gives a service what they do not have themselves.
 * @throws {HubError} `invalid_request`.
 */
function checkGrant(service: NewService, by: Caller, catalogue: ScopeCatalogue): void {
  const { admin, oauthClientAllowedScopes } = service
  const unknown = unknownScopes(oauthClientAllowedScopes, catalogue)
  if (unknown.length > 0)
    throw new HubError('invalid_request', `unknown scopes: ${unknown.join(', ')}`)
  if (by.owner.kind === 'operator') return
  const asked = oauthClientAllowedScopes.filter((scope) => scope !== 'inherit')
  if (admin) asked.push(...(defaultRoles.find(({ name }) => name === 'admin')?.scopes ?? []))
  const userName = userOf(by)?.name
  const owner = { serviceName: service.name, ...(userName === undefined ? {} : { userName }) }
  const wanted = expandScopes(asked, owner, catalogue)
  const excess = [...wanted].filter((scope) => !covers(by.scopes, scope))
  if (excess.length === 0 && (!admin || isAdmin(by))) return
  throw new HubError(
    'invalid_request',
    `Not assigning requested scopes ${excess.join(', ')}: ${by.name} does not have them`,
  )
}
