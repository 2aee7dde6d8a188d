import { createHash, timingSafeEqual } from 'node:crypto'
import { defineAuthenticator } from 'portico/authenticator'
import { z } from 'zod'

/**
 * For tests and demonstrations: anybody may be anybody (JupyterHub's DummyAuthenticator). With
 * `password`, everybody has that one password.
 */
export const dummy = defineAuthenticator({
  name: 'dummy',
  insecure: true,
  config: z.strictObject({
    /** The password of everybody. Empty: any password will do. */
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

/** Compares digests, so that neither content nor length shows in the time taken. */
function sameSecret(given: string, expected: string): boolean {
  const digest = (secret: string): Buffer => createHash('sha256').update(secret).digest()
  return timingSafeEqual(digest(given), digest(expected))
}
