import type { IncomingMessage } from 'node:http'
import type { Log } from './log.ts'

/** One answer, for the log and for metrics. */
export interface Answer {
  readonly req: IncomingMessage
  readonly status: number
  readonly peer: string
  /** The path below the base url, with names for its parameters; null when nothing is there. */
  readonly pattern: string | null
  /** `performance.now()` when the request came. */
  readonly started: number
}

export type AnswerLog = (answer: Answer) => void

/** One line for each answer (JupyterHub's levels, wire section 16), without queries and secrets. */
export function accessLog(log: Log): AnswerLog {
  return ({ req, status, peer, started }) => {
    const ms = Math.round(performance.now() - started)
    log[levelOf(status, req, ms)](`${status} ${req.method} ${loggedPath(req)}`, { peer, ms })
  }
}

function levelOf(status: number, req: IncomingMessage, ms: number) {
  if (status >= 500) return 'error'
  if (status >= 400) return 'warn'
  if (ms > 1000) return 'info'
  if (status === 304) return 'debug'
  return status < 300 && /\/hub\/(?:static\/|(?:api\/)?health)/.test(urlOf(req)) ? 'debug' : 'info'
}

/** The path as logs and messages may show it: no query, and no token that old clients put into paths. */
function loggedPath(req: IncomingMessage): string {
  const url = urlOf(req)
  const end = url.indexOf('?')
  const path = end < 0 ? url : url.slice(0, end)
  if (!path.includes('/authorizations/')) return path
  return path.replace(/(\/authorizations\/(?:token|cookie\/[^/]*)\/).+/, '$1[secret]')
}

/** The url as it arrived: routers cut what they have matched off `url`. */
export function urlOf(req: IncomingMessage & { readonly originalUrl?: string }): string {
  return req.originalUrl ?? req.url ?? '/'
}
