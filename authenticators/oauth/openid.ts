import { z } from 'zod'
import { defineOauth } from './define.ts'
import { providerUrl } from './options.ts'
import { isEmailVerified, textAt } from './provider.ts'

const openIdDefaults = {
  scope: ['openid', 'profile', 'email'],
  usernameClaim: 'preferred_username',
}

/** Any OpenID Connect provider, found by its issuer. */
export const oidc = defineOauth({
  name: 'oidc',
  defaults: {
    ...openIdDefaults,
    loginService: 'your account',
    authStateGroupsKey: 'oauth_user.groups',
  },
  options: {
    /** The provider's issuer; its metadata lie below it at `.well-known/openid-configuration`. */
    issuer: providerUrl,
  },
  provider: ({ issuer }) => ({
    userKey: 'oauth_user',
    server: { kind: 'oidc', issuer: new URL(issuer) },
  }),
})

/** Okta: an organisation's own authorization server, or one of those it has made. */
export const okta = defineOauth({
  name: 'okta',
  defaults: { ...openIdDefaults, loginService: 'Okta', authStateGroupsKey: 'okta_user.groups' },
  options: {
    /** Such as `example.okta.com`. */
    oktaDomain: z.string().regex(/^[\w.-]+(?::\d+)?$/, 'is a host name, such as example.okta.com'),
    /** Its id, such as `default`. Empty: the organisation's own. */
    authorizationServer: z
      .string()
      .regex(/^[\w-]*$/)
      .default('default'),
  },
  provider: ({ oktaDomain, authorizationServer }) => ({
    userKey: 'okta_user',
    server: {
      kind: 'oidc',
      issuer: new URL(
        `${origin(oktaDomain)}${authorizationServer === '' ? '' : `/oauth2/${authorizationServer}`}`,
      ),
    },
  }),
})

/** Keycloak: one realm. Groups come as full paths (`/staff/lab`) or names, as its mapper is set. */
export const keycloak = defineOauth({
  name: 'keycloak',
  defaults: {
    ...openIdDefaults,
    loginService: 'Keycloak',
    authStateGroupsKey: 'keycloak_user.groups',
  },
  options: {
    keycloakUrl: providerUrl,
    realm: z.string().min(1),
  },
  provider: ({ keycloakUrl, realm }) => ({
    userKey: 'keycloak_user',
    server: {
      kind: 'oidc',
      issuer: new URL(`${keycloakUrl.replace(/\/$/, '')}/realms/${encodeURIComponent(realm)}`),
    },
  }),
})

/** Auth0. Anybody can sign up there under any address: only checked ones count (CVE-2026-33175). */
export const auth0 = defineOauth({
  name: 'auth0',
  defaults: {
    ...openIdDefaults,
    usernameClaim: 'email',
    loginService: 'Auth0',
    authStateGroupsKey: 'auth0_user.groups',
  },
  options: {
    /** Such as `example.eu.auth0.com`. */
    auth0Domain: z
      .string()
      .regex(/^[\w.-]+(?::\d+)?$/, 'is a host name')
      .optional(),
    /** The part before `.auth0.com`. */
    auth0Subdomain: z
      .string()
      .regex(/^[\w.-]+$/, 'is the part before .auth0.com')
      .optional(),
  },
  *problems({ auth0Domain, auth0Subdomain }) {
    if ((auth0Domain === undefined) === (auth0Subdomain === undefined))
      yield ['auth0Domain', 'or auth0Subdomain is required, and only one of them']
  },
  provider: ({ auth0Domain, auth0Subdomain, allowUnverifiedEmail }) => {
    const base = origin(auth0Domain ?? `${auth0Subdomain}.auth0.com`)
    return {
      userKey: 'auth0_user',
      server: { kind: 'oidc', issuer: new URL(`${base}/`) },
      logoutUrl: `${base}/v2/logout`,
      refusal: ({ user }) =>
        allowUnverifiedEmail || isEmailVerified(user)
          ? null
          : 'the provider has not verified their e-mail address',
    }
  },
})

/**
 * Microsoft Entra ID (Azure AD). Names and addresses there can be changed by their owners: the
 * account is tenant and object id, and only one tenant's people may come in.
 */
export const azuread = defineOauth({
  name: 'azuread',
  defaults: { ...openIdDefaults, loginService: 'Microsoft', authStateGroupsKey: 'user.groups' },
  options: {
    /** The tenant's id. `common` and its like would let in every tenant there is. */
    tenantId: z.guid('must be the id (a UUID) of one tenant'),
    /** Other clouds have their own, such as `https://login.microsoftonline.us`. */
    loginUrl: providerUrl.default('https://login.microsoftonline.com'),
  },
  provider: ({ tenantId, loginUrl }) => ({
    userKey: 'user',
    server: {
      kind: 'oidc',
      issuer: new URL(`${loginUrl.replace(/\/$/, '')}/${tenantId.toLowerCase()}/v2.0`),
    },
    account({ claims }) {
      const [tenant, object] = [textAt(claims, 'tid'), textAt(claims, 'oid')]
      const issuer = textAt(claims, 'iss')
      if (tenant?.toLowerCase() !== tenantId.toLowerCase() || issuer === undefined)
        return { refusal: 'the account belongs to another tenant' }
      return object === undefined
        ? { refusal: 'the ID token holds no oid' }
        : { issuer, subject: object }
    },
    groups({ claims, user }) {
      // More groups than fit into a token come as a link: who knows which they are?
      const elsewhere = claims['_claim_names']
      if (typeof elsewhere === 'object' && elsewhere !== null && 'groups' in elsewhere) return null
      const groups = user['groups'] ?? []
      return Array.isArray(groups) && groups.every((group) => typeof group === 'string')
        ? groups
        : null
    },
  }),
})

/** Tests and small setups run providers on this machine. */
function origin(host: string): string {
  return `${/^(?:localhost|127\.0\.0\.1)(?::|$)/.test(host) ? 'http' : 'https'}://${host}`
}
