import { describeError, HubError } from '../../packages/core/errors.ts'
import type { Json } from '../../packages/core/spawner.ts'
import type { NamedServerOptions } from '../config.ts'
import type { Events } from '../events.ts'
import type { Log } from '../log.ts'
import type { ServerEdit, ServerStore, StoredServer } from '../store/servers.ts'
import type { User } from '../store/users.ts'
import type { Changes } from './changes.ts'
import { stoppedExit } from './exits.ts'
import type { ServerNames } from './server-names.ts'
import type { ServerRun } from './server-run.ts'
import { noSuchServer, type ServerView, serverView } from './server-view.ts'
import type { HubUrls } from './urls.ts'

/** What a start is asked with. Null keeps what the server had. */
export interface StartRequest {
  readonly userOptions: Json
  readonly displayName: string | null
}

export interface ServerEditsDeps {
  readonly store: ServerStore
  readonly names: ServerNames
  readonly changes: Changes
  readonly events: Events
  readonly urls: HubUrls
  readonly log: Log
  readonly clock: () => Date
  /** Name of the configured spawner. */
  readonly driver: string
  readonly named: NamedServerOptions
  readonly servers: {
    run(user: Pick<User, 'id'>, name: string): ServerRun | null
    exclusively<T>(user: Pick<User, 'id'>, change: () => Promise<T>): Promise<T>
  }
}

/** Makes, changes and deletes servers: all that is done to them while they are stopped. */
export class ServerEdits {
  readonly #deps: ServerEditsDeps

  constructor(deps: ServerEditsDeps) {
    this.#deps = deps
  }

  /**
   * Makes a named server without starting it.
   * @throws {HubError} `already_exists`; `invalid_request` when it may not have this name.
   */
  async create(user: User, name: string, request: StartRequest, by: string): Promise<ServerView> {
    return this.#deps.servers.exclusively(user, async () => {
      const { store, changes, events, driver, clock } = this.#deps
      const exists = new HubError('already_exists', `Server ${user.name}/${name} already exists`)
      if (name === '') throw exists
      const known = await store.find(user.id, name)
      const displayName = await this.#deps.names.admit(user, { ...request, name, known })
      if (known) throw exists
      const { userOptions } = request
      const now = clock()
      const row = await store.create({
        userId: user.id,
        name,
        displayName,
        userOptions,
        spawner: driver,
        now,
      })
      if (!row) throw exists
      changes.touchFacts(user.id)
      events.emit({ kind: 'server-created', user: user.name, server: name, by })
      return this.#stoppedView(user, row)
    })
  }

  /**
   * Changes a server that is stopped: name, display name and options together or not at all. A
   * default server that gets a name leaves a fresh one behind.
   * @throws {HubError} `server_running`, `server_not_found`, `already_exists`, `invalid_request`.
   */
  async edit(user: User, name: string, edit: ServerEdit, by: string): Promise<ServerView> {
    return this.#deps.servers.exclusively(user, async () => {
      const { store, changes, events } = this.#deps
      const full = `${user.name}/${name}`
      const active = new HubError('server_running', `${full} is active; stop it before changing it`)
      const taken = new HubError(
        'already_exists',
        `Server ${user.name}/${edit.name?.slice(0, 64)} already exists`,
      )
      if (this.#deps.servers.run(user, name)) throw active
      const row = await this.#ensured(user, name)
      if (!row) throw noSuchServer(user, name)
      if (edit.name !== undefined && edit.name !== name)
        if (await this.#exists(user, edit.name)) throw taken
      const displayName = await this.#deps.names.admitEdit(user, name, edit)
      const wanted = { ...edit, ...(displayName === undefined ? {} : { displayName }) }
      const edited = await store.edit(user.id, name, wanted)
      switch (edited.kind) {
        case 'absent':
          throw noSuchServer(user, name)
        case 'running':
          throw active
        case 'taken':
          throw taken
        case 'edited':
          changes.touchFacts(user.id)
          changes.touchRights(...edited.holders)
      }
      const server = edited.row.name
      if (server !== name)
        events.emit({ kind: 'server-renamed', user: user.name, server, from: name, by })
      return this.#stoppedView(user, edited.row)
    })
  }

  /**
   * Stops a named server, if need be, and deletes it. Resolves when that is written down; `gone` when
   * it is done, which survives a restart of the hub.
   * @throws {HubError} `invalid_request` for the default server, `server_not_found`.
   */
  async remove(user: User, name: string, by: string): Promise<{ readonly gone: Promise<unknown> }> {
    if (name === '') throw new HubError('invalid_request', 'The default server cannot be deleted.')
    return this.#deps.servers.exclusively(user, async () => {
      const { store, changes, events } = this.#deps
      const row = await store.find(user.id, name)
      if (!row) throw this.missing(user, name)
      const removed = async (): Promise<void> => {
        changes.touchRights(...((await store.delete(row.id)) ?? []))
        changes.touchFacts(user.id)
        events.emit({ kind: 'server-deleted', user: user.name, server: name, by })
      }
      const run = this.#deps.servers.run(user, name)
      if (!run) {
        await removed()
        return { gone: Promise.resolve() }
      }
      await run.stop(stoppedExit, { removing: true })
      const gone = run.ended.then(removed)
      gone.catch((error: unknown) =>
        this.#deps.log.warn(`server ${user.name}/${name} was not deleted`, {
          error: describeError(error),
        }),
      )
      return { gone }
    })
  }

  /** What a call about a server that is not there comes to. */
  missing(user: User, name: string): HubError {
    if (name !== '' && !this.#deps.named.allowNamedServers)
      return new HubError('invalid_request', 'Named servers are not enabled.')
    return noSuchServer(user, name)
  }

  /** The row of a server; made for a default server that has none yet. */
  async ensure(user: Pick<User, 'id'>, name: string): Promise<StoredServer | null> {
    return this.#deps.servers.exclusively(user, () => this.#ensured(user, name))
  }

  /** Every user has a default server. */
  async #exists(user: User, name: string): Promise<boolean> {
    return name === '' || (await this.#deps.store.find(user.id, name)) !== null
  }

  async #ensured(user: Pick<User, 'id'>, name: string): Promise<StoredServer | null> {
    const { store, driver, clock } = this.#deps
    const known = await store.find(user.id, name)
    if (known || name !== '') return known
    const now = clock()
    return store.create({
      userId: user.id,
      name,
      displayName: null,
      userOptions: null,
      spawner: driver,
      now,
    })
  }

  #stoppedView(user: User, row: StoredServer): ServerView {
    const prefix = this.#deps.urls.serverPrefix(user.name, row.name)
    return serverView({ user, name: row.name, row, prefix, state: null })
  }
}
