import { HubError } from '../../packages/core/errors.ts'
import type { Selectable } from 'kysely'
import type { Exit, Json } from '../../packages/core/spawner.ts'
import { type Database, prepared } from './database.ts'
import type { Schema } from './schema.ts'
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
export interface BeginStart {
  readonly userId: number
  readonly name: string
  readonly spawner: string
  /** Null reuses the options of the previous start. */
  readonly userOptions: Json
  readonly now: Date
  readonly deadline: Date
}

export interface ServerStore {
  find(userId: number, name: string): Promise<StoredServer | null>
  ofUser(userId: number): Promise<readonly StoredServer[]>
  /** Every server that is not stopped: what a starting hub has to look after. */
  active(): Promise<readonly StoredServer[]>
  /** Makes the row if needed and a new generation in state `starting`. */
  beginStart(start: BeginStart): Promise<StoredServer>
  /** @throws {HubError} `server_not_running` when that generation has ended: what is launched for it must not live. */
  saveSpawnerState(id: number, generation: number, state: Json): Promise<void>
  /** This and the next ignore a generation that has ended. */
  setUrl(id: number, generation: number, url: string): Promise<void>
  setState(
    id: number,
    generation: number,
    change: {
      readonly state: 'ready' | 'stopping'
      readonly now: Date
      readonly deadline: Date | null
    },
  ): Promise<void>
  /**
   * The end: state `stopped`, no url, spawner state cleared, and its token and OAuth client gone, in
   * one transaction. Resolves to the ids of the users who thereby lose tokens.
   */
  finish(id: number, generation: number, exit: Exit | null, now: Date): Promise<readonly number[]>
  recordActivity(entries: ReadonlyMap<number, Date>): Promise<void>
  delete(id: number): Promise<void>
}

type Row = Selectable<Schema['servers']> & { userName: string }

export function serverStore(database: Database): ServerStore {
  return { ...serverQueries(database), ...serverStart(database), ...serverChanges(database) }
}

const rowsOf = ({ db }: Database) =>
  db
    .selectFrom('servers')
    .innerJoin('users', 'users.id', 'servers.user_id')
    .selectAll('servers')
    .select('users.name as userName')

/** Finding servers. */
function serverQueries(database: Database): Pick<ServerStore, 'find' | 'ofUser' | 'active'> {
  const ofUser = prepared(
    database,
    rowsOf(database).where('user_id', '=', 0).orderBy('servers.name').compile(),
  )
  return {
    async find(userId, name) {
      const query = rowsOf(database).where('user_id', '=', userId).where('servers.name', '=', name)
      const row = await query.executeTakeFirst()
      return row ? fromRow(row) : null
    },

    async ofUser(userId) {
      return (await ofUser(userId)).map(fromRow)
    },

    async active() {
      return (await rowsOf(database).where('servers.state', '!=', 'stopped').execute()).map(fromRow)
    },
  }
}

/** A new run of a server. */
function serverStart(database: Database): Pick<ServerStore, 'beginStart'> {
  return {
    async beginStart({ userId, name, spawner, userOptions, now, deadline }) {
      const time = now.getTime()
      const options = JSON.stringify(userOptions)
      const { id } = await database.db
        .insertInto('servers')
        .values({
          user_id: userId,
          name,
          display_name: null,
          state: 'starting',
          url: null,
          spawner,
          spawner_state: 'null',
          user_options: options,
          last_options: options,
          last_exit: null,
          generation: 1,
          state_since_at: time,
          created_at: time,
          deadline_at: deadline.getTime(),
          started_at: time,
          last_activity_at: time,
        })
        .onConflict((conflict) =>
          conflict.columns(['user_id', 'name']).doUpdateSet((e) => ({
            state: 'starting',
            url: null,
            spawner,
            spawner_state: 'null',
            ...(userOptions === null ? {} : { user_options: options, last_options: options }),
            last_exit: null,
            generation: e('servers.generation', '+', 1),
            state_since_at: time,
            deadline_at: deadline.getTime(),
            started_at: time,
            last_activity_at: time,
          })),
        )
        .returning('id')
        .executeTakeFirstOrThrow()
      return fromRow(await rowsOf(database).where('servers.id', '=', id).executeTakeFirstOrThrow())
    },
  }
}

/** Changes within one run. */
function serverChanges({
  db,
}: Database): Pick<
  ServerStore,
  'saveSpawnerState' | 'setUrl' | 'setState' | 'finish' | 'recordActivity' | 'delete'
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

    async setState(id, generation, { state, now, deadline }) {
      await current(id, generation)
        .set({ state, state_since_at: now.getTime(), deadline_at: deadline?.getTime() ?? null })
        .execute()
    },

    async finish(id, generation, exit, now) {
      return db.transaction().execute(async (transaction) => {
        const result = await transaction
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
          })
          .executeTakeFirst()
        if (result.numUpdatedRows === 0n) return []
        const holders = await tokenHolders(transaction, (e) =>
          e.or([e('api_tokens.server_id', '=', id), e('oauth_clients.server_id', '=', id)]),
        )
        await transaction.deleteFrom('api_tokens').where('server_id', '=', id).execute()
        await transaction.deleteFrom('oauth_clients').where('server_id', '=', id).execute()
        return holders
      })
    },

    async recordActivity(entries) {
      await db.transaction().execute(async (transaction) => {
        for (const [id, at] of entries)
          await transaction
            .updateTable('servers')
            .set({ last_activity_at: at.getTime() })
            .where('id', '=', id)
            .where((e) =>
              e.or([e('last_activity_at', 'is', null), e('last_activity_at', '<', at.getTime())]),
            )
            .execute()
      })
    },

    async delete(id) {
      await db.deleteFrom('servers').where('id', '=', id).execute()
    },
  }
}

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
