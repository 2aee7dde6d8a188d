import { Agent, request } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'

/** One answer of the proxy to a request for a user's server. */
export interface Answer {
  readonly user: string
  readonly path: string
  /** 0 when there was no answer. */
  readonly status: number
  readonly retryAfter: string | null
  /** Who answered, when it was a single-user server. */
  readonly by: { readonly user: string; readonly prefix: string; readonly pid: number } | null
}

/** Asks the servers of some users through the proxy, one request after the other, until it is stopped. */
export class Traffic {
  readonly answers: Answer[] = []
  readonly #origin: string
  readonly #agent = new Agent({ keepAlive: true })
  #stopped = false
  #done: Promise<unknown> = Promise.resolve()

  constructor(origin: string) {
    this.#origin = origin
  }

  /** Each path of each user every `pause` ms. */
  run(users: readonly string[], paths: readonly string[], pause: number): void {
    const loops = users.flatMap((user) => paths.map((path) => this.#loop(user, path, pause)))
    this.#done = Promise.all([this.#done, ...loops])
  }

  async stop(): Promise<readonly Answer[]> {
    this.#stopped = true
    await this.#done
    this.#agent.destroy()
    return this.answers
  }

  /** Answers of a server that is not the one that was asked. There must be none, ever. */
  get wrong(): readonly Answer[] {
    return this.answers.filter(({ user, by }) => by !== null && by.user !== user)
  }

  async ask(user: string, path: string): Promise<Answer> {
    const none = { user, path, status: 0, retryAfter: null, by: null }
    const url = `${this.#origin}/user/${user}/${path}`
    const answer = await new Promise<Answer>((resolve) => {
      const outgoing = request(url, { agent: this.#agent, timeout: 20_000 }, (incoming) => {
        const { statusCode = 0, headers } = incoming
        const head = { user, path, status: statusCode, retryAfter: headers['retry-after'] ?? null }
        text(incoming).then(
          (body) => resolve({ ...head, by: statusCode === 200 ? serverIn(body) : null }),
          () => resolve(none),
        )
      })
      outgoing.on('timeout', () => outgoing.destroy())
      outgoing.on('error', () => resolve(none))
      outgoing.end()
    })
    this.answers.push(answer)
    return answer
  }

  async #loop(user: string, path: string, pause: number): Promise<void> {
    while (!this.#stopped) {
      await this.ask(user, path)
      await sleep(pause)
    }
  }
}

function serverIn(body: string): Answer['by'] {
  try {
    const { user, prefix, pid } = JSON.parse(body) as NonNullable<Answer['by']>
    return typeof pid === 'number' ? { user, prefix, pid } : null
  } catch {
    return null
  }
}
