import type { AuthenticatorDriver } from 'portico/authenticator'
import { dummy } from './dummy.ts'
import { header } from './header.ts'
import { kerberos } from './kerberos.ts'
import { ldap } from './ldap.ts'
import { lti13 } from './lti13.ts'
import { multi } from './multi.ts'
import { native } from './native.ts'
import { nobody } from './null.ts'
import { oauthDrivers } from './oidc.ts'
import { pam } from './pam.ts'
import { quickStart } from './quick-start.ts'
import { sharedPassword } from './shared-password.ts'

const single: readonly AuthenticatorDriver[] = [
  dummy,
  header,
  kerberos,
  ldap,
  lti13,
  native,
  nobody,
  ...oauthDrivers,
  pam,
  quickStart,
  sharedPassword,
]

/** Every built-in authenticator; `authenticator.driver` names one. */
export const authenticators: readonly AuthenticatorDriver[] = [...single, multi(single)]
