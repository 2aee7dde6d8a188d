import { setTimeout as sleep } from 'node:timers/promises'
import { describeError } from '../core/errors.ts'
import { hubRequest, type HubAuthConfig } from '../hub-auth/index.ts'

/** Milliseconds after which a report that keeps failing is left to the next one. */
const patience = 60_000

/**
 * Tells the hub when its server was last used, so that idle ones can be culled: once at start,
 * then every `interval` seconds (give or take a tenth) if anything happened since.
 */
export class Activity {
  readonly #hub: HubAuthConfig
  readonly #interval: number
  readonly #log: (line: string) => void
  #last = new Date()
  #reported: Date | null = null

  constructor(hub: HubAuthConfig, interval: number, log: (line: string) => void) {
    this.#hub = hub
    this.#interval = interval
    this.#log = log
  }

  /** Someone did something. */
  touch(): void {
    this.#last = new Date()
  }

  /** Reports until aborted. Failures are logged, never thrown. */
  async report(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#last !== this.#reported) await this.#deliver(signal)
      const pause = this.#interval * 1000 * (0.9 + Math.random() * 0.2)
      await sleep(pause, null, { signal, ref: false }).catch(() => null)
    }
  }

  async #deliver(signal: AbortSignal): Promise<void> {
    const last = this.#last
    const deadline = performance.now() + patience
    for (let pause = 1000; !signal.aborted; pause = Math.min(pause * 2, 15_000)) {
      const problem = await this.#post(last)
      if (problem === null) {
        this.#reported = last
        return
      }
      if (performance.now() + pause > deadline) {
        this.#log(`activity could not be reported: ${problem}`)
        return
      }
      await sleep(pause, null, { signal, ref: false }).catch(() => null)
    }
  }

  /** Null when the hub took it. */
  async #post(last: Date): Promise<string | null> {
    const { activityUrl, apiToken, serverName } = this.#hub
    if (activityUrl === undefined) return null
    const at = last.toISOString()
    const body = JSON.stringify({
      servers: { [serverName]: { last_activity: at } },
      last_activity: at,
    })
    const headers = { authorization: `token ${apiToken}`, 'content-type': 'application/json' }
    try {
      const { status } = await hubRequest(activityUrl, { method: 'POST', headers, body })
      return status >= 200 && status < 300 ? null : `the hub answers ${status}`
    } catch (error) {
      return describeError(error)
    }
  }
}
