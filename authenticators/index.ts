import type { AuthenticatorDriver } from 'portico/authenticator'
import { dummy } from './dummy.ts'
import { ldap } from './ldap.ts'
import { pam } from './pam.ts'
import { quickStart } from './quick-start.ts'

/** Every built-in authenticator; `authenticator.driver` names one. */
export const authenticators: readonly AuthenticatorDriver[] = [dummy, ldap, pam, quickStart]
