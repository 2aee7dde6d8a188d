import http from 'node:http'
import https from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { HubError, describeError } from 'portico/errors'

export interface ProxyApiOptions {
  /** Without a slash at its end. */
  readonly apiUrl: string
  readonly token: string
  /** How many requests may be under way at once. */
  readonly concurrency: number
  /** Ends everything under way when the driver stops. */
  readonly signal: AbortSignal
}

export interface ApiReply {
  readonly status: number
  readonly text: string
}

/** How long one request is tried, and each attempt of it, in milliseconds. */
const tryFor = 30_000
const attemptFor = 20_000
const longestPause = 5_000

/** The REST calls of a proxy's `/api/routes`, with the token, a limit on their number, and patience. */
export class ProxyApi {
  #options: ProxyApiOptions
  #agent: http.Agent
  #running = 0
  readonly #waiting: (() => void)[] = []

  constructor(options: ProxyApiOptions) {
    this.#options = options
    this.#agent = agentFor(options.apiUrl)
  }

  /** From now on asks there, with that token; absent parts stay. */
  move(to: { readonly apiUrl?: string; readonly token?: string }): void {
    this.#agent.destroy()
    this.#options = { ...this.#options, ...to }
    this.#agent = agentFor(this.#options.apiUrl)
  }

  /**
   * Sends until the proxy gives an answer below 500, for at most 30 s.
   * @throws {HubError} `proxy_unreachable` with the cause, also when the token is refused.
   */
  async send(method: string, path: string, body?: unknown): Promise<ApiReply> {
    await this.#enter()
    try {
      return await this.#sendPatiently(method, path, body)
    } finally {
      this.#leave()
    }
  }

  /**
   * Asks once, out of turn.
   * @throws what the connection fails with.
   */
  ask(method: string, path: string, milliseconds: number, body?: unknown): Promise<ApiReply> {
    return this.#exchange(method, path, milliseconds, body)
  }

  /** Lets go of kept connections. */
  close(): void {
    this.#agent.destroy()
  }

  async #sendPatiently(method: string, path: string, body: unknown): Promise<ApiReply> {
    const { apiUrl, signal } = this.#options
    const deadline = performance.now() + tryFor
    for (let pause = 50; ; pause = Math.min(pause * 2, longestPause)) {
      const reply = await this.ask(method, path, attemptFor, body).catch((error: Error) => error)
      if (!(reply instanceof Error) && reply.status < 500) return accepted(apiUrl, reply)
      if (signal.aborted || performance.now() + pause > deadline) throw unreachable(apiUrl, reply)
      await sleep(pause, undefined, { signal }).catch(() => {})
    }
  }

  async #exchange(
    method: string,
    path: string,
    milliseconds: number,
    body: unknown,
  ): Promise<ApiReply> {
    const { apiUrl, token, signal } = this.#options
    signal.throwIfAborted()
    const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
    const headers: http.OutgoingHttpHeaders = { authorization: `token ${token}` }
    if (bytes) headers['content-type'] = 'application/json'
    if (bytes) headers['content-length'] = bytes.length
    const { request } = apiUrl.startsWith('https:') ? https : http
    const outgoing = request(`${apiUrl}${path}`, { method, headers, agent: this.#agent })
    const timer = setTimeout(() => outgoing.destroy(new Error('it is too slow')), milliseconds)
    const abort = () => outgoing.destroy(new Error('the hub stops'))
    signal.addEventListener('abort', abort)
    outgoing.end(bytes)
    try {
      return await replyTo(outgoing)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', abort)
      outgoing.on('error', () => {})
    }
  }

  async #enter(): Promise<void> {
    if (this.#running < this.#options.concurrency) {
      this.#running += 1
      return
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Hands the place over to whoever waits longest. */
  #leave(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#running -= 1
  }
}

function replyTo(outgoing: http.ClientRequest): Promise<ApiReply> {
  return new Promise((resolve, reject) => {
    outgoing.once('error', reject)
    outgoing.once('response', (answer) => {
      answer.setEncoding('utf8')
      let text = ''
      answer.on('data', (chunk: string) => (text += chunk))
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }))
      answer.once('error', reject)
    })
  })
}

function accepted(apiUrl: string, reply: ApiReply): ApiReply {
  if (reply.status !== 403) return reply
  throw new HubError(
    'proxy_unreachable',
    `the proxy at ${apiUrl} refuses our token: give both sides the same CONFIGPROXY_AUTH_TOKEN`,
  )
}

function unreachable(apiUrl: string, last: ApiReply | Error): HubError {
  if (!(last instanceof Error)) {
    return new HubError('proxy_unreachable', `the proxy at ${apiUrl} answers ${last.status}`)
  }
  const message = `the proxy at ${apiUrl} does not answer (${describeError(last)})`
  return new HubError('proxy_unreachable', message, { cause: last })
}

function agentFor(apiUrl: string): http.Agent {
  const keep = { keepAlive: true, maxFreeSockets: 2, timeout: attemptFor }
  return apiUrl.startsWith('https:') ? new https.Agent(keep) : new http.Agent(keep)
}
