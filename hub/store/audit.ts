import { CompiledQuery } from 'kysely'
import type { Database } from './database.ts'

/** Something worth remembering for longer than a log file. Names and reasons only, never secrets. */
export interface AuditEvent {
  readonly action: string
  readonly actor: string | null
  readonly target: string | null
  readonly peer: string | null
  readonly detail: Readonly<Record<string, string | number | boolean | null>>
}

export interface AuditStore {
  /** All of them or none, in their order. */
  append(events: readonly AuditEvent[], now: Date): Promise<void>
  /** Newest first. */
  latest(limit: number): Promise<readonly (AuditEvent & { readonly at: Date })[]>
}

const insertAll = `
  INSERT INTO audit_events (action, actor, target, peer, detail, at)
  SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
    json_extract(value, '$[3]'), json_extract(value, '$[4]'), ? FROM json_each(?)`

export function auditStore({ db }: Database): AuditStore {
  return {
    async append(events, now) {
      const rows = events.map(({ action, actor, target, peer, detail }) => [
        action,
        actor,
        target,
        peer,
        JSON.stringify(detail),
      ])
      await db.executeQuery(CompiledQuery.raw(insertAll, [now.getTime(), JSON.stringify(rows)]))
    },
    async latest(limit) {
      const query = db.selectFrom('audit_events').selectAll().orderBy('id', 'desc').limit(limit)
      return (await query.execute()).map((row) => ({
        action: row.action,
        actor: row.actor,
        target: row.target,
        peer: row.peer,
        detail: JSON.parse(row.detail) as AuditEvent['detail'],
        at: new Date(row.at),
      }))
    },
  }
}
