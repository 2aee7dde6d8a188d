import { CompiledQuery, type Selectable } from 'kysely'
import { HubError } from '../../packages/core/errors.ts'
import type { Exit, Json } from '../../packages/core/spawner.ts'
import { type Database, listed, prepared } from './database.ts'
import type { Schema } from './schema.ts'
import { shareHolders } from './shares.ts'
import { tokenHolders } from './tokens.ts'

/** One server of one user as stored; the row of a stopped server keeps its options and its last end. */
export interface StoredServer {
  readonly id: number
  readonly userId: number
  readonly userName: string
  /** Empty for the default server. */
  readonly name: string
  readonly displayName: string | null
  readonly state: 'stopped' | 'starting' | 'ready' | 'stopping'
  readonly stateSince: Date
  /** Counts the starts: writes of an earlier run never touch a later one. */
  readonly generation: number
  readonly url: string | null
  readonly spawner: string
  readonly spawnerState: Json
  readonly userOptions: Json
  readonly lastExit: Exit | null
  readonly startedAt: Date | null
  readonly lastActivityAt: Date | null
}

/** What a start writes before anything is launched. */
export interface BeginStart extends NewServer {
  readonly deadline: Date
}

/** A server as it is made. */
export interface NewServer {
  readonly userId: number
  readonly name: string
  /** Null keeps the one it has. */
  readonly displayName: string | null
  readonly spawner: string
  /** Null reuses the options of the previous start. */
  readonly userOptions: Json
  readonly now: Date
}

/** What may change of a server that is stopped; what is absent stays. */
export interface ServerEdit {
  readonly name?: string
  readonly displayName?: string | null
  readonly userOptions?: Json
}

/** What became of an edit. `holders` are the users whose rights name the server. */
export type Edited =
  | { readonly kind: 'edited'; readonly row: StoredServer; readonly holders: readonly number[] }
  | { readonly kind: 'absent' | 'running' | 'taken' }

export interface ServerStore {
  find(userId: number, name: string): Promise<StoredServer | null>
  ofUser(userId: number): Promise<readonly StoredServer[]>
  /** All servers of these users, in the order of their names. */
  ofUsers(userIds: readonly number[]): Promise<readonly StoredServer[]>
  /** Every server that is not stopped: what a starting hub has to look after. */
  active(): Promise<readonly StoredServer[]>
  /** Stopped servers with a name, of everybody. */
  stoppedNamed(): Promise<readonly StoredServer[]>
  /** How many servers with a name this user has, running or not. */
  countNamed(userId: number): Promise<number>
  /** Makes a stopped server; null when there is one of this name. @throws {HubError} `user_not_found`. */
  create(server: NewServer): Promise<StoredServer | null>
  /** Changes a stopped server; `name` and what else is given change together. */
  edit(userId: number, name: string, edit: ServerEdit): Promise<Edited>
  /** Makes the row if needed and a new generation in state `starting`. @throws {HubError} `user_not_found`. */
  beginStart(start: BeginStart): Promise<StoredServer>
  /** @throws {HubError} `server_not_running` when that generation has ended: what is launched for it must not live. */
  saveSpawnerState(id: number, generation: number, state: Json): Promise<void>
  /** This and the next ignore a generation that has ended. */
  setUrl(id: number, generation: number, url: string): Promise<void>
  /** With `removing`, the row goes at the end of the run. */
  setState(
    id: number,
    generation: number,
    change: {
      readonly state: 'ready' | 'stopping'
      readonly now: Date
      readonly deadline: Date | null
      readonly removing?: boolean
    },
  ): Promise<void>
  /**
   * The end: state `stopped`, no url, spawner state cleared, and its token and OAuth client gone, in
   * one transaction; the whole row, when it was to be removed. Resolves to the ids of the users
   * whose tokens or rights go with it.
   */
  finish(id: number, generation: number, exit: Exit | null, now: Date): Promise<readonly number[]>
  recordActivity(entries: ReadonlyMap<number, Date>): Promise<void>
  /** Removes a stopped server; null when it runs or does not exist, else whose rights go with it. */
  delete(id: number): Promise<readonly number[] | null>
}

type Row = Selectable<Schema['servers']> & { userName: string }

export function serverStore(database: Database): ServerStore {
  return {
    ...serverQueries(database),
    ...serverStart(database),
    ...serverChanges(database),
    ...serverEdits(database),
  }
}

const rowsOf = (db: Database['db']) =>
  db
    .selectFrom('servers')
    .innerJoin('users', 'users.id', 'servers.user_id')
    .selectAll('servers')
    .select('users.name as userName')

/** Finding servers. */
function serverQueries(
  database: Database,
): Pick<ServerStore, 'find' | 'ofUser' | 'ofUsers' | 'active' | 'stoppedNamed' | 'countNamed'> {
  const { db } = database
  const rows = rowsOf(db)
  const find = prepared(
    database,
    rows.where('user_id', '=', 0).where('servers.name', '=', '').compile(),
  )
  const ofUser = prepared(database, rows.where('user_id', '=', 0).orderBy('servers.name').compile())
  const ofUsers = prepared(
    database,
    rows.where('user_id', 'in', listed('[]')).orderBy('servers.name').compile(),
  )
  const counted = db
    .selectFrom('servers')
    .select((e) => e.fn.countAll<number>().as('count'))
    .where('user_id', '=', 0)
    .where('name', '!=', '')
  const countNamed = prepared(database, counted.compile())
  return {
    async find(userId, name) {
      const [row] = await find(userId, name)
      return row ? fromRow(row) : null
    },

    async ofUser(userId) {
      return (await ofUser(userId)).map(fromRow)
    },

    async ofUsers(userIds) {
      return (await ofUsers(JSON.stringify(userIds))).map(fromRow)
    },

    async active() {
      return (await rows.where('servers.state', '!=', 'stopped').execute()).map(fromRow)
    },

    async stoppedNamed() {
      const query = rows.where('servers.state', '=', 'stopped').where('servers.name', '!=', '')
      return (await query.execute()).map(fromRow)
    },

    async countNamed(userId) {
      const [row] = await countNamed(userId, '')
      return row?.count ?? 0
    },
  }
}

/** A new run of a server. */
function serverStart({ db }: Database): Pick<ServerStore, 'beginStart'> {
  return {
    async beginStart(start) {
      const { spawner, userOptions, displayName, now, deadline } = start
      const time = now.getTime()
      const begun = {
        state: 'starting',
        url: null,
        spawner,
        spawner_state: 'null',
        last_exit: null,
        state_since_at: time,
        deadline_at: deadline.getTime(),
        started_at: time,
        last_activity_at: time,
      } as const
      return db.transaction().execute(async (transaction) => {
        await requireUser(transaction, start.userId)
        const options = JSON.stringify(userOptions)
        const { id } = await transaction
          .insertInto('servers')
          .values({ ...newRow(start), ...begun, generation: 1 })
          .onConflict((conflict) =>
            conflict.columns(['user_id', 'name']).doUpdateSet((e) => ({
              ...begun,
              ...(userOptions === null ? {} : { user_options: options, last_options: options }),
              ...(displayName === null ? {} : { display_name: displayName }),
              generation: e('servers.generation', '+', 1),
            })),
          )
          .returning('id')
          .executeTakeFirstOrThrow()
        return byId(transaction, id)
      })
    },
  }
}

async function byId(db: Database['db'], id: number): Promise<StoredServer> {
  return fromRow(await rowsOf(db).where('servers.id', '=', id).executeTakeFirstOrThrow())
}

async function requireUser(db: Database['db'], userId: number): Promise<void> {
  const found = await db.selectFrom('users').select('id').where('id', '=', userId).execute()
  if (found.length === 0) throw new HubError('user_not_found', 'the user does not exist any more')
}

function newRow({ userId, name, displayName, spawner, userOptions, now }: NewServer) {
  const options = JSON.stringify(userOptions)
  return {
    user_id: userId,
    name,
    display_name: displayName,
    state: 'stopped',
    url: null,
    spawner,
    spawner_state: 'null',
    user_options: options,
    last_options: options,
    last_exit: null,
    generation: 0,
    state_since_at: now.getTime(),
    created_at: now.getTime(),
    deadline_at: null,
    started_at: null,
    last_activity_at: null,
  } as const
}

/** Making, changing and removing servers that do not run. */
function serverEdits({ db }: Database): Pick<ServerStore, 'create' | 'edit' | 'delete'> {
  return {
    async create(server) {
      return db.transaction().execute(async (transaction) => {
        await requireUser(transaction, server.userId)
        const row = await transaction
          .insertInto('servers')
          .values(newRow(server))
          .onConflict((conflict) => conflict.columns(['user_id', 'name']).doNothing())
          .returning('id')
          .executeTakeFirst()
        return row ? byId(transaction, row.id) : null
      })
    },

    async edit(userId, name, edit) {
      return db.transaction().execute(async (transaction): Promise<Edited> => {
        const rows = rowsOf(transaction).where('user_id', '=', userId)
        const row = await rows.where('servers.name', '=', name).executeTakeFirst()
        if (!row) return { kind: 'absent' }
        if (row.state !== 'stopped') return { kind: 'running' }
        if (edit.name !== undefined && edit.name !== name) {
          const other = await rows.where('servers.name', '=', edit.name).executeTakeFirst()
          if (other) return { kind: 'taken' }
        }
        const holders = await shareHolders(transaction, row.id)
        const options = JSON.stringify(edit.userOptions ?? null)
        await transaction
          .updateTable('servers')
          .set({
            name: edit.name ?? name,
            ...(edit.displayName === undefined ? {} : { display_name: edit.displayName }),
            ...(edit.userOptions === undefined
              ? {}
              : { user_options: options, last_options: options }),
          })
          .where('id', '=', row.id)
          .execute()
        return { kind: 'edited', row: await byId(transaction, row.id), holders }
      })
    },

    async delete(id) {
      return db.transaction().execute(async (transaction) => {
        const holders = await shareHolders(transaction, id)
        const { numDeletedRows } = await transaction
          .deleteFrom('servers')
          .where('id', '=', id)
          .where('state', '=', 'stopped')
          .executeTakeFirst()
        return numDeletedRows === 0n ? null : holders
      })
    },
  }
}

/** Changes within one run. */
function serverChanges({
  db,
}: Database): Pick<
  ServerStore,
  'saveSpawnerState' | 'setUrl' | 'setState' | 'finish' | 'recordActivity'
> {
  const current = (id: number, generation: number) =>
    db
      .updateTable('servers')
      .where('id', '=', id)
      .where('generation', '=', generation)
      .where('state', '!=', 'stopped')
  return {
    async saveSpawnerState(id, generation, state) {
      const query = current(id, generation).set({ spawner_state: JSON.stringify(state) })
      const { numUpdatedRows } = await query.executeTakeFirst()
      if (numUpdatedRows === 0n)
        throw new HubError('server_not_running', 'this start of the server is over')
    },

    async setUrl(id, generation, url) {
      await current(id, generation).set({ url }).execute()
    },

    async setState(id, generation, { state, now, deadline, removing = false }) {
      await current(id, generation)
        .set({
          state,
          state_since_at: now.getTime(),
          deadline_at: deadline?.getTime() ?? null,
          ...(removing ? { removing: 1 } : {}),
        })
        .execute()
    },

    async finish(id, generation, exit, now) {
      return db.transaction().execute(async (transaction) => {
        const ended = await transaction
          .updateTable('servers')
          .where('id', '=', id)
          .where('generation', '=', generation)
          .set({
            state: 'stopped',
            url: null,
            spawner_state: 'null',
            last_exit: exit === null ? null : JSON.stringify(exit),
            state_since_at: now.getTime(),
            deadline_at: null,
            started_at: null,
            last_activity_at: now.getTime(),
          })
          .returning('removing')
          .executeTakeFirst()
        if (!ended) return []
        const holders = await tokenHolders(transaction, (e) =>
          e.or([e('api_tokens.server_id', '=', id), e('oauth_clients.server_id', '=', id)]),
        )
        await transaction.deleteFrom('api_tokens').where('server_id', '=', id).execute()
        await transaction.deleteFrom('oauth_clients').where('server_id', '=', id).execute()
        if (ended.removing === 0) return holders
        const others = await shareHolders(transaction, id)
        await transaction.deleteFrom('servers').where('id', '=', id).execute()
        return [...holders, ...others]
      })
    },

    async recordActivity(entries) {
      const times = JSON.stringify([...entries].map(([id, at]) => [id, at.getTime()]))
      await db.executeQuery(CompiledQuery.raw(laterActivity, [times]))
    },
  }
}

const laterActivity = `
  UPDATE servers SET last_activity_at = latest.at
  FROM (SELECT json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS at FROM json_each(?)) AS latest
  WHERE servers.id = latest.id AND (last_activity_at IS NULL OR last_activity_at < latest.at)`

const date = (time: number | null): Date | null => (time === null ? null : new Date(time))

function fromRow(row: Row): StoredServer {
  return {
    id: row.id,
    userId: row.user_id,
    userName: row.userName,
    name: row.name,
    displayName: row.display_name,
    state: row.state,
    stateSince: new Date(row.state_since_at),
    generation: row.generation,
    url: row.url,
    spawner: row.spawner,
    spawnerState: JSON.parse(row.spawner_state) as Json,
    userOptions: JSON.parse(row.user_options) as Json,
    lastExit: row.last_exit === null ? null : (JSON.parse(row.last_exit) as Exit),
    startedAt: date(row.started_at),
    lastActivityAt: date(row.last_activity_at),
  }
}
