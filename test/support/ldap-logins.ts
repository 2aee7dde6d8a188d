import type { Identity, Verdict } from 'portico/authenticator'
import { ldap } from '../../authenticators/ldap.ts'
import { loginRequest } from '../contracts/authenticator.ts'
import { lightContext } from './light-context.ts'
import { people, searcher, secret, type Slapd } from './slapd.ts'

/** People are where their names say. */
export const template = { bindDnTemplate: `uid={username},${people}` }
/** People are searched for. */
export const search = {
  lookupDn: true,
  lookupDnSearchUser: searcher.dn,
  lookupDnSearchPassword: searcher.password,
  userSearchBase: people,
  userAttribute: 'uid',
}

/** The authenticator with these options and those that lead to this directory. */
export async function directory(
  slapd: Slapd,
  options: Readonly<Record<string, unknown>>,
  manageGroups = false,
) {
  const { context, lines } = lightContext(manageGroups)
  const given = { serverAddress: slapd.address, tlsCaFile: slapd.ca, ...options }
  const authenticator = await ldap.create(ldap.config.parse(given), context)
  const logIn = (
    username: string,
    password = secret,
    signal = AbortSignal.timeout(60_000),
  ): Promise<Verdict> =>
    authenticator.authenticate(loginRequest({ form: { username, password }, signal }))
  const refresh = async (identity: Identity) => authenticator.refresh?.(identity)
  return { logIn, refresh, lines }
}

/** Who may come in; null for nobody. */
export const nameOf = (verdict: Verdict): string | null =>
  verdict.kind === 'identified' ? verdict.identity.userName : null
