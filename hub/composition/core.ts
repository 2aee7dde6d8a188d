import type { Config } from '../config.ts'
import { Activity } from '../domain/activity.ts'
import { SessionUse } from '../domain/session-use.ts'
import { createEvents } from '../events.ts'
import { recordAudit } from '../audit-trail.ts'
import type { Log } from '../log.ts'
import type { Secrets } from '../secrets.ts'
import { auditStore } from '../store/audit.ts'
import type { Database } from '../store/database.ts'
import { loginAttemptStore } from '../store/login-attempts.ts'
import { oauthStore } from '../store/oauth.ts'
import { serverStore } from '../store/servers.ts'
import { sessionStore } from '../store/sessions.ts'
import { shareCodeStore } from '../store/share-codes.ts'
import { shareStore } from '../store/shares.ts'
import { tokenStore } from '../store/tokens.ts'
import { userStore } from '../store/users.ts'
import { createAuthentication } from './logins.ts'
import { createObservation } from './observation.ts'
import { createRights } from './rights.ts'

export interface CoreDeps {
  readonly config: Config
  readonly secrets: Secrets
  readonly database: Database
  readonly log: Log
  /** First word of the names of metrics. Default: `jupyterhub`. */
  readonly metricsPrefix?: string
}

export type Core = Awaited<ReturnType<typeof createCore>>

/** Stores and the parts that need nothing but them. */
export async function createCore(deps: CoreDeps) {
  const { config, secrets, database, log, metricsPrefix: prefix = 'jupyterhub' } = deps
  const clock = (): Date => new Date()
  const users = userStore(database)
  const tokens = tokenStore(database)
  const sessions = sessionStore(database)
  const serverRows = serverStore(database)
  const shares = shareStore(database)
  const codes = shareCodeStore(database)
  const attemptRows = loginAttemptStore(database)
  const oauth = oauthStore(database)
  const rights = await createRights({ config, database, users, tokens, sessions, log, clock })
  const ended = await sessions.deleteOfOtherKeys(secrets.cookieKeyId)
  if (ended > 0) log.warn(`the cookie secret has changed: ${ended} logins have ended`)
  const events = createEvents()
  recordAudit({ events, audit: auditStore(database), log, clock })
  const { eventLogFile, activityResolution: resolution } = config.hub
  const rows = { users, servers: serverRows, tokens, sessions }
  const activity = new Activity({ ...rights, ...rows, log, resolution })
  const { sessionIdleTimeout: idleTimeout, cookieMaxAgeDays: maxAgeDays } = config.hub
  const sessionUse = new SessionUse({ ...rights, activity, sessions, idleTimeout, maxAgeDays })
  const watched = { ...rights, users, events, log, clock }
  const observation = createObservation({ ...watched, prefix, eventLogFile })
  const { metrics } = observation
  const people = { ...watched, config, secrets, database, sessions, metrics }
  return {
    users,
    tokens,
    sessions,
    attemptRows,
    serverRows,
    shares,
    codes,
    ...rights,
    oauth,
    events,
    ...observation,
    activity,
    sessionUse,
    ...(await createAuthentication(people)),
    clock,
  }
}
