import { z } from 'zod'
import { defineOauth } from './define.ts'
import { GoogleDirectory } from './google-groups.ts'
import { providerUrl } from './options.ts'
import { type Facts, isEmailVerified, textAt } from './provider.ts'

const domainGroups = z.record(z.string(), z.array(z.string().min(1))).default({})

/**
 * Google. Who belongs to an organisation is said by the claim `hd`, never by the domain of an
 * e-mail address, which anybody can have (CVE-2024-29033).
 */
export const google = defineOauth({
  name: 'google',
  defaults: {
    loginService: 'Google',
    scope: ['openid', 'email'],
    usernameClaim: 'email',
    authStateGroupsKey: '',
  },
  options: {
    /** Organisations whose members alone may log in. */
    hostedDomain: z.array(z.string().min(1)).default([]),
    /** Organisations all of whose members may come in. */
    allowedHostedDomains: z.array(z.string().min(1)).default([]),
    /** Calls `ada@example.org` `ada`. Default: with exactly one `hostedDomain`. */
    stripDomain: z.boolean().optional(),
    /** Groups by organisation, such as `{ 'example.org': ['staff@example.org'] }`. */
    allowedGoogleGroups: domainGroups,
    adminGoogleGroups: domainGroups,
    /** Files with the keys of service accounts that may read groups, by organisation. */
    googleServiceAccountKeys: z.record(z.string(), z.string()).default({}),
    /** The administrators for whom they read, by organisation. */
    gsuiteAdministrator: z.record(z.string(), z.string()).default({}),
    issuer: providerUrl.default('https://accounts.google.com'),
    directoryUrl: providerUrl.default('https://admin.googleapis.com/admin/directory/v1/'),
  },
  *problems(options) {
    if (options.stripDomain && options.hostedDomain.length !== 1)
      yield [
        'stripDomain',
        'would give people of different domains one name: name exactly one in hostedDomain',
      ]
    for (const option of ['allowedGoogleGroups', 'adminGoogleGroups'] as const)
      for (const domain of Object.keys(options[option]))
        if (!(domain in options.googleServiceAccountKeys && domain in options.gsuiteAdministrator))
          yield [
            option,
            `needs googleServiceAccountKeys and gsuiteAdministrator for ${domain} to read groups`,
          ]
  },
  provider(options) {
    const { hostedDomain, allowedHostedDomains, allowedGoogleGroups, adminGoogleGroups } = options
    const [onlyDomain] = hostedDomain
    const isStripped = options.stripDomain ?? hostedDomain.length === 1
    const directory = new GoogleDirectory(options)
    const domainOf = ({ claims }: Facts): string => textAt(claims, 'hd')?.toLowerCase() ?? ''
    const has = (domains: readonly string[], domain: string): boolean =>
      domain !== '' && domains.some((each) => each.toLowerCase() === domain)
    const isIn = async (facts: Facts, wanted: Readonly<Record<string, readonly string[]>>) => {
      const domain = domainOf(facts)
      const groups = Object.hasOwn(wanted, domain) ? (wanted[domain] ?? []) : []
      if (groups.length === 0) return undefined
      const theirs = await directory.groupsOf(domain, textAt(facts.user, 'email') ?? '')
      return groups.find((group) => theirs.includes(group.toLowerCase()))
    }
    return {
      userKey: 'google_user',
      server: { kind: 'oidc', issuer: new URL(options.issuer) },
      // Chooses among several accounts; what counts is the claim.
      ...(onlyDomain === undefined
        ? {}
        : { authorizeParams: { hd: hostedDomain.length === 1 ? onlyDomain : '*' } }),
      refusal(facts) {
        if (!isEmailVerified(facts.user))
          return 'the provider has not verified their e-mail address'
        return hostedDomain.length === 0 || has(hostedDomain, domainOf(facts))
          ? null
          : 'they are in none of authenticator.hostedDomain'
      },
      userName(facts) {
        const email = textAt(facts.user, options.usernameClaim as string)
        const suffix = `@${domainOf(facts)}`
        return isStripped && suffix !== '@' && email?.toLowerCase().endsWith(suffix)
          ? email.slice(0, -suffix.length)
          : email
      },
      async allowedBy(facts) {
        if (has(allowedHostedDomains, domainOf(facts)))
          return `authenticator.allowedHostedDomains (${domainOf(facts)})`
        const group = await isIn(facts, allowedGoogleGroups)
        return group === undefined ? undefined : `authenticator.allowedGoogleGroups (${group})`
      },
      async admin(facts) {
        if (Object.keys(adminGoogleGroups).length === 0) return undefined
        return (await isIn(facts, adminGoogleGroups)) !== undefined
      },
    }
  },
})
