import type { AuthenticatorContext, ProviderAccount } from 'portico/authenticator'

/** What authenticators get that keep nothing in the database, and what they have done with it. */
export interface LightContext {
  readonly context: AuthenticatorContext
  readonly lines: readonly string[]
  /** What `endSessions` was asked for. */
  readonly ended: readonly ProviderAccount[]
}

/** The context of a hub at `https://hub.test/`, without a database. */
export function lightContext(manageGroups = false): LightContext {
  const lines: string[] = []
  const ended: ProviderAccount[] = []
  const say = (line: string): void => void lines.push(line)
  const context: Partial<AuthenticatorContext> = {
    log: { debug: say, info: say, warn: say, error: say },
    manageGroups,
    otpPrompt: null,
    publicUrl: (path) => new URL(`https://hub.test/hub${path}`),
    endSessions(account) {
      ended.push(account)
      return Promise.resolve(1)
    },
  }
  return { context: context as AuthenticatorContext, lines, ended }
}
