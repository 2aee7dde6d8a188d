import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { HubError } from 'portico/errors'
import {
  type Command,
  type StopLadder,
  type SupervisedProcess,
  adopt,
  launch,
  parseIdentity,
} from 'portico/process'
import type { ProxyContext } from 'portico/proxy'
import type { ProxyApi } from './api-client.ts'
import { portOwner, whyTaken } from './port-owner.ts'

/** What makes one proxy process different from another, besides its pid. */
export interface ProxyProgram {
  /** Program and the arguments that lead to it. */
  readonly command: Command
  /** Flags; a change of command or flags since the last run takes effect by a new process. */
  readonly flags: readonly string[]
  /** Added to the context's environment. Holds the token. */
  readonly env: Readonly<Record<string, string>>
  readonly apiUrl: URL
}

const startWithin = 15_000
const answerWithin = 5_000
const stopLadder: StopLadder = [
  ['SIGTERM', 4_000],
  ['SIGKILL', 5_000],
]

/** The proxy that this or an earlier run of the hub has started. */
export class ProxyProcess {
  readonly #program: ProxyProgram
  readonly #context: ProxyContext
  readonly #api: ProxyApi
  #supervised: SupervisedProcess | null = null
  readonly #onEnd: () => void

  /** `onEnd` is called when a proxy that was started here has ended; an adopted one's end is not told. */
  constructor(program: ProxyProgram, context: ProxyContext, api: ProxyApi, onEnd: () => void) {
    this.#program = program
    this.#context = context
    this.#api = api
    this.#onEnd = onEnd
  }

  isRunning(): boolean {
    return this.#supervised?.isRunning() ?? false
  }

  /**
   * Takes charge of the proxy of the last run when it is the same process with the same flags and
   * knows our token. One with other flags, or that does not answer, is ended. False when there is none.
   */
  async adopt(): Promise<boolean> {
    const saved = readSaved(this.#context.saved)
    if (saved === null) return false
    const found = adopt(saved.identity)
    if (!found.isRunning()) return false
    const { command, flags } = this.#program
    const hasOurFlags = isDeepStrictEqual([saved.command, saved.flags], [command, flags])
    if (hasOurFlags && (await this.#answers(answerWithin))) {
      this.#supervised = found
      this.#context.log.info(`found the proxy of the last run (pid ${saved.identity.pid})`)
      return true
    }
    const why = hasOurFlags ? 'does not answer' : 'runs with other settings'
    this.#context.log.info(
      `ending the proxy of the last run (pid ${saved.identity.pid}): it ${why}`,
    )
    await found.stop(stopLadder)
    return false
  }

  /**
   * Starts a proxy and waits until both its ports answer.
   * @throws {HubError} `proxy_unreachable`: a port is taken, or the program ended or did not answer.
   */
  async start(signal: AbortSignal): Promise<void> {
    const { command, flags, env, apiUrl } = this.#program
    const { bindUrl, logFile, log } = this.#context
    for (const url of [bindUrl, apiUrl]) await assertFree(url)
    const supervised = await launch({
      command: [...command, ...flags],
      env: { ...this.#context.env, ...env },
      logFile,
      signal,
      save: (identity) => this.#context.save({ identity: { ...identity }, command, flags }),
    })
    try {
      await this.#untilReady(supervised, signal)
    } catch (error) {
      await supervised.stop(stopLadder)
      throw error
    }
    this.#supervised = supervised
    void supervised.exited.then(this.#onEnd)
    log.info(`the proxy runs at ${bindUrl.origin} (pid ${supervised.identity.pid})`)
  }

  /** Ends the proxy, if there is one, and forgets it. */
  async stop(): Promise<void> {
    await this.#supervised?.stop(stopLadder)
    this.#supervised = null
    await this.#context.save(null)
  }

  async #untilReady(supervised: SupervisedProcess, signal: AbortSignal): Promise<void> {
    const { bindUrl, logFile } = this.#context
    const deadline = performance.now() + startWithin
    while (supervised.isRunning()) {
      signal.throwIfAborted()
      if ((await this.#answers(1_000)) && (await accepts(bindUrl))) return
      if (performance.now() > deadline) {
        const message = `the proxy did not answer within ${startWithin / 1000} s, see ${logFile}`
        throw new HubError('proxy_unreachable', message)
      }
      await sleep(50, undefined, { signal })
    }
    const { code, signal: by } = await supervised.exited
    const how = code === null ? `was ended by ${by}` : `exited with status ${code}`
    throw new HubError('proxy_unreachable', `the proxy ${how} at its start, see ${logFile}`)
  }

  /** Whether the API takes our token. */
  async #answers(milliseconds: number): Promise<boolean> {
    const asked = await this.#api.ask('GET', '/api/routes', milliseconds).catch(() => null)
    return asked?.status === 200
  }
}

interface Saved {
  readonly identity: NonNullable<ReturnType<typeof parseIdentity>>
  readonly command: unknown
  readonly flags: unknown
}

function readSaved(saved: unknown): Saved | null {
  if (typeof saved !== 'object' || saved === null) return null
  const { identity: json, command, flags } = saved as Record<string, unknown>
  const identity = parseIdentity(json)
  return identity && { identity, command, flags }
}

async function assertFree(url: URL): Promise<void> {
  const { host, port } = addressOf(url)
  const why = await whyTaken(host, port)
  if (why === null) return
  if (why !== 'EADDRINUSE') {
    throw new HubError('proxy_unreachable', `the proxy cannot listen at ${host}:${port} (${why})`)
  }
  const owner = (await portOwner(port)) ?? 'another program'
  throw new HubError(
    'proxy_unreachable',
    `port ${port} of ${host} is taken by ${owner}: end it, or configure another port`,
  )
}

async function accepts(url: URL): Promise<boolean> {
  const { host, port } = addressOf(url)
  const socket = connect({ host: host === '0.0.0.0' ? '127.0.0.1' : host, port })
  return new Promise((resolve) => {
    socket.setTimeout(1_000, () => socket.destroy())
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
    socket.once('connect', () => {
      resolve(true)
      socket.destroy()
    })
  })
}

/** Where a URL listens: its host without brackets, and its port. */
export function addressOf(url: URL): { readonly host: string; readonly port: number } {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  return { host, port }
}
