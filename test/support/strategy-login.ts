import assert from 'node:assert/strict'
import type { Request } from 'express'
import type { Authenticator, AuthenticatorDriver, ProviderAccount } from 'portico/authenticator'
import { runStrategy, type StrategyOutcome } from '../../hub/pages/run-strategy.ts'
import { clientId, clientSecret } from './fake-provider.ts'
import { lightContext } from './light-context.ts'

/** An authenticator with a strategy, and a browser's way through it. */
export interface StrategyLogin {
  readonly authenticator: Authenticator
  /** Lines of the log, and the logins that it has asked to end. */
  readonly lines: readonly string[]
  readonly ended: readonly ProviderAccount[]
  /** Leaves for the provider; the url there and the record of the attempt. */
  start(): Promise<{ readonly url: URL; readonly session: Record<string, unknown> }>
  /** Comes back with the query of this url. */
  comeBack(url: URL, session: Record<string, unknown>): Promise<StrategyOutcome>
  /** All the way: to the provider, which answers at once, and back. */
  logIn(): Promise<StrategyOutcome>
}

/** Makes a driver's authenticator, for a hub at `https://hub.test/`. */
export async function strategyLogin(
  driver: AuthenticatorDriver,
  options: Readonly<Record<string, unknown>>,
  { manageGroups = false }: { readonly manageGroups?: boolean } = {},
): Promise<StrategyLogin> {
  const { context, lines, ended } = lightContext(manageGroups)
  const config = driver.config.parse({ clientId, clientSecret, ...options })
  const authenticator = await driver.create(config, context)
  const act = (path: string, session: Record<string, unknown>): Promise<StrategyOutcome> => {
    const { strategy } = authenticator
    assert.ok(strategy)
    const query = Object.fromEntries(new URL(path, 'https://hub.test').searchParams)
    const request = { method: 'GET', originalUrl: path, url: path, headers: {}, query }
    return runStrategy(strategy, request as unknown as Request, session)
  }
  const login: StrategyLogin = {
    authenticator,
    lines,
    ended,
    async start() {
      const session = {}
      const outcome = await act('/hub/oauth_login', session)
      assert.equal(outcome.kind, 'redirect')
      return { url: outcome.url, session: JSON.parse(JSON.stringify(session)) as typeof session }
    },
    comeBack: (url, session) => act(`/hub/oauth_callback${url.search}`, session),
    async logIn() {
      const { url, session } = await login.start()
      const response = await fetch(url, { redirect: 'manual' })
      assert.equal(response.status, 302, await response.text())
      return login.comeBack(new URL(response.headers.get('location') ?? ''), session)
    },
  }
  return login
}
