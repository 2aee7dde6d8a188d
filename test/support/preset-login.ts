import assert from 'node:assert/strict'
import type { AuthenticatorDriver, Identity } from 'portico/authenticator'
import { oauthDrivers } from '../../authenticators/oidc.ts'
import { clientId, clientSecret } from './fake-provider.ts'
import { strategyLogin } from './strategy-login.ts'

/** One of the presets. */
export function driverOf(name: string): AuthenticatorDriver {
  const driver = oauthDrivers.find((each) => each.name === name)
  assert.ok(driver, name)
  return driver
}

/** Whether its config takes these options. */
export const isGood = (name: string, options: object): boolean =>
  driverOf(name).config.safeParse({ clientId, clientSecret, ...options }).success

/** The identity of a login, or the kind of its refusal. */
export async function logIn(
  name: string,
  options: Readonly<Record<string, unknown>>,
  manageGroups = false,
): Promise<Identity | 'denied'> {
  const login = await strategyLogin(driverOf(name), options, { manageGroups })
  const outcome = await login.logIn()
  if (outcome.kind === 'identified') return outcome.identity
  assert.equal(outcome.kind, 'denied')
  return 'denied'
}

/** Who somebody is, in short. */
export const who = (identity: Identity | 'denied') =>
  identity === 'denied' ? identity : `${identity.userName} = ${identity.subject}`

/** The rule of its own that lets them in. */
export const allowedBy = (identity: Identity | 'denied') =>
  identity === 'denied' ? identity : identity.allowedBy
