import { join } from 'node:path'
import { HubError } from '../../packages/core/errors.ts'
import { after } from '../../packages/core/promises.ts'
import type { Exit, ServerContext, Spawner } from '../../packages/core/spawner.ts'
import type {
  AuthStateHook,
  NamedServerOptions,
  PreSpawnHook,
  SpawnRequest,
  SpawnerOptions,
} from '../config.ts'
import type { Events } from '../events.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics.ts'
import type { OauthStore } from '../store/oauth.ts'
import type { RoleStore } from '../store/roles.ts'
import type { ServerStore, StoredServer } from '../store/servers.ts'
import type { TokenStore } from '../store/tokens.ts'
import type { User, UserDetails } from '../store/users.ts'
import type { Access } from './access.ts'
import type { Activity } from './activity.ts'
import type { AuthStates } from './auth-states.ts'
import type { Changes } from './changes.ts'
import type { Routes } from './routes.ts'
import { ServerEdits, type StartRequest } from './server-edits.ts'
import { type Credentials, issueCredentials } from './server-credentials.ts'
import { RunningServers } from './running-servers.ts'
import { type EnvironmentOptions, serverEnvironment } from './server-environment.ts'
import { type ServerNames, serverNames } from './server-names.ts'
import { type RunDeps, ServerRun } from './server-run.ts'
import { type LastExit, type ServerState, wireState } from './server-state.ts'
import { type ServerView, serverView } from './server-view.ts'
import { Turns } from './turns.ts'
import type { HubUrls } from './urls.ts'

export type { StartRequest } from './server-edits.ts'
export { noSuchServer, type ServerView } from './server-view.ts'

export interface ServersDeps {
  readonly store: ServerStore
  readonly tokens: TokenStore
  readonly oauth: OauthStore
  readonly roles: RoleStore
  readonly changes: Changes
  /** The start and the end of a server are signs of life of its user, as on JupyterHub. */
  readonly activity: Pick<Activity, 'user'>
  readonly routes: Routes
  readonly urls: HubUrls
  readonly events: Events
  readonly metrics: Pick<Metrics, 'serverPolled'>
  readonly log: Log
  readonly clock: () => Date
  readonly logDir: string
  /** Name of the configured spawner. */
  readonly driver: string
  readonly createSpawner: (driver: string, context: ServerContext) => Spawner
  readonly spawner: SpawnerOptions
  readonly environment: EnvironmentOptions
  readonly limits: { readonly concurrentSpawns: number; readonly activeServers: number }
  readonly named: NamedServerOptions
  /** Throws when the user may not have a server started now. */
  readonly beforeStart?: (user: User) => Promise<void>
  /** Who is blocked gets no server. */
  readonly access: Pick<Access, 'admits'>
  /** What `spawner.authStateHook` is given. */
  readonly authStates: Pick<AuthStates, 'of'>
  /** True for the embedded server, which does PKCE. */
  readonly requirePkce: boolean
}

/**
 * Starts, stops and watches all servers. Only servers that are not stopped are in memory; each
 * change of state is in the database before it is acted on.
 */
export class Servers {
  readonly #deps: ServersDeps
  readonly #names: ServerNames
  /** Making, changing and deleting servers, all but starting and stopping them. */
  readonly edits: ServerEdits
  readonly #runs = new RunningServers()
  /** One user's starts, renames and deletions follow one another. */
  readonly #turns = new Turns()
  #isClosed = false
  /** Starts that are not written down yet. */
  #beginning = 0
  #starting = 0

  constructor(deps: ServersDeps) {
    this.#deps = deps
    this.#names = serverNames(deps.store, deps.named)
    this.edits = new ServerEdits({ ...deps, names: this.#names, servers: this })
  }

  /** Servers that are not stopped. */
  get activeCount(): number {
    return this.#runs.size
  }

  /** Every server that is not stopped. */
  runs(): Iterable<ServerRun> {
    return this.#runs
  }

  /** The run of a server that is not stopped. */
  run(user: Pick<User, 'id'>, name: string): ServerRun | null {
    return this.#runs.named(user.id, name)
  }

  /** Null for a named server that does not exist; the default server always does. */
  async find(user: User, name: string): Promise<ServerView | null> {
    const run = this.run(user, name)
    const row = await this.#deps.store.find(user.id, name)
    if (!row && name !== '') return null
    return this.#view(user, name, row, run)
  }

  /** The default server first, then the named ones. */
  async ofUser(user: User): Promise<readonly ServerView[]> {
    return this.#views(user, await this.#deps.store.ofUser(user.id))
  }

  /** The same for each of these users, in their order. */
  async ofUsers(users: readonly UserDetails[]): Promise<readonly (readonly ServerView[])[]> {
    const owners = users.filter(({ hasServers }) => hasServers).map(({ id }) => id)
    const rows = owners.length === 0 ? [] : await this.#deps.store.ofUsers(owners)
    const byUser = new Map<number, StoredServer[]>(owners.map((id) => [id, []]))
    for (const row of rows) byUser.get(row.userId)?.push(row)
    return users.map((user) => this.#views(user, byUser.get(user.id) ?? []))
  }

  /** As `ofUser`, for users who were only just made. */
  ofNewUser(user: User): readonly ServerView[] {
    return this.#views(user, [])
  }

  /** Runs `change` while none of the user's servers is started, renamed or deleted. */
  exclusively<T>(user: Pick<User, 'id'>, change: () => Promise<T>): Promise<T> {
    return this.#turns.take(user.id, change)
  }

  /** The user's servers that are not stopped. */
  runsOf(user: User): readonly ServerRun[] {
    return this.#runs.of(user.id)
  }

  /**
   * Begins to start a server; resolves once that is written down. A start that is already under way
   * is joined. A named server is made if need be.
   * @throws {HubError} `forbidden` when the user is blocked or must log in again, `server_running`, `server_pending`, `too_many_requests`, `unavailable`, and
   * `invalid_request` when it may not have this name.
   */
  async start(user: User, name: string, request: StartRequest): Promise<ServerRun> {
    const joined = this.#joined(user, name)
    if (joined) return joined
    await this.#deps.beforeStart?.(user)
    return this.exclusively(user, () => this.#start(user, name, request))
  }

  async #start(user: User, name: string, request: StartRequest): Promise<ServerRun> {
    const joined = this.#joined(user, name)
    if (joined) return joined
    if (!(await this.#deps.access.admits(user)))
      throw new HubError('forbidden', `${user.name} is blocked`)
    const known = await this.#deps.store.find(user.id, name)
    const displayName = await this.#names.admit(user, { ...request, name, known })
    if (this.#isClosed) throw new HubError('unavailable', 'the hub is stopping', { retryAfter: 5 })
    this.#checkLimits(user, name)
    this.#beginning += 1
    try {
      return await this.#begin(user, name, { ...request, displayName })
    } finally {
      this.#beginning -= 1
    }
  }

  /** The start that is already under way; null when the server is stopped. */
  #joined(user: User, name: string): ServerRun | null {
    const current = this.run(user, name)
    if (!current || current.state.kind === 'starting') return current
    throw this.#refusal(current)
  }

  /** Asks every running server of the user whether it still runs. */
  async check(user: User): Promise<void> {
    await Promise.all(this.runsOf(user).map((run) => run.check()))
  }

  /**
   * Takes up what an earlier run of the hub has left, as `checking`, and the routes of what ran. Must
   * come before the first request: a server that nobody knows of could be started a second time.
   */
  async recall(): Promise<void> {
    for (const row of await this.#deps.store.active()) this.#found(row)
  }

  /**
   * Decides what became of the recalled servers: running ones are adopted, dead ones cleaned up,
   * half-started ones undone or still to be finished. Resolves when all are decided or `patience`
   * seconds are over; the rest goes on.
   */
  async adopt(patience: number): Promise<void> {
    const found = [...this.runs()].filter(({ state }) => state.kind === 'checking')
    const all = Promise.all(found.map((run) => run.adopt()))
    if (patience < 0) await all
    else await Promise.race([all, after(patience * 1000)])
  }

  /** The run of the server that this path belongs to. */
  at(path: string): ServerRun | null {
    return this.#runs.at(path)
  }

  /** Stops all servers of the user; resolves when all are stopped. */
  async stopAllOf(user: User, exit?: Exit): Promise<void> {
    await this.exclusively(user, async () => {})
    await stopAll(this.runsOf(user), exit)
  }

  /**
   * Stops every server and starts none any more; resolves when all are stopped. One whose stop cannot
   * be written down is killed: the next hub finds it dead and cleans up.
   */
  async stopAll(): Promise<void> {
    this.#isClosed = true
    await this.#turns.allOver()
    await Promise.all([...this.runs()].map((run) => stopAll([run]).catch(() => run.kill())))
  }

  /** Ends all processes at once; `stopAll` sees to the rest. */
  killAll(): void {
    for (const run of this.runs()) void run.kill()
  }

  /** Lets go of all servers and starts none any more: the hub ends, they run on. */
  detach(): void {
    this.#isClosed = true
    for (const run of this.runs()) run.detach()
  }

  #refusal({ state, row }: ServerRun): HubError {
    const name = `${row.userName}/${row.name}`
    return state.kind === 'ready'
      ? new HubError('server_running', `${name} is already running`)
      : new HubError(
          'server_pending',
          `${name} is pending ${wireState(state).pending}; try again in a moment`,
        )
  }

  #checkLimits({ name: user }: User, server: string): void {
    const { limits, events } = this.#deps
    const { concurrentSpawns, activeServers } = limits
    if (concurrentSpawns > 0 && this.#starting + this.#beginning >= concurrentSpawns) {
      events.emit({ kind: 'server-refused', user, server, cause: 'throttled' })
      const retryAfter = 30 + Math.floor(Math.random() * 30)
      throw new HubError(
        'too_many_requests',
        `too many servers are starting at this moment; try again in ${Math.ceil(retryAfter / 10) * 10} seconds`,
        { retryAfter },
      )
    }
    if (activeServers > 0 && this.activeCount + this.#beginning >= activeServers) {
      events.emit({ kind: 'server-refused', user, server, cause: 'too-many-users' })
      throw new HubError(
        'too_many_requests',
        'the limit of running servers is reached; try again later',
      )
    }
  }

  async #begin(user: User, name: string, request: StartRequest): Promise<ServerRun> {
    const { store, changes, activity, events, driver, clock, spawner } = this.#deps
    const now = clock()
    const deadline = new Date(now.getTime() + (spawner.startTimeout + spawner.httpTimeout) * 1000)
    const row = await store.beginStart({
      ...request,
      userId: user.id,
      name,
      spawner: driver,
      now,
      deadline,
    })
    const run = await issueCredentials(this.#deps, row)
      .then((credentials) => this.#create(row, 'new', credentials))
      .catch(async (error: unknown) => {
        changes.touchRights(...(await store.finish(row.id, row.generation, null, clock())))
        throw error
      })
    changes.touchFacts(user.id)
    activity.user(user.id, now)
    events.emit({ kind: 'server-starting', user: row.userName, server: row.name })
    this.#starting += 1
    void run.settled.then(() => (this.#starting -= 1))
    void run.launch(() => this.#prepare(row))
    return run
  }

  readonly #hookVariables = new WeakMap<StoredServer, Record<string, string>>()

  async #prepare(row: StoredServer): Promise<void> {
    const { spawner } = this.#deps
    const request: SpawnRequest = {
      userName: row.userName,
      serverName: row.name,
      userOptions: row.userOptions,
      environment: {},
    }
    for (const [name, value] of Object.entries(spawner.environment))
      request.environment[name] = typeof value === 'string' ? value : value(request)
    const withState: AuthStateHook | undefined = spawner.authStateHook
    const user = { id: row.userId, name: row.userName }
    if (withState) await withState(request, await this.#deps.authStates.of(user))
    const hook: PreSpawnHook | undefined = spawner.preSpawnHook
    if (hook) await hook(request)
    this.#hookVariables.set(row, request.environment)
  }

  #found(row: StoredServer): void {
    try {
      const run = this.#create(row, 'found', null)
      if (row.state === 'ready' && row.url !== null)
        this.#deps.routes.expect(run.route(new URL(row.url)))
    } catch (error) {
      this.#deps.log.error(`server ${row.userName}/${row.name} cannot be looked after`, {
        spawner: row.spawner,
        error: error instanceof Error ? error.message : String(error),
      })
    }
  }

  #create(row: StoredServer, origin: 'new' | 'found', credentials: Credentials | null): ServerRun {
    const { urls, environment } = this.#deps
    const { secret = '', clientId = '' } = credentials ?? {}
    const identity = {
      userName: row.userName,
      serverName: row.name,
      apiToken: secret,
      clientId,
    }
    const facts = {
      row,
      prefix: urls.serverPrefix(row.userName, row.name),
      logFile: this.#logFile(row),
      secrets: secret === '' ? [] : [secret],
      environment: (bind: URL) => ({
        ...serverEnvironment(identity, urls, environment, bind),
        ...this.#hookVariables.get(row),
      }),
    }
    const run = new ServerRun(this.#runDeps(), facts, origin)
    this.#runs.add(run)
    return run
  }

  #runDeps(): RunDeps {
    const { store, routes, metrics, log, clock, spawner, createSpawner } = this.#deps
    return {
      store,
      routes,
      metrics,
      log,
      clock,
      createSpawner,
      timeouts: {
        start: spawner.startTimeout,
        http: spawner.httpTimeout,
        stop: spawner.stopTimeout,
        poll: spawner.pollInterval,
        pollJitter: spawner.pollJitter,
      },
      ended: (run, exit, holders) => this.#onEnded(run, exit, holders),
      ready: (run, before) => this.#onReady(run, before),
      saved: ({ row }) => this.#deps.changes.touchFacts(row.userId),
      stopping: ({ row }) => {
        this.#deps.changes.touchFacts(row.userId)
        this.#deps.events.emit({ kind: 'server-stopping', user: row.userName, server: row.name })
      },
    }
  }

  #onReady({ row }: ServerRun, before: ServerState['kind']): void {
    const { changes, events } = this.#deps
    changes.touchFacts(row.userId)
    const isNew = before === 'starting'
    events.emit({
      kind: isNew ? 'server-started' : 'server-adopted',
      user: row.userName,
      server: row.name,
    })
  }

  #onEnded(run: ServerRun, exit: LastExit, holders: readonly number[]): void {
    const { changes, activity, events, clock } = this.#deps
    const { row } = run
    this.#runs.remove(run)
    activity.user(row.userId, clock())
    changes.touchFacts(row.userId)
    changes.touchRights(...holders)
    events.emit(
      exit.cause === 'stopped'
        ? { kind: 'server-stopped', user: row.userName, server: row.name }
        : { kind: 'server-failed', user: row.userName, server: row.name, cause: exit.cause },
    )
  }

  #logFile(row: StoredServer): string {
    const slug = row.userName
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-')
      .slice(0, 40)
    return join(this.#deps.logDir, `${slug}-${row.id}.log`)
  }

  #views(user: User, rows: readonly StoredServer[]): readonly ServerView[] {
    const fallback = rows.find((row) => row.name === '') ?? null
    const named = rows.filter((row) => row !== fallback)
    return [
      this.#view(user, '', fallback, this.run(user, '')),
      ...named.map((row) => this.#view(user, row.name, row, this.run(user, row.name))),
    ]
  }

  #view(user: User, name: string, row: StoredServer | null, run: ServerRun | null): ServerView {
    const prefix = this.#deps.urls.serverPrefix(user.name, name)
    return serverView({ user, name, row, prefix, state: run?.state ?? null })
  }
}

async function stopAll(runs: readonly ServerRun[], exit?: Exit): Promise<void> {
  await Promise.all(
    runs.map(async (run) => {
      await run.stop(exit)
      await run.ended
    }),
  )
}
