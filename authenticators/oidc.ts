import type { AuthenticatorDriver } from 'portico/authenticator'
import { bitbucket, github, gitlab } from './oauth/code-hosts.ts'
import { genericOauth, openshift } from './oauth/generic.ts'
import { google } from './oauth/google.ts'
import { mediawiki } from './oauth/mediawiki.ts'
import { auth0, azuread, keycloak, oidc, okta } from './oauth/openid.ts'
import { cilogon, globus } from './oauth/research.ts'

/** Logins at a provider: OpenID Connect, and those that only set what differs. */
export const oauthDrivers: readonly AuthenticatorDriver[] = [
  oidc,
  auth0,
  azuread,
  bitbucket,
  cilogon,
  genericOauth,
  github,
  gitlab,
  globus,
  google,
  keycloak,
  mediawiki,
  okta,
  openshift,
]
