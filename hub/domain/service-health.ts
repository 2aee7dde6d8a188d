import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../log.ts'
import { ask } from './readiness.ts'

/** Where the hub looks whether a service answers. */
export interface ServiceAddress {
  readonly name: string
  /** Origin and prefix. */
  readonly url: string
}

/** Whether services answer: a line in the log for every change, nothing else. */
export class ServiceHealth {
  readonly #log: Log
  readonly #signal: AbortSignal
  readonly #isUp = new Map<string, boolean>()

  /** `signal` ends all looking. */
  constructor(log: Log, signal: AbortSignal) {
    this.#log = log
    this.#signal = signal
  }

  /** Looks once, or until the service answers or `patience` seconds are over. Never throws. */
  async lookAt({ name, url }: ServiceAddress, patience: number): Promise<void> {
    const why = await this.#firstAnswer(url, patience)
    if (this.#signal.aborted) return
    const before = this.#isUp.get(name)
    this.#isUp.set(name, why === null)
    if (why === null && before !== true) this.#log.info(`service ${name} answers`, { url })
    if (why !== null && before !== false)
      this.#log.warn(`service ${name} does not answer`, { url, why })
  }

  forget(name: string): void {
    this.#isUp.delete(name)
  }

  /** Null when it answers (any status below 500, as JupyterHub has it), else why not. */
  async #firstAnswer(url: string, patience: number): Promise<string | null> {
    const deadline = performance.now() + patience * 1000
    for (let pause = 50; ; pause = Math.min(2 * pause, 2000)) {
      const answer = await ask(url, this.#signal)
      if (typeof answer === 'number' && answer < 500) return null
      if (performance.now() + pause > deadline || this.#signal.aborted)
        return typeof answer === 'number' ? `status ${answer}` : answer
      await sleep(pause, undefined, { signal: this.#signal }).catch(() => {})
    }
  }
}
