import { z } from 'zod'
import { defineOauth } from './define.ts'
import { getJson } from './http.ts'
import { providerUrl } from './options.ts'
import { accountOf, type Endpoints, ProviderFailure, textAt, valueAt } from './provider.ts'

/** Any OAuth 2.0 provider with an API that says who somebody is. */
export const genericOauth = defineOauth({
  name: 'generic-oauth',
  defaults: {
    loginService: 'OAuth 2.0',
    scope: [],
    usernameClaim: 'username',
    authStateGroupsKey: 'oauth_user.groups',
  },
  options: {
    authorizeUrl: providerUrl,
    tokenUrl: providerUrl,
    userdataUrl: providerUrl,
    /** The part of the profile that never changes and is never given to anybody else. */
    subjectClaim: z.string().min(1).default('sub'),
    /** What the provider is called in accounts and in `iss`. Default: the origin of `tokenUrl`. */
    issuer: providerUrl.optional(),
  },
  provider({ authorizeUrl, tokenUrl, userdataUrl, subjectClaim, issuer }) {
    const name = issuer ?? new URL(tokenUrl).origin
    return {
      userKey: 'oauth_user',
      server: {
        kind: 'oauth2',
        userUrl: userdataUrl,
        endpoints: {
          issuer: name,
          authorization_endpoint: authorizeUrl,
          token_endpoint: tokenUrl,
        },
      },
      account: ({ user }) => accountOf(name, valueAt(user, subjectClaim)),
    }
  },
})

/** OpenShift: the cluster's own accounts, by their uid. */
export const openshift = defineOauth({
  name: 'openshift',
  defaults: {
    loginService: 'OpenShift',
    scope: ['user:info'],
    usernameClaim: 'metadata.name',
    authStateGroupsKey: 'openshift_user.groups',
  },
  options: {
    openshiftUrl: providerUrl.default('https://openshift.default.svc.cluster.local'),
    /** Default: the issuer that the cluster names. */
    openshiftAuthApiUrl: providerUrl.optional(),
    /** Default: `openshiftUrl`. */
    openshiftRestApiUrl: providerUrl.optional(),
  },
  provider({ openshiftUrl, openshiftAuthApiUrl, openshiftRestApiUrl }) {
    const site = openshiftUrl.replace(/\/$/, '')
    const endpoints = async (): Promise<Endpoints> => {
      const issuer = (openshiftAuthApiUrl ?? (await issuerOf(site))).replace(/\/$/, '')
      return {
        issuer,
        authorization_endpoint: `${issuer}/oauth/authorize`,
        token_endpoint: `${issuer}/oauth/token`,
      }
    }
    return {
      userKey: 'openshift_user',
      server: {
        kind: 'oauth2',
        endpoints,
        userUrl: `${(openshiftRestApiUrl ?? site).replace(/\/$/, '')}/apis/user.openshift.io/v1/users/~`,
      },
      account: ({ user }) => accountOf(site, valueAt(user, 'metadata.uid')),
    }
  },
})

async function issuerOf(site: string): Promise<string> {
  const { status, body } = await getJson(`${site}/.well-known/oauth-authorization-server`, {})
  const issuer = textAt(body, 'issuer')
  if (status !== 200 || issuer === undefined || !providerUrl.safeParse(issuer).success)
    throw new ProviderFailure(`${site} names no authorization server`, status)
  return issuer
}
