import type { ProviderAccount } from '../../packages/core/authenticator.ts'
import type { Log } from '../log.ts'
import type { IdentityStore } from '../store/identities.ts'
import type { SessionStore } from '../store/sessions.ts'
import type { Changes } from './changes.ts'

/**
 * Ends logins of an account because its provider says so, those of one session there or all, with
 * every token that hangs on them. Resolves to how many there were.
 */
export function providerSessions(deps: {
  readonly provider: string
  readonly identities: IdentityStore
  readonly sessions: SessionStore
  readonly changes: Changes
  readonly log: Log
}): (account: ProviderAccount) => Promise<number> {
  const { provider, identities, sessions, changes, log } = deps
  return async ({ issuer, subject, providerSession }) => {
    const userId =
      subject === undefined ? undefined : await identities.userIdOf({ provider, issuer, subject })
    if (userId === null) return 0
    const ended = await sessions.deleteOfProvider(provider, {
      ...(userId === undefined ? {} : { userId }),
      ...(providerSession === undefined ? {} : { providerSession }),
    })
    changes.touchRights(...new Set(ended))
    if (ended.length > 0) log.info(`${ended.length} logins have ended, as ${issuer} says`)
    return ended.length
  }
}
