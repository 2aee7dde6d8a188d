import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { EventFeed, FedEvent } from '../domain/event-feed.ts'
import { type Endpoint, endpoint } from './endpoint.ts'

export interface EventsApiDeps {
  readonly feed: EventFeed
}

/** Longest time that a client may take to read what was sent, in ms. */
const slowest = 30_000

/** What happens in the hub, as server-sent events. No JupyterHub call: its clients poll. */
export function eventEndpoints({ feed }: EventsApiDeps): readonly Endpoint[] {
  return [
    endpoint({
      method: 'GET',
      path: '/events',
      summary: 'What happens in the hub, as server-sent events',
      access: { by: 'anyone' },
      answers: {
        200: 'A stream of events, those that the caller may see; `gap` says that some are missing',
        429: 'Too many streams are open',
      },
      handle({ caller, context }) {
        const left = new AbortController()
        const events = feed.follow({
          caller,
          after: context.header('last-event-id'),
          identify: () => context.stillCaller(),
          signal: left.signal,
        })
        return {
          kind: 'stream',
          type: 'text/event-stream',
          async write(res, signal) {
            signal.addEventListener('abort', () => left.abort())
            if (signal.aborted) left.abort()
            for await (const event of events)
              if (!(await sent(res, signal, event))) return void res.destroy()
          },
        }
      },
    }),
  ]
}

/** Writes one event, or a comment that keeps the connection; false when the client does not read. */
async function sent(
  res: ServerResponse,
  signal: AbortSignal,
  event: FedEvent | null,
): Promise<boolean> {
  const text = event ? `id: ${event.id}\ndata: ${JSON.stringify(event.facts)}\n\n` : ':\n\n'
  if (res.write(text)) return true
  try {
    await once(res, 'drain', { signal: AbortSignal.any([signal, AbortSignal.timeout(slowest)]) })
    return true
  } catch {
    return signal.aborted
  }
}
