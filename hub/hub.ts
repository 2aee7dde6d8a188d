import { accessSync, chmodSync, constants, existsSync, mkdirSync, unlinkSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { delimiter, join } from 'node:path'
import { authenticators } from '../authenticators/index.ts'
import { describeError, HubError } from '../packages/core/errors.ts'
import { defaultRoles } from '../packages/core/scopes.ts'
import type { Proxy } from '../packages/core/proxy.ts'
import type { ServerContext } from '../packages/core/spawner.ts'
import { configurableHttpProxy } from '../proxy/client.ts'
import { embeddedCommand, spawners } from '../spawners/index.ts'
import type { HubControl } from './api/hub.ts'
import { type AppParts, createApp, createSocketApp } from './app.ts'
import type { Config, Drivers } from './config.ts'
import { createAccess } from './domain/access.ts'
import { createActivity } from './domain/activity.ts'
import { createLogin } from './domain/login.ts'
import { createOauthProvider } from './domain/oauth-provider.ts'
import { createRoutes, type Routes } from './domain/routes.ts'
import { Servers } from './domain/servers.ts'
import { createTokens } from './domain/tokens.ts'
import { type HubUrls, hubUrls } from './domain/urls.ts'
import { createUsers } from './domain/users.ts'
import { createXsrf } from './domain/xsrf.ts'
import { createEvents, type Events } from './events.ts'
import { createLog, type Log } from './log.ts'
import { createRenderer } from './pages/render.ts'
import { createRequests } from './request.ts'
import type { Secrets } from './secrets.ts'
import { auditStore } from './store/audit.ts'
import { backupDatabase, type Database, databaseAnswers, openDatabase } from './store/database.ts'
import { acquireLock } from './store/lock.ts'
import { oauthStore } from './store/oauth.ts'
import { processStore } from './store/processes.ts'
import { roleStore } from './store/roles.ts'
import { serverStore } from './store/servers.ts'
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
  /** Receives whole log lines. Default: standard error. */
  readonly writeLog?: (line: string) => void
  readonly ready?: (info: { readonly url: string; readonly loginLink: string | null }) => void
}

export interface StopOptions {
  readonly servers: boolean
  readonly proxy: boolean
  readonly now?: boolean
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
  stop(
    options: StopOptions,
  ): Promise<{ readonly runningServers: number; readonly proxyRuns: boolean }>
}

/** Closes what was opened, newest first, each whatever became of the others. */
class Closers {
  readonly #closers: (() => unknown)[] = []

  add(close: () => unknown): void {
    this.#closers.push(close)
  }

  async close(log: Log): Promise<void> {
    for (const close of this.#closers.splice(0).toReversed())
      try {
        await close()
      } catch (error) {
        log.warn('while stopping', { error: describeError(error) })
      }
  }
}

/**
 * Builds and starts the whole hub from its config. Everything that was opened is closed again when
 * a step fails.
 * @throws {HubError} `unavailable` when another hub uses the data directory, a port is taken, or the
 * database cannot be used: the message says which and what to do.
 */
export async function startHub(options: StartOptions): Promise<Hub> {
  const write = options.writeLog ?? ((line: string) => void process.stderr.write(`${line}\n`))
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
  const lock = acquireLock(dataDir)
  closers.add(() => lock.release())
  const database = await openDatabase(join(dataDir, 'portico.sqlite'))
  closers.add(() => database[Symbol.asyncDispose]())
  const core = await createCore(options, database, log)
  closers.add(() => core.activity.stop())

  const listener = await listen(hub.hubBindUrl, 'hub.hubBindUrl')
  closers.add(() => close(listener.server))
  const connectOrigin = hub.hubConnectUrl?.origin ?? listener.origin
  const urls = hubUrls({ baseUrl: hub.baseUrl, connectOrigin, publicUrl: hub.publicUrl ?? null })
  const logDir = join(dataDir, 'logs')
  mkdirSync(join(logDir, 'servers'), { recursive: true, mode: 0o700 })

  const proxy = await createProxy({
    ...options,
    database,
    log,
    urls,
    logDir,
    restore: () => routes.restore(),
  })
  const ownOrigins = [
    connectOrigin,
    new URL(String(config.proxy.options['apiUrl'] ?? connectOrigin)).origin,
  ]
  const routes: Routes = createRoutes({ proxy, log, ownOrigins })
  routes.expect({ routespec: hub.baseUrl, target: connectOrigin, data: { hub: true } })

  const servers = createServers({ ...options, ...core, log, urls, routes, logDir })
  closers.add(() => servers.detach())
  const state = { isAdopted: false, isProxyUp: false }
  const stopping = deferred<StopOptions & { reason: string }>()
  const control = createControl({ options, core, database, state, urls, stopping })
  const parts = createParts({ options, core, servers, routes, control, urls, log })
  listener.serve(createApp(parts))
  const socket = await listenOnSocket(
    join(dataDir, 'hub.sock'),
    createSocketApp({ ...parts, requests: parts.socketRequests }),
  )
  closers.add(() => close(socket))

  await servers.adopt(hub.initSpawnersTimeout)
  state.isAdopted = true
  const starting = new AbortController()
  await proxy.start(starting.signal)
  await routes.restore()
  state.isProxyUp = true
  const stopJobs = startJobs({ ...core, routes, log, interval: hub.lastActivityInterval })
  closers.add(stopJobs)

  const result = finish({
    options,
    control,
    stopping,
    servers,
    proxy,
    closers,
    log,
    internalUrl: listener.origin,
  })
  options.ready?.({ url: result.url, loginLink: control.issueLoginLink()?.url ?? null })
  return result
}

type Core = Awaited<ReturnType<typeof createCore>>

/** Stores and the parts that need nothing but them. */
async function createCore({ config, secrets }: StartOptions, database: Database, log: Log) {
  const clock = (): Date => new Date()
  const users = userStore(database)
  const tokens = tokenStore(database)
  const sessions = sessionStore(database)
  const serverRows = serverStore(database)
  const roles = roleStore(database)
  const oauth = oauthStore(database)
  await roles.define(defaultRoles)
  await makeFirstAdmins(config, users, clock)
  const ended = await sessions.deleteOfOtherKeys(secrets.cookieKeyId)
  if (ended > 0) log.warn(`the cookie secret has changed: ${ended} logins have ended`)
  const events = createEvents()
  recordAudit(events, auditStore(database), log, clock)
  const access = createAccess({ users, tokens, sessions, clock })
  const resolution = config.hub.activityResolution
  const activity = createActivity({ users, servers: serverRows, tokens, log, resolution })
  const { driver, options } = config.authenticator
  const authenticator = await driver.create(options)
  return {
    users,
    tokens,
    sessions,
    serverRows,
    roles,
    oauth,
    events,
    access,
    activity,
    authenticator,
    clock,
  }
}

/** `hub.adminUsers` and `authenticator.adminUsers`: they exist and are admins from the start. */
async function makeFirstAdmins(
  { hub, authenticator }: Config,
  users: Core['users'],
  clock: () => Date,
): Promise<void> {
  for (const name of new Set([...hub.adminUsers, ...authenticator.base.adminUsers]))
    if (!(await users.create(name, { admin: true, now: clock() }))) await users.setAdmin(name, true)
}

function recordAudit(
  events: Events,
  audit: ReturnType<typeof auditStore>,
  log: Log,
  clock: () => Date,
): void {
  events.on(({ kind, user, ...rest }) => {
    const { peer, by, ...detail } = { peer: null, by: null, ...rest } as Record<
      string,
      string | null
    >
    audit
      .append(
        { action: kind, actor: by ?? null, target: user, peer: peer ?? null, detail },
        clock(),
      )
      .catch((error: unknown) =>
        log.warn('an audit event was not written', { error: describeError(error) }),
      )
  })
}

async function createProxy(
  deps: StartOptions & {
    readonly database: Database
    readonly log: Log
    readonly urls: HubUrls
    readonly logDir: string
    readonly restore: () => Promise<void>
  },
): Promise<Proxy> {
  const { config, secrets, env, database, log, urls, logDir, restore } = deps
  const processes = processStore(database)
  return config.proxy.driver.create(config.proxy.options, {
    bindUrl: config.hub.bindUrl,
    errorTarget: `${urls.connectOrigin}${urls.hubPrefix}error`,
    authToken: secrets.proxyToken,
    env,
    saved: await processes.load('proxy'),
    save: (data) => processes.save('proxy', data),
    logFile: join(logDir, 'proxy.log'),
    log,
    restore,
  })
}

function createServers(
  deps: StartOptions &
    Core & {
      readonly log: Log
      readonly urls: HubUrls
      readonly routes: Routes
      readonly logDir: string
    },
): Servers {
  const { config, env, quickStart } = deps
  const { driver, base } = config.spawner
  const options = spawnerOptions(config, env, quickStart)
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
    requirePkce: isEmbedded(options['cmd']),
  })
}

/** A quick start always runs the embedded server, as does a machine without `jupyterhub-singleuser`. */
function spawnerOptions({ spawner }: Config, env: StartOptions['env'], quickStart: boolean) {
  const { driver, options } = spawner
  if (!('cmd' in driver.config.shape)) return options
  const isChosen = options['cmd'] !== undefined
  const useEmbedded =
    quickStart || (!isChosen && !isOnPath('jupyterhub-singleuser', env['PATH'] ?? ''))
  return useEmbedded ? { ...options, cmd: embeddedCommand() } : options
}

function isEmbedded(cmd: unknown): boolean {
  return Array.isArray(cmd) && cmd[1] === embeddedCommand()[1]
}

function isOnPath(program: string, path: string): boolean {
  return path.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

interface ControlDeps {
  readonly options: StartOptions
  readonly core: Core
  readonly database: Database
  readonly state: { readonly isAdopted: boolean; readonly isProxyUp: boolean }
  readonly urls: HubUrls
  readonly stopping: Deferred<StopOptions & { reason: string }>
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
    shutdown: ({ proxy, servers }) =>
      stopping.resolve({
        proxy: proxy ?? hub.cleanupProxy,
        servers: servers ?? hub.cleanupServers,
        reason: 'asked to by the API',
      }),
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
  readonly core: Core
  readonly servers: Servers
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
  const requestDeps = {
    ...core,
    urls,
    xsrf: createXsrf(secrets.cookieSecret),
    cookieKey: secrets.cookieSecret,
    cookieMaxAgeDays: hub.cookieMaxAgeDays,
    hostPrefix: hub.cookieHostPrefixEnabled,
  }
  const { hubPrefix } = urls
  const globals = {
    baseUrl: hubPrefix,
    prefix: urls.baseUrl,
    version,
    quickStart,
    loginUrl: `${hubPrefix}login`,
    logoutUrl: `${hubPrefix}logout`,
  }
  return {
    ...deps,
    ...core,
    requests: createRequests({ ...requestDeps, isOperator: false }),
    socketRequests: createRequests({ ...requestDeps, isOperator: true }),
    hosts: quickStart ? new Set(['127.0.0.1', 'localhost', '[::1]']) : null,
    info: { version, spawner: config.spawner.driver.name, authenticator: driver.name },
    options: {
      ...hub,
      admitsNobody: !base.allowAll && base.allowedUsers.length === 0 && !base.allowExistingUsers,
    },
    render: createRenderer({ templatePaths: hub.templatePaths, globals }),
    login: createLogin({
      ...core,
      log: deps.log,
      provider: driver.name,
      options: base,
      sessionDays: hub.cookieMaxAgeDays,
      cookieKeyId: secrets.cookieKeyId,
    }),
    provider: createOauthProvider({
      ...core,
      tokenSeconds: hub.oauthTokenExpiresIn,
      requirePkce: hub.oauthRequirePkce,
      issuer: hub.publicUrl?.href ?? null,
    }),
    tokens: createTokens({
      ...core,
      store: core.tokens,
      longestLife: hub.tokenExpiresInMaxSeconds,
    }),
    users: createUsers({ ...core, store: core.users, servers, pattern: base.usernamePattern }),
  }
}

/** Work that comes round again: the route check with the proxy's activity, and clearing out what has expired. */
function startJobs(
  deps: Core & { readonly routes: Routes; readonly log: Log; readonly interval: number },
): () => void {
  const { routes, log, activity, serverRows, users, tokens, sessions, oauth, clock } = deps
  const every = (seconds: number, what: string, run: () => Promise<unknown>): NodeJS.Timeout => {
    let isRunning = false
    const timer = setInterval(() => {
      if (isRunning) return
      isRunning = true
      run()
        .catch((error: unknown) => log.warn(`${what} failed`, { error: describeError(error) }))
        .finally(() => (isRunning = false))
    }, seconds * 1000)
    return timer.unref()
  }
  const collect = async (): Promise<void> => {
    for (const { data, lastActivity } of await routes.check()) {
      const user = typeof data['user'] === 'string' ? await users.findByName(data['user']) : null
      if (!user || !lastActivity) continue
      activity.user(user.id, lastActivity)
      const server = await serverRows.find(user.id, String(data['server_name'] ?? ''))
      if (server) activity.server(server.id, lastActivity)
    }
  }
  const purge = async (): Promise<void> => {
    for (const store of [tokens, sessions, oauth]) await store.purgeExpired(clock())
  }
  const timers = [every(deps.interval, 'the route check', collect), every(3600, 'purging', purge)]
  return () => timers.forEach((timer) => clearInterval(timer))
}

interface FinishDeps {
  readonly options: StartOptions
  readonly control: HubControl
  readonly stopping: Deferred<StopOptions & { reason: string }>
  readonly servers: Servers
  readonly proxy: Proxy
  readonly closers: Closers
  readonly log: Log
  readonly internalUrl: string
}

/** Longest time that running servers may take to stop, in ms. */
const serversPatience = 60_000

function finish({
  options,
  control,
  stopping,
  servers,
  proxy,
  closers,
  log,
  internalUrl,
}: FinishDeps): Hub {
  const { bindUrl, publicUrl, baseUrl } = options.config.hub
  const hurry = deferred<void>()
  const ended = stopping.promise.then(async (wanted) => {
    if (wanted.servers)
      await Promise.race([servers.stopAll(), after(serversPatience), hurry.promise])
    const runningServers = servers.activeCount
    servers.detach()
    await proxy.stop({ andProcess: wanted.proxy })
    await closers.close(log)
    return { reason: wanted.reason, runningServers, proxyRuns: !wanted.proxy }
  })
  return {
    url: publicUrl?.href ?? `${bindUrl.origin}${baseUrl}`,
    internalUrl,
    issueLoginLink: () => control.issueLoginLink(),
    stopped: ended.then(({ reason }) => ({ reason })),
    async stop(wanted) {
      if (wanted.now) hurry.resolve()
      stopping.resolve({ ...wanted, reason: 'asked to' })
      return ended
    },
  }
}

/** Listens at once with a plain 503, so that health checks find somebody, and serves the app when it is there. */
async function listen(url: URL, option: string) {
  let handle: RequestListener = (_req, res) => {
    res
      .writeHead(503, { 'Retry-After': '1', 'Content-Type': 'text/plain' })
      .end('The hub is starting')
  }
  const server = createServer({ headersTimeout: 20_000, requestTimeout: 300_000 }, (req, res) =>
    handle(req, res),
  )
  const host = url.hostname.replace(/^\[|\]$/g, '')
  server.listen(Number(url.port || 80), host === '' ? undefined : host)
  await listening(server, `${option} (${url.origin})`)
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : url.port
  const serve = (app: RequestListener): void => {
    handle = app
  }
  return {
    server,
    serve,
    origin: `http://${['0.0.0.0', '[::]'].includes(url.hostname) ? '127.0.0.1' : url.hostname}:${port}`,
  }
}

async function listenOnSocket(path: string, app: RequestListener): Promise<Server> {
  if (existsSync(path)) unlinkSync(path)
  const server = createServer(app)
  server.listen(path)
  await listening(server, path)
  chmodSync(path, 0o600)
  return server
}

async function listening(server: Server, what: string): Promise<void> {
  try {
    await once(server, 'listening')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const reason =
      code === 'EADDRINUSE'
        ? 'the address is in use: end that program or choose another'
        : describeError(error)
    throw new HubError('unavailable', `cannot listen on ${what}: ${reason}`, { cause: error })
  }
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), 1000).unref()
  })
}

interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
}

function deferred<T>(): Deferred<T> {
  let settle: (value: T) => void = () => {}
  const promise = new Promise<T>((resolve) => {
    settle = resolve
  })
  return { promise, resolve: (value) => settle(value) }
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref()
  })
}
