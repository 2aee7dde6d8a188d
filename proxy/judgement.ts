import type { IncomingMessage } from 'node:http'
import type { Admitted, Refused } from './admission.ts'
import { isNavigation } from './error-pages.ts'
import type { Leave } from './limits.ts'
import type { Match, Route } from './routes.ts'

/** A request whose route is known. */
export type Found = Omit<Admitted, 'kind'> & {
  readonly kind: 'found'
  readonly route: Route
  readonly leave?: Leave
}

/** A request that goes nowhere. */
export type Refusal = Refused & {
  readonly retryAfter?: number
  /** What is known of the server, in a word for the error target. */
  readonly why?: { readonly reason: string; readonly isTombstone: boolean }
}

/** Seconds after which a server that is starting may be there. */
const startingRetry = 3

/**
 * A tombstone answers for the server that was there, so that abandoned tabs never reach the hub; only
 * people who open the address do.
 */
export function judge(
  { route, tombstone }: Match,
  admitted: Admitted,
  request: IncomingMessage,
): Found | Refusal {
  if (tombstone && !(route && isNavigation(request))) {
    const { status, reason } = tombstone
    const why = { reason, isTombstone: true }
    const said = `the server at this address ${reason === 'crashed' ? 'has' : 'is'} ${reason}`
    const retryAfter = reason === 'starting' ? { retryAfter: startingRetry } : {}
    return { kind: 'refused', status, reason: said, why, ...retryAfter }
  }
  if (!route) return { kind: 'refused', status: 404, reason: 'nothing is served at this address' }
  return { ...admitted, kind: 'found', route }
}

/** As a route has it: without port and final dot, in lower case. */
export function plainHost(host: string): string {
  return host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase()
}

export const notReady: Refusal = {
  kind: 'refused',
  status: 503,
  reason: 'the hub is starting and has not said yet where requests go',
}
