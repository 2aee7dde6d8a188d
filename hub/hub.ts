import { mkdirSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { authenticators } from '../authenticators/index.ts'
import { describeError } from '../packages/core/errors.ts'
import { clientAddress } from '../proxy/client-address.ts'
import { configurableHttpProxy } from '../proxy/client.ts'
import { defaultTrustedPeers, TrustedPeers } from '../proxy/trusted-peers.ts'
import { embeddedCommand, isEmbeddedCommand, settleCommand, spawners } from '../spawners/index.ts'
import type { HubControl } from './api/hub.ts'
import { type AppParts, createApp, createSocketApp } from './app.ts'
import { recordAudit } from './audit-trail.ts'
import {
  createAuthentication,
  createLogins,
  endBlocked,
  introduceUsers,
  loadRolesOfAuthenticator,
  type Logins,
} from './composition/logins.ts'
import { createObservation } from './composition/observation.ts'
import { createRights } from './composition/rights.ts'
import { createRouting, takeUp } from './composition/routing.ts'
import { createServers } from './composition/servers.ts'
import { loadServices } from './composition/services.ts'
import { allowRule } from './config/checks.ts'
import type { Config, Drivers } from './config.ts'
import { Activity } from './domain/activity.ts'
import { createExplanations } from './domain/explanations.ts'
import { createGroups } from './domain/groups.ts'
import { createLoginAttempts } from './domain/login-attempts.ts'
import { createOauthProvider } from './domain/oauth-provider.ts'
import type { Routes } from './domain/routes.ts'
import { renameInvalid } from './domain/server-names.ts'
import type { Servers } from './domain/servers.ts'
import { SessionUse } from './domain/session-use.ts'
import type { Services } from './domain/services.ts'
import { createShareCodes, createShares } from './domain/shares.ts'
import { createTokens } from './domain/tokens.ts'
import { type HubUrls, hubUrls } from './domain/urls.ts'
import { createUsers, type User } from './domain/users.ts'
import { createXsrf } from './domain/xsrf.ts'
import { createEvents } from './events.ts'
import { startJobs } from './jobs.ts'
import { close, listen, listenOnSocket } from './listeners.ts'
import { batched, createLog, type Log } from './log.ts'
import { stopwatch } from './metrics.ts'
import { customLoginView } from './pages/login.ts'
import { createRenderer } from './pages/render.ts'
import { createRequests } from './request.ts'
import type { Secrets } from './secrets.ts'
import { Closers, type Stopped, Stopping, type StopOptions } from './stopping.ts'
import { auditStore } from './store/audit.ts'
import { backupDatabase, type Database, databaseAnswers, openDatabase } from './store/database.ts'
import { acquireLock } from './store/lock.ts'
import { loginAttemptStore } from './store/login-attempts.ts'
import { oauthStore } from './store/oauth.ts'
import { serverStore } from './store/servers.ts'
import { shareCodeStore } from './store/share-codes.ts'
import { shareStore } from './store/shares.ts'
import { sessionStore } from './store/sessions.ts'
import { tokenStore } from './store/tokens.ts'
import { userStore } from './store/users.ts'

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
  const core = await createCore(options, database, log)
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
  const { proxy, routes, servers, logins, services, stopServers } = await createWork(common)
  closers.add(() => servers.detach())
  closers.add(() => services.stop({ now: false }))
  const state = { isAdopted: false, isProxyUp: false }
  const stopping = new Stopping()
  const control = createControl({ options, core, database, state, urls, stopping })
  const parts = createParts({
    options,
    core: { ...core, ...logins },
    servers,
    services,
    routes,
    control,
    urls,
    log,
  })
  if (hub.allowExistingInvalidNamedServers === 'autorename')
    await renameInvalid(core.serverRows, log)
  await servers.recall()
  await loadRolesOfAuthenticator({ ...options, ...core, log })
  await endBlocked({ ...options, ...core, log, stopServers })
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
async function openSocket(
  dataDir: string,
  parts: ReturnType<typeof createParts>,
): Promise<() => Promise<void>> {
  const app = createSocketApp({ ...parts, requests: parts.socketRequests })
  const socket = await listenOnSocket(join(dataDir, 'hub.sock'), app)
  return () => close(socket)
}

type Core = Awaited<ReturnType<typeof createCore>>

/** Stores and the parts that need nothing but them. */
async function createCore(
  { config, secrets, metricsPrefix: prefix = 'jupyterhub' }: StartOptions,
  database: Database,
  log: Log,
) {
  const clock = (): Date => new Date()
  const users = userStore(database)
  const tokens = tokenStore(database)
  const sessions = sessionStore(database)
  const serverRows = serverStore(database)
  const shares = shareStore(database)
  const codes = shareCodeStore(database)
  const attemptRows = loginAttemptStore(database)
  const oauth = oauthStore(database)
  const rights = await createRights({ config, database, users, tokens, sessions, log, clock })
  const ended = await sessions.deleteOfOtherKeys(secrets.cookieKeyId)
  if (ended > 0) log.warn(`the cookie secret has changed: ${ended} logins have ended`)
  const events = createEvents()
  recordAudit({ events, audit: auditStore(database), log, clock })
  const { eventLogFile } = config.hub
  const watching = { ...rights, users, events, log, clock, prefix, eventLogFile }
  const resolution = config.hub.activityResolution
  const rows = { users, servers: serverRows, tokens, sessions }
  const activity = new Activity({ ...rights, ...rows, log, resolution })
  const { sessionIdleTimeout: idleTimeout, cookieMaxAgeDays: maxAgeDays } = config.hub
  const sessionUse = new SessionUse({ ...rights, activity, sessions, idleTimeout, maxAgeDays })
  const observation = createObservation(watching)
  const { metrics } = observation
  const people = { config, secrets, database, users, sessions, ...rights, events, metrics }
  return {
    users,
    tokens,
    sessions,
    attemptRows,
    serverRows,
    shares,
    codes,
    ...rights,
    oauth,
    events,
    ...observation,
    activity,
    sessionUse,
    ...(await createAuthentication({ ...people, log, clock })),
    clock,
  }
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

interface PartsDeps {
  readonly options: StartOptions
  readonly core: Core & Logins
  readonly servers: Servers
  readonly services: Services
  readonly routes: Routes
  readonly control: HubControl
  readonly urls: HubUrls
  readonly log: Log
}

function createParts(
  deps: PartsDeps,
): AppParts & { readonly socketRequests: AppParts['requests'] } {
  const { options, core, servers, urls } = deps
  const { config, secrets, quickStart, version } = options
  const { base, driver } = config.authenticator
  const { hub } = config
  const frontEnds = frontEndsOf(config)
  const requestDeps = {
    ...core,
    urls,
    xsrf: createXsrf(secrets.cookieSecret),
    cookieKey: secrets.cookieSecret,
    cookieMaxAgeDays: hub.cookieMaxAgeDays,
    hostPrefix: hub.cookieHostPrefixEnabled,
    clientAddress: (request: IncomingMessage) => clientAddress(request, frontEnds),
  }
  const sharing = { ...core, servers }
  const tokens = createTokens({
    ...core,
    store: core.tokens,
    longestLife: hub.tokenExpiresInMaxSeconds,
  })
  return {
    ...deps,
    ...core,
    requests: createRequests({ ...requestDeps, isOperator: false }),
    socketRequests: createRequests({ ...requestDeps, isOperator: true }),
    hosts: quickStart ? new Set(['127.0.0.1', 'localhost', '[::1]']) : null,
    crossSitePost: driver.crossSitePost ?? false,
    info: { version, spawner: config.spawner.driver.name, authenticator: driver.name },
    options: {
      ...hub,
      admitsNobody: [...allowRule.find(config)].length > 0,
      autoLogin: base.autoLogin,
      autoLoginOauth2Authorize: base.autoLoginOauth2Authorize,
      otpPrompt: base.requestOtp ? base.otpPrompt : null,
      customLogin: base.customHtml !== '',
    },
    render: createViews(options, urls),
    attempts: createLoginAttempts({ store: core.attemptRows, clock: core.clock }),
    provider: createOauthProvider({
      ...core,
      tokenSeconds: hub.oauthTokenExpiresIn,
      requirePkce: hub.oauthRequirePkce,
      issuer: hub.publicUrl?.href ?? null,
    }),
    tokens,
    explanations: createExplanations({ ...core, tokens }),
    groups: createGroups({ ...core, store: core.groupRows }),
    users: createUsers({
      ...core,
      store: core.users,
      log: deps.log,
      servers,
      pattern: base.usernamePattern,
      slowStop: hub.slowStopTimeout,
    }),
    shares: createShares(sharing),
    shareCodes: createShareCodes(sharing),
  }
}

function createViews({ config, version, quickStart }: StartOptions, urls: HubUrls) {
  const { hubPrefix, baseUrl: prefix } = urls
  const [loginUrl, logoutUrl] = [`${hubPrefix}login`, `${hubPrefix}logout`]
  const globals = { baseUrl: hubPrefix, prefix, version, quickStart, loginUrl, logoutUrl }
  const { customHtml } = config.authenticator.base
  return createRenderer({
    templatePaths: config.hub.templatePaths,
    inline: customHtml === '' ? {} : { [customLoginView]: customHtml },
    globals,
  })
}

/** Whose word about the browser's address counts: the proxy's, and that of the front ends before it. */
function frontEndsOf({ proxy }: Config): TrustedPeers {
  const { trustedProxies = [] } = proxy.options as { readonly trustedProxies?: readonly string[] }
  return new TrustedPeers([...defaultTrustedPeers, ...trustedProxies])
}
