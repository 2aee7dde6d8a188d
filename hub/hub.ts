import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { authenticators } from '../authenticators/index.ts'
import { describeError } from '../packages/core/errors.ts'
import { clientAddress } from '../proxy/client-address.ts'
import { configurableHttpProxy } from '../proxy/client.ts'
import { defaultTrustedPeers, TrustedPeers } from '../proxy/trusted-peers.ts'
import { embeddedCommand, isEmbeddedCommand, settleCommand, spawners } from '../spawners/index.ts'
import type { HubControl } from './api/hub.ts'
import { createApp, createSocketApp } from './app.ts'
import { type Core, createCore } from './composition/core.ts'
import {
  createLogins,
  endBlocked,
  introduceUsers,
  loadRolesOfAuthenticator,
} from './composition/logins.ts'
import { createParts, type Parts } from './composition/parts.ts'
import { createRouting, takeUp } from './composition/routing.ts'
import { createServers } from './composition/servers.ts'
import { loadServices } from './composition/services.ts'
import type { Config, Drivers } from './config.ts'
import { renameInvalid } from './domain/server-names.ts'
import { type HubUrls, hubUrls } from './domain/urls.ts'
import type { User } from './domain/users.ts'
import { startJobs } from './jobs.ts'
import { close, listen, listenOnSocket } from './listeners.ts'
import { batched, createLog, type Log } from './log.ts'
import { stopwatch } from './metrics.ts'
import type { RequestDeps } from './request.ts'
import type { Secrets } from './secrets.ts'
import { Closers, type Stopped, Stopping, type StopOptions } from './stopping.ts'
import { backupDatabase, type Database, databaseAnswers, openDatabase } from './store/database.ts'
import { acquireLock } from './store/lock.ts'

/** The built-in drivers: the only place that names them. */
export const drivers: Drivers = {
  spawners,
  authenticators,
  proxies: [configurableHttpProxy],
}

export interface StartOptions {
  readonly config: Config
  readonly secrets: Secrets
  /** Private to the hub's account; exists. */
  readonly dataDir: string
  /** Variables for proxy and servers: kept ones only, no secrets. */
  readonly env: Readonly<Record<string, string>>
  readonly quickStart: boolean
  readonly version: string
  /** First word of the names of metrics. Default: `jupyterhub`. */
  readonly metricsPrefix?: string
  /** Receives whole log lines. Default: standard error. */
  readonly writeLog?: (line: string) => void
  readonly ready?: (info: { readonly url: string; readonly loginLink: string | null }) => void
}

/** A running hub. */
export interface Hub {
  /** Where browsers find it. */
  readonly url: string
  /** Where proxy and servers find it: scheme, host and port. */
  readonly internalUrl: string
  issueLoginLink(): { readonly url: string; readonly expiresAt: Date } | null
  /** Resolves when the hub has stopped. */
  readonly stopped: Promise<{ readonly reason: string }>
  /** Safe to call twice; `now` hurries a stop that is under way. */
  stop(options: StopOptions): Promise<Stopped>
}

/**
 * Builds and starts the whole hub from its config. Everything that was opened is closed again when
 * a step fails.
 * @throws {HubError} `unavailable` when another hub uses the data directory, a port is taken, or the
 * database cannot be used: the message says which and what to do.
 */
export async function startHub(options: StartOptions): Promise<Hub> {
  const write = options.writeLog ?? batched((text) => void process.stderr.write(text))
  const log = createLog({
    level:
      options.quickStart && options.config.hub.logLevel === 'info'
        ? 'warn'
        : options.config.hub.logLevel,
    pretty: process.stderr.isTTY,
    write,
  })
  const closers = new Closers()
  try {
    return await build(options, log, closers)
  } catch (error) {
    await closers.close(log)
    throw error
  }
}

async function build(options: StartOptions, log: Log, closers: Closers): Promise<Hub> {
  const { config, dataDir } = options
  const { hub } = config
  const seconds = stopwatch()
  const lock = acquireLock(dataDir)
  closers.add(() => lock.release())
  const database = await openDatabase(join(dataDir, 'portico.sqlite'))
  closers.add(() => database[Symbol.asyncDispose]())
  const core = await createCore({ ...options, database, log })
  closers.add(() => core.activity.stop())
  closers.add(() => Promise.all([core.stopObserving(), core.authenticator.close?.()]))
  const { metrics } = core

  const listener = await listen(hub.hubBindUrl, 'hub.hubBindUrl')
  closers.add(() => close(listener.server))
  const connectOrigin = hub.hubConnectUrl?.origin ?? listener.origin
  const urls = hubUrls({ baseUrl: hub.baseUrl, connectOrigin, publicUrl: hub.publicUrl ?? null })
  const logDir = join(dataDir, 'logs')
  mkdirSync(join(logDir, 'servers'), { recursive: true, mode: 0o700 })

  const common = { ...options, ...core, database, log, urls, logDir }
  const work = await createWork(common)
  const { proxy, routes, servers, logins, services } = work
  closers.add(() => servers.detach())
  closers.add(() => services.stop({ now: false }))
  const state = { isAdopted: false, isProxyUp: false }
  const stopping = new Stopping()
  const control = createControl({ options, core, database, state, urls, stopping })
  const parts = createParts({
    ...common,
    ...work,
    core: { ...core, ...logins },
    control,
    clientAddress: addressesBehind(config),
  })
  await recover({ ...common, ...work })
  listener.serve(createApp(parts))
  closers.add(await openSocket(dataDir, parts))
  closers.add(() => core.feed.close())

  closers.add(() => (state.isProxyUp ? null : proxy.stop({ andProcess: hub.cleanupProxy })))
  await takeUp({ servers, proxy, routes, metrics, state, patience: hub.initSpawnersTimeout })
  services.start()
  introduceUsers({ ...options, ...core, users: parts.users, log }).catch((error: unknown) => {
    log.error('users could not be looked through', { error: describeError(error) })
  })
  const purged = [core.tokens, core.sessions, core.oauth, core.codes, core.attemptRows]
  const interval = hub.lastActivityInterval
  closers.add(startJobs({ ...core, routes, servers, log, interval, purged }))

  metrics.started(seconds())
  const stopped = stopping.carryOut({ servers, services, proxy, closers, log })
  return runningHub({ options, control, stopping, stopped, internalUrl: listener.origin })
}

interface WorkDeps extends StartOptions, Core {
  readonly database: Database
  readonly log: Log
  readonly urls: HubUrls
  readonly logDir: string
}

/** What the hub is for: routes, servers, logins, services. Nothing of it runs yet. */
async function createWork(deps: WorkDeps) {
  const { proxy, routes } = await createRouting(deps)
  const beforeStart = (user: User): Promise<void> => logins.refresher.beforeStart(user)
  const servers = createServers({ ...deps, ...ownSpawner(deps), routes, beforeStart })
  const stopServers = (user: User): Promise<void> => servers.stopAllOf(user)
  const logins = createLogins({ ...deps, stopServers })
  const services = await loadServices({ ...deps, routes })
  return { proxy, routes, servers, logins, services, stopServers }
}

/** Takes over what the last run has left, and ends what the config of now does not allow. */
async function recover(deps: WorkDeps & Awaited<ReturnType<typeof createWork>>): Promise<void> {
  const { config, servers, serverRows, log } = deps
  if (config.hub.allowExistingInvalidNamedServers === 'autorename')
    await renameInvalid(serverRows, log)
  await servers.recall()
  await loadRolesOfAuthenticator(deps)
  await endBlocked(deps)
}

/** Tells whoever waits that the hub is there. */
function runningHub(deps: {
  readonly options: StartOptions
  readonly control: HubControl
  readonly stopping: Stopping
  readonly stopped: Promise<Stopped>
  readonly internalUrl: string
}): Hub {
  const { options, control, stopping, stopped, internalUrl } = deps
  const { bindUrl, publicUrl, baseUrl } = options.config.hub
  const url = publicUrl?.href ?? `${bindUrl.origin}${baseUrl}`
  options.ready?.({ url, loginLink: control.issueLoginLink()?.url ?? null })
  return {
    url,
    internalUrl,
    issueLoginLink: () => control.issueLoginLink(),
    stopped,
    stop(wanted) {
      stopping.request(wanted, 'asked to')
      return stopped
    },
  }
}

/** The operator's door. Returns how to close it. */
async function openSocket(dataDir: string, parts: Parts): Promise<() => Promise<void>> {
  const app = createSocketApp({ ...parts, requests: parts.socketRequests })
  const socket = await listenOnSocket(join(dataDir, 'hub.sock'), app)
  return () => close(socket)
}

/** A quick start always runs the embedded server, as does a machine without `jupyterhub-singleuser`. */
function ownSpawner({ config, env, quickStart }: StartOptions) {
  const { driver, options } = config.spawner
  if (!('cmd' in driver.config.shape)) return { spawners, options, requirePkce: false }
  const settled = settleCommand(options['cmd'], env['PATH'] ?? '')
  const cmd = quickStart ? embeddedCommand() : (settled ?? options['cmd'])
  const settledOptions = cmd === undefined ? options : { ...options, cmd }
  return { spawners, options: settledOptions, requirePkce: isEmbeddedCommand(cmd) }
}

interface ControlDeps {
  readonly options: StartOptions
  readonly core: Core
  readonly database: Database
  readonly state: { readonly isAdopted: boolean; readonly isProxyUp: boolean }
  readonly urls: HubUrls
  readonly stopping: Stopping
}

function createControl({
  options,
  core,
  database,
  state,
  urls,
  stopping,
}: ControlDeps): HubControl {
  const { hub } = options.config
  return {
    shutdown: ({ proxy = hub.cleanupProxy, servers = hub.cleanupServers }) =>
      stopping.request({ proxy, servers }, 'asked to by the API'),
    issueLoginLink() {
      const link = core.authenticator.issueLink?.()
      const origin = (hub.publicUrl ?? hub.bindUrl).origin
      return link
        ? { url: `${origin}${urls.hubPrefix.slice(0, -1)}${link.path}`, expiresAt: link.expiresAt }
        : null
    },
    backup: () => backupDatabase(database.file),
    async unready() {
      const waiting = state.isAdopted ? [] : ['servers of the last run are being looked for']
      if (!state.isProxyUp) waiting.push('the proxy is not up')
      if (!(await databaseAnswers(database))) waiting.push('the database does not answer')
      return waiting
    },
  }
}

/** Tells the browser's address, by the word of the proxy and of the front ends before it. */
function addressesBehind({ proxy }: Config): RequestDeps['clientAddress'] {
  const { trustedProxies = [] } = proxy.options as { readonly trustedProxies?: readonly string[] }
  const frontEnds = new TrustedPeers([...defaultTrustedPeers, ...trustedProxies])
  return (request) => clientAddress(request, frontEnds)
}
