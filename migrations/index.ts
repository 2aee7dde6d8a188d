import type { Kysely } from 'kysely'
import * as initial from './0001-initial.ts'
import * as serversAndShares from './0002-servers-and-shares.ts'
import * as services from './0003-services.ts'
import * as providerSessions from './0004-provider-sessions.ts'
import * as keptLogins from './0005-kept-logins.ts'
import * as runningServers from './0006-running-servers.ts'

/** One step of the schema: forward only, run in a transaction of its own. */
export interface Migration {
  readonly name: string
  up(db: Kysely<unknown>): Promise<void>
}

/** Every migration, oldest first. A released one never changes. */
export const migrations: readonly Migration[] = [
  { name: '0001-initial', up: initial.up },
  { name: '0002-servers-and-shares', up: serversAndShares.up },
  { name: '0003-services', up: services.up },
  { name: '0004-provider-sessions', up: providerSessions.up },
  { name: '0005-kept-logins', up: keptLogins.up },
  { name: '0006-running-servers', up: runningServers.up },
]
