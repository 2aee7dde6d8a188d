import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type PollResult, StartFailed } from '../../packages/core/spawner.ts'

/** Longest pause between two tries, in ms; the first is a tenth of it. */
const longestPause = 2000

/**
 * Waits until a server answers `GET {url}` with any status below 500, redirects not followed
 * (JupyterHub's readiness rule). Asks `poll` in between, so that a server that died is noticed at
 * once rather than at the deadline.
 * @throws {StartFailed} `http-never-answered`, or what `poll` found.
 */
export async function waitForHttp(options: {
  readonly url: string
  readonly timeoutSeconds: number
  readonly poll: () => Promise<PollResult>
  readonly signal: AbortSignal
}): Promise<void> {
  const { url, timeoutSeconds, poll, signal } = options
  const deadline = performance.now() + timeoutSeconds * 1000
  let last = 'no answer'
  for (let pause = 50; performance.now() < deadline; pause = Math.min(pause * 1.6, longestPause)) {
    signal.throwIfAborted()
    const answer = await ask(url, signal)
    if (typeof answer === 'number' && answer < 500) return
    last = typeof answer === 'number' ? `status ${answer}` : answer
    const state = await poll()
    if (state.kind === 'exited') throw new StartFailed(state.exit)
    await sleep(pause, undefined, { signal })
  }
  throw new StartFailed({
    cause: 'http-never-answered',
    code: null,
    message:
      `the server was started but did not answer within ${timeoutSeconds} seconds (${last}). ` +
      'It may be slow (raise spawner.httpTimeout), or not reachable from the hub at its address',
  })
}

/** The status of a GET, redirects not followed, or why there is none within five seconds. Not by `fetch`, whose code alone takes a hub several MiB. */
export async function ask(url: string, signal: AbortSignal): Promise<number | string> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(5000)])
  const { get } = url.startsWith('https:') ? await import('node:https') : http
  return new Promise((resolve) => {
    const request = get(url, { agent: false, signal: limit }, (response) => {
      resolve(response.statusCode ?? 500)
      response.destroy()
    })
    request.on('error', (error) => resolve(error.message))
  })
}
