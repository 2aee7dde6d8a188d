import { describeError } from '../../packages/core/errors.ts'
import type { Events } from '../events.ts'
import type { Log } from '../log.ts'
import type { SessionStore } from '../store/sessions.ts'
import type { TokenStore } from '../store/tokens.ts'
import type { User } from '../store/users.ts'
import type { Changes } from './changes.ts'

export interface AccessEndingDeps {
  readonly sessions: SessionStore
  readonly tokens: TokenStore
  readonly changes: Changes
  readonly events: Events
  readonly log: Log
  readonly stopServers: (user: User) => Promise<void>
}

/**
 * Takes away all by which a user is let in: sessions and tokens; with `servers` also their servers
 * are stopped, which goes on meanwhile, and else keep the tokens that they run with.
 */
export async function endAccess(
  { sessions, tokens, changes, events, log, stopServers }: AccessEndingDeps,
  user: User,
  { reason, servers }: { readonly reason: string; readonly servers: boolean },
): Promise<void> {
  const ended = await sessions.deleteOfUser(user.id)
  const revoked = await tokens.revokeOfUser(user.id, { servers })
  changes.touchRights(user.id)
  if (ended + revoked > 0) {
    log.warn(`${user.name} is not let in any more`, { reason, sessions: ended, tokens: revoked })
    events.emit({ kind: 'access-ended', user: user.name, reason, by: 'hub' })
  }
  if (servers)
    stopServers(user).catch((error: unknown) => {
      log.error(`servers of ${user.name} could not be stopped`, { error: describeError(error) })
    })
}
