import { defineAuthenticator } from 'portico/authenticator'
import { z } from 'zod'
import { sameSecret } from './secret.ts'

/**
 * For tests and demonstrations: anybody may be anybody (JupyterHub's DummyAuthenticator). With
 * `password`, everybody has that one password.
 */
export const dummy = defineAuthenticator({
  name: 'dummy',
  insecure: true,
  config: z.strictObject({
    /** The password of everybody. Empty: whatever they type will do. */
    password: z.string().default(''),
  }),
  create: ({ password }) => ({
    authenticate({ form }) {
      const userName = form['username'] ?? ''
      if (userName === '') return Promise.resolve({ kind: 'denied', reason: 'no user name' })
      if (password !== '' && !sameSecret(form['password'] ?? '', password))
        return Promise.resolve({ kind: 'denied', reason: 'wrong password' })
      return Promise.resolve({ kind: 'identified', identity: { userName } })
    },
  }),
})
