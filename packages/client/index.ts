import { explainCalls } from './explain.ts'
import { groupCalls } from './groups.ts'
import { hubCalls } from './hub.ts'
import { serverCalls } from './servers.ts'
import { serviceCalls } from './services.ts'
import { shareCalls } from './shares.ts'
import { tokenCalls } from './tokens.ts'
import { type ClientOptions, createTransport } from './transport.ts'
import { userCalls } from './users.ts'

export type { Question } from './explain.ts'
export type * from './models.ts'
export type { Listing, PageRequest } from './pages.ts'
export type { ServerSettings } from './servers.ts'
export type { NewService } from './services.ts'
export type { Receiver, ServerName } from './shares.ts'
export type { NewToken } from './tokens.ts'
export { ClientError, type CallOptions, type ClientOptions } from './transport.ts'
export type { ActivityReport, UserChange, UserFilter } from './users.ts'

/** The REST API of a hub. Every method throws {ClientError} when the hub refuses or does not answer. */
export type Client = ReturnType<typeof createClient>

/**
 * A client for one hub. Needs nothing but `fetch`, and so runs in browsers too. Nothing is tried
 * again by itself. Names of servers are empty for a user's default server.
 */
export function createClient(options: ClientOptions) {
  const transport = createTransport(options)
  return {
    ...hubCalls(transport),
    ...userCalls(transport),
    ...serverCalls(transport),
    ...tokenCalls(transport),
    ...groupCalls(transport),
    ...serviceCalls(transport),
    ...shareCalls(transport),
    ...explainCalls(transport),
  }
}
