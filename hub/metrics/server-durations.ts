import type { Events, HubEvent } from '../events.ts'
import { type Metrics, stopwatch } from '../metrics.ts'

type ServerEvent = Extract<HubEvent, { readonly server: string }>

/**
 * How long starts and stops take and how many servers run, as the events tell it. A server that dies
 * by itself is no stop.
 */
export function measureServers(
  events: Events,
  metrics: Pick<Metrics, 'spawned' | 'serverStopped'>,
): { readonly running: () => number; readonly stop: () => void } {
  const running = new Set<string>()
  const starting = new Map<string, () => number>()
  const stopping = new Map<string, () => number>()
  const take = (clocks: Map<string, () => number>, key: string): number | null => {
    const seconds = clocks.get(key)
    clocks.delete(key)
    return seconds ? seconds() : null
  }
  const ended = (key: string, reason: string): void => {
    running.delete(key)
    const spawn = take(starting, key)
    const stop = take(stopping, key)
    if (spawn !== null) metrics.spawned(spawn, { status: 'failure', reason })
    else if (stop !== null && reason === 'stopped') metrics.serverStopped(stop, true)
  }
  const listen = (event: ServerEvent): void => {
    const key = `${event.user}/${event.server}`
    if (event.kind === 'server-starting') starting.set(key, stopwatch())
    if (event.kind === 'server-stopping') stopping.set(key, stopwatch())
    if (event.kind === 'server-refused')
      metrics.spawned(0, { status: 'failure', reason: event.cause })
    if (event.kind === 'server-adopted') running.add(key)
    if (event.kind === 'server-started') {
      running.add(key)
      const seconds = take(starting, key)
      if (seconds !== null) metrics.spawned(seconds, { status: 'success', reason: '' })
    }
    if (event.kind === 'server-stopped') ended(key, 'stopped')
    if (event.kind === 'server-failed') ended(key, event.cause)
  }
  const stop = events.on((event) => {
    if ('server' in event) listen(event)
  })
  return { running: () => running.size, stop }
}
