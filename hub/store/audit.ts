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
  append(event: AuditEvent, now: Date): Promise<void>
  /** Newest first. */
  latest(limit: number): Promise<readonly (AuditEvent & { readonly at: Date })[]>
}

export function auditStore({ db }: Database): AuditStore {
  return {
    async append({ action, actor, target, peer, detail }, now) {
      const row = { action, actor, target, peer, detail: JSON.stringify(detail), at: now.getTime() }
      await db.insertInto('audit_events').values(row).execute()
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
