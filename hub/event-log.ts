import { appendFile } from 'node:fs/promises'
import { describeError } from '../packages/core/errors.ts'
import type { Events, HubEvent } from './events.ts'
import type { Log } from './log.ts'

/** An event as it stands in the log, under the schema that says what it means. */
interface Entry {
  readonly schema: string
  readonly facts: Readonly<Record<string, unknown>>
}

/** JupyterHub's own schema: `action`, `username` and `servername`, which is empty for the default server. */
const serverAction = 'https://schema.jupyter.org/jupyterhub/events/server-action'

/** Lines that wait while the disk does not take them; further ones are lost, with a line in the log. */
const most = 10_000

/**
 * Writes what happens to a file, one JSON line an event, in the form of jupyter-events: starts and
 * stops of servers under JupyterHub's schema, everything else as `urn:portico:event:KIND` with the
 * facts of the kind. The file is opened for each batch, so that it may be moved away at any time.
 * Returns how to end it, when all is written.
 * https://jupyterhub.readthedocs.io/en/stable/reference/event-logging.html
 */
export function writeEventLog({
  events,
  file,
  log,
  clock,
}: {
  readonly events: Events
  readonly file: string
  readonly log: Log
  readonly clock: () => Date
}): () => Promise<void> {
  let waiting: string[] = []
  let writing: Promise<void> | null = null

  const write = async (): Promise<void> => {
    while (waiting.length > 0) {
      const lines = waiting
      waiting = []
      try {
        await appendFile(file, `${lines.join('\n')}\n`, { mode: 0o600 })
      } catch (error) {
        log.error('events were not written to the event log', {
          file,
          lost: lines.length,
          error: describeError(error),
        })
      }
    }
    writing = null
  }
  const unsubscribe = events.on((event) => {
    if (waiting.length >= most) return
    waiting.push(lineOf(entryOf(event), clock()))
    writing ??= write()
  })
  return async () => {
    unsubscribe()
    await writing
  }
}

function lineOf({ schema, facts }: Entry, at: Date): string {
  return JSON.stringify({
    __timestamp__: at.toISOString(),
    __schema__: schema,
    __schema_version__: '1',
    __metadata_version__: 1,
    ...facts,
  })
}

function entryOf(event: HubEvent): Entry {
  if (event.kind === 'server-started') return serverEntry('start', event)
  if (event.kind === 'server-stopped') return serverEntry('stop', event)
  const { kind, ...facts } = event
  return { schema: `urn:portico:event:${kind}`, facts }
}

function serverEntry(
  action: 'start' | 'stop',
  { user, server }: { readonly user: string; readonly server: string },
): Entry {
  return { schema: serverAction, facts: { action, username: user, servername: server } }
}
