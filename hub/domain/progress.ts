import { once } from 'node:events'

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
  readonly #news = new EventTarget()
  #ended = false

  get events(): readonly ProgressEvent[] {
    return this.#events
  }

  add(event: ProgressEvent): void {
    if (this.#ended || this.#events.length >= most) return
    this.#events.push(event)
    this.#news.dispatchEvent(new Event('news'))
  }

  /** Adds the last event; whoever follows sees it and ends. */
  end(event: ProgressEvent): void {
    if (this.#ended) return
    this.#events.push(event)
    this.#ended = true
    this.#news.dispatchEvent(new Event('news'))
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
}
