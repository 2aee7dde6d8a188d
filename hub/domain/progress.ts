import { once } from 'node:events'
import type { Exit } from '../../packages/core/spawner.ts'

/** One line of a start, as the progress stream sends it (wire section 4). */
export interface ProgressEvent {
  readonly progress: number
  readonly message: string
  readonly ready?: true
  readonly failed?: true
  readonly url?: string
  readonly html_message?: string
}

const most = 500

/** What has happened in one start so far; people may join late and still see all of it. */
export class Progress {
  readonly #events: ProgressEvent[] = []
  readonly #times: string[] = []
  readonly #news = new EventTarget()
  #ended = false

  /** Everything so far, each with its time in ISO 8601. */
  get events(): readonly (ProgressEvent & { readonly at: string })[] {
    return this.#events.map((event, index) => ({ ...event, at: this.#times[index] ?? '' }))
  }

  add(event: ProgressEvent): void {
    if (this.#ended || this.#events.length >= most) return
    this.#append(event)
  }

  /** Adds the last event; whoever follows sees it and ends. */
  end(event: ProgressEvent): void {
    if (this.#ended) return
    this.#ended = true
    this.#append(event)
  }

  /** All events from the first one on; ends after the last one or when `signal` aborts. */
  async *follow(signal: AbortSignal): AsyncGenerator<ProgressEvent> {
    for (let next = 0; !signal.aborted;) {
      const event = this.#events[next]
      if (event) {
        next += 1
        yield event
      } else if (this.#ended) return
      else await once(this.#news, 'news', { signal }).catch(() => {})
    }
  }
  #append(event: ProgressEvent): void {
    this.#events.push(event)
    this.#times.push(new Date().toISOString())
    this.#news.dispatchEvent(new Event('news'))
  }
}

/** The last event of a start that went well; `url` is the server's path. */
export function readyEvent(url: string): ProgressEvent {
  return {
    progress: 100,
    ready: true,
    message: `Server ready at ${url}`,
    html_message: `Server ready at <a href="${url}">${url}</a>`,
    url,
  }
}

/** The last event of a start that did not. */
export function failedEvent({ cause, message }: Pick<Exit, 'cause' | 'message'>): ProgressEvent {
  const text = cause === 'cancelled' ? 'Spawn cancelled' : `Spawn failed: ${message}`
  return { progress: 100, failed: true, message: text }
}
