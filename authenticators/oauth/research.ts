import { z } from 'zod'
import { defineOauth } from './define.ts'
import { getJson } from './http.ts'
import { providerUrl } from './options.ts'
import { type Facts, isEmailVerified, ProviderFailure, textAt, valueAt } from './provider.ts'

const groupsScope = 'urn:globus:auth:scope:groups.api.globus.org:view_my_groups_and_memberships'

/**
 * Globus. Names are addresses of many institutions: the domain is left out only for the one that
 * `identityProvider` names, and that rule holds against `allowAll` too (CVE-2024-37300).
 */
export const globus = defineOauth({
  name: 'globus',
  defaults: {
    loginService: 'Globus',
    scope: ['openid', 'profile', 'email'],
    usernameClaim: 'preferred_username',
    authStateGroupsKey: '',
  },
  options: {
    /** The institution whose members alone may log in, such as `example.edu`. */
    identityProvider: z.string().default(''),
    /** Takes the e-mail address for the name; a checked one, or with `allowUnverifiedEmail` any. */
    usernameFromEmail: z.boolean().default(false),
    /** Ids of groups whose members may come in. */
    allowedGlobusGroups: z.array(z.guid()).default([]),
    adminGlobusGroups: z.array(z.guid()).default([]),
    issuer: providerUrl.default('https://auth.globus.org'),
    groupsUrl: providerUrl.default('https://groups.api.globus.org/v2/groups/my_groups'),
  },
  provider(options) {
    const { allowedGlobusGroups, adminGlobusGroups, identityProvider } = options
    const nameOf = ({ user }: Facts): string | undefined =>
      textAt(user, options.usernameFromEmail ? 'email' : 'preferred_username')
    const readsGroups = allowedGlobusGroups.length + adminGlobusGroups.length > 0
    return {
      userKey: 'globus_user',
      server: { kind: 'oidc', issuer: new URL(options.issuer) },
      scope: readsGroups ? [groupsScope] : [],
      refusal(facts) {
        const { usernameFromEmail, allowUnverifiedEmail } = options
        if (usernameFromEmail && !allowUnverifiedEmail && !isEmailVerified(facts.user))
          return 'the provider has not verified their e-mail address'
        // An address says nothing of the institution, and one of another would lose its domain.
        const places = [textAt(facts.user, 'preferred_username'), nameOf(facts)].map(domainOf)
        return identityProvider === '' ||
          places.every((place) => place === identityProvider.toLowerCase())
          ? null
          : `they do not come from ${identityProvider}`
      },
      userName(facts) {
        const name = nameOf(facts)
        // With the domain, people of two institutions stay two.
        return identityProvider === '' ? name : name?.split('@')[0]
      },
      async allowedBy(facts) {
        const groups =
          allowedGlobusGroups.length > 0 ? await globusGroups(options.groupsUrl, facts) : []
        const group = allowedGlobusGroups.find((id) => groups.includes(id))
        return group === undefined ? undefined : `authenticator.allowedGlobusGroups (${group})`
      },
      async admin(facts) {
        if (adminGlobusGroups.length === 0) return undefined
        const groups = await globusGroups(options.groupsUrl, facts)
        return adminGlobusGroups.some((id) => groups.includes(id))
      },
    }
  },
})

/** Groups of which they are an active member, by a token that the login has brought along. */
async function globusGroups(url: string, { tokens }: Facts): Promise<readonly string[]> {
  const others = valueAt(tokens, 'other_tokens')
  const token = (Array.isArray(others) ? (others as unknown[]) : []).find(
    (each) => textAt(each, 'resource_server') === 'groups.api.globus.org',
  )
  const { status, body } = await getJson(url, {
    Authorization: `Bearer ${textAt(token, 'access_token') ?? ''}`,
  })
  if (status !== 200 || !Array.isArray(body))
    throw new ProviderFailure('groups cannot be read', status)
  return (body as unknown[]).flatMap((group) => {
    const memberships = valueAt(group, 'my_memberships')
    const isActive =
      Array.isArray(memberships) &&
      memberships.some((each: unknown) => textAt(each, 'status') === 'active')
    return isActive ? (textAt(group, 'id') ?? []) : []
  })
}

const derivation = z.strictObject({
  usernameClaim: z.string().min(1),
  /** Leaves out `@domain`, or puts `prefix:` before the name. */
  action: z.enum(['strip_idp_domain', 'prefix']).optional(),
  domain: z.string().min(1).optional(),
  prefix: z.string().min(1).optional(),
})

const institution = z
  .strictObject({
    usernameDerivation: derivation,
    allowAll: z.boolean().default(false),
    /** Patterns such as `*.example.edu`, compared with the domain of `allowedDomainsClaim`. */
    allowedDomains: z.array(z.string().min(1)).default([]),
    allowedDomainsClaim: z.string().min(1).optional(),
    default: z.boolean().default(false),
  })
  .refine(
    ({ usernameDerivation: { action, domain, prefix } }) =>
      action === 'prefix' ? prefix : action === 'strip_idp_domain' ? domain : true,
    { error: "needs domain for the action 'strip_idp_domain', and prefix for 'prefix'" },
  )

/**
 * CILogon. Which institution somebody comes from is said by the claim `idp`, and each has rules of
 * its own; an address's domain says nothing (CVE-2022-31027).
 */
export const cilogon = defineOauth({
  name: 'cilogon',
  defaults: {
    loginService: 'CILogon',
    scope: ['openid', 'email', 'org.cilogon.userinfo', 'profile'],
    usernameClaim: 'sub',
    authStateGroupsKey: '',
  },
  options: {
    /** Institutions by entity id, such as `https://idp.example.edu/shibboleth`. */
    idps: z.record(z.string(), institution),
    skin: z.string().optional(),
    issuer: providerUrl.default('https://cilogon.org'),
  },
  *problems({ idps }) {
    if (Object.keys(idps).length === 0) yield ['idps', 'names no institution']
  },
  allows: ({ idps }) =>
    Object.values(idps).some((idp) => idp.allowAll || idp.allowedDomains.length > 0),
  provider({ idps, skin, issuer }) {
    const ofLogin = ({ user }: Facts) => {
      const idp = textAt(user, 'idp')
      return idp !== undefined && Object.hasOwn(idps, idp) ? idps[idp] : undefined
    }
    const ids = Object.keys(idps)
    const sorted = [...ids].sort(
      (left, right) => Number(idps[right]?.default) - Number(idps[left]?.default),
    )
    return {
      userKey: 'cilogon_user',
      server: { kind: 'oidc', issuer: new URL(issuer) },
      scope: ['openid', 'org.cilogon.userinfo'],
      authorizeParams: {
        selected_idp: sorted.join(','),
        ...(skin === undefined ? {} : { skin }),
      },
      refusal: (facts) =>
        ofLogin(facts) ? null : 'their institution is not in authenticator.idps',
      userName(facts) {
        const idp = ofLogin(facts)
        if (!idp) return undefined
        const { usernameClaim, action, domain = '', prefix = '' } = idp.usernameDerivation
        const name = textAt(facts.user, usernameClaim)
        if (name === undefined) return undefined
        if (action === 'prefix') return `${prefix}:${name}`
        return action === 'strip_idp_domain' && domainOf(name) === domain.toLowerCase()
          ? name.slice(0, name.lastIndexOf('@'))
          : name
      },
      allowedBy(facts) {
        const idp = ofLogin(facts)
        if (idp?.allowAll) return 'authenticator.idps (allowAll)'
        const claim = idp?.allowedDomainsClaim ?? idp?.usernameDerivation.usernameClaim ?? ''
        const domain = domainOf(textAt(facts.user, claim))
        const pattern = idp?.allowedDomains.find((each) => matches(each.toLowerCase(), domain))
        return pattern === undefined ? undefined : `authenticator.idps (${pattern})`
      },
    }
  },
})

/** The domain of an address in lower case, or an empty text. */
function domainOf(address: string | undefined): string {
  const at = address?.lastIndexOf('@') ?? -1
  return at < 0 ? '' : (address?.slice(at + 1).toLowerCase() ?? '')
}

/** A shell's pattern: `*` is any text, `?` any character. */
function matches(pattern: string, text: string): boolean {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return text !== '' && new RegExp(`^${source}$`, 's').test(text)
}
