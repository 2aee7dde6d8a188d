import { describeError } from '../packages/core/errors.ts'
import type { Events, HubEvent } from './events.ts'
import type { Log } from './log.ts'
import type { AuditEvent, AuditStore } from './store/audit.ts'

/** Steps on the way to something that is recorded itself. */
const passing: ReadonlySet<HubEvent['kind']> = new Set([
  'server-starting',
  'server-stopping',
  'server-adopted',
  'server-refused',
])

/** Writes what happens into the audit table; what cannot be written is a line in the log. */
export function recordAudit({
  events,
  audit,
  log,
  clock,
}: {
  readonly events: Events
  readonly audit: AuditStore
  readonly log: Log
  readonly clock: () => Date
}): void {
  let waiting: AuditEvent[] = []
  const write = (): void => {
    const batch = waiting
    waiting = []
    audit
      .append(batch, clock())
      .catch((error: unknown) =>
        log.warn(`${batch.length} audit events were not written`, { error: describeError(error) }),
      )
  }
  events.on((event) => {
    if (passing.has(event.kind)) return
    // What happens at once, such as the making of a hundred users, is written at once.
    if (waiting.push(auditEvent(event)) === 1) queueMicrotask(write)
  })
}

function auditEvent(event: HubEvent): AuditEvent {
  const facts: Readonly<Record<string, string | boolean | readonly string[] | undefined>> = {
    ...event,
  }
  const { kind: _kind, user, group, service, by, peer, ...rest } = facts
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null)
  return {
    action: event.kind,
    actor: text(by),
    target: text(user) ?? text(group) ?? text(service),
    peer: text(peer),
    detail: Object.fromEntries(
      Object.entries(rest).map(([name, value]) => [
        name,
        typeof value === 'object' ? value.join(', ') : (value ?? null),
      ]),
    ),
  }
}
