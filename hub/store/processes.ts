import type { Json } from '../../packages/core/spawner.ts'
import type { Database } from './database.ts'

/** Which process it is, beyond its pid: a pid alone may be somebody else's by now. */
export interface Identity {
  readonly pid: number
  readonly startTime: string
  readonly bootId: string
}

export interface ProcessStore {
  /** What a process of the hub (the proxy, `service NAME`) last saved, or null. */
  load(name: string): Promise<Json>
  save(name: string, data: Json): Promise<void>
  /** Names of all that are recorded. */
  names(): Promise<readonly string[]>
  forget(name: string): Promise<void>
}

export function processStore({ db }: Database): ProcessStore {
  return {
    async load(name) {
      const query = db.selectFrom('processes').select('data').where('name', '=', name)
      const row = await query.executeTakeFirst()
      return row ? (JSON.parse(row.data) as Json) : null
    },

    async save(name, data) {
      const identity = identityIn(data)
      const row = {
        pid: identity?.pid ?? 0,
        start_time: identity?.startTime ?? '',
        boot_id: identity?.bootId ?? '',
        data: JSON.stringify(data),
        recorded_at: Date.now(),
      }
      await db
        .insertInto('processes')
        .values({ name, ...row })
        .onConflict((conflict) => conflict.column('name').doUpdateSet(row))
        .execute()
    },

    async names() {
      const rows = await db.selectFrom('processes').select('name').orderBy('name').execute()
      return rows.map(({ name }) => name)
    },

    async forget(name) {
      await db.deleteFrom('processes').where('name', '=', name).execute()
    },
  }
}

/** Every process on this machine that the hub has recorded: the proxy and local servers. */
export async function listProcesses({
  db,
}: Database): Promise<readonly { readonly what: string; readonly identity: Identity }[]> {
  const own = await db.selectFrom('processes').select(['name', 'data']).execute()
  const servers = await db
    .selectFrom('servers')
    .innerJoin('users', 'users.id', 'servers.user_id')
    .select(['users.name as user', 'servers.name', 'spawner_state'])
    .where('state', '!=', 'stopped')
    .execute()
  return [
    ...servers.map((row) => ({
      what: `server ${row.user}/${row.name}`,
      identity: identityIn(JSON.parse(row.spawner_state)),
    })),
    ...own.map((row) => ({ what: row.name, identity: identityIn(JSON.parse(row.data)) })),
  ].flatMap(({ what, identity }) => (identity ? [{ what, identity }] : []))
}

/** The `identity` that process drivers put into their saved state. */
function identityIn(data: unknown): Identity | null {
  const identity = (data as { identity?: Partial<Record<keyof Identity, unknown>> } | null)
    ?.identity
  if (typeof identity?.pid !== 'number') return null
  return {
    pid: identity.pid,
    startTime: String(identity.startTime),
    bootId: String(identity.bootId),
  }
}
