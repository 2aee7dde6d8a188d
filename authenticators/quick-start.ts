import { createHash, randomBytes } from 'node:crypto'
import { defineAuthenticator, type Verdict } from 'portico/authenticator'
import { z } from 'zod'

/** Milliseconds for which a link is good. */
const lifetime = 10 * 60 * 1000

/** At most this many links are open at once; a new one pushes out the oldest. */
const most = 20

/**
 * Logs in the one account that started the hub, by a link that was printed in its terminal: 256
 * random bits in the url's fragment, which browsers never send, good for ten minutes and one use.
 */
export const quickStart = defineAuthenticator({
  name: 'quick-start',
  config: z.strictObject({
    /** The account that started the hub. */
    userName: z.string().min(1),
  }),
  create: ({ userName }) => {
    const open = new Map<string, number>()
    const digest = (secret: string): string => createHash('sha256').update(secret).digest('hex')

    const redeem = (secret: string): Verdict => {
      const key = digest(secret)
      const expiresAt = open.get(key)
      if (expiresAt === undefined) return { kind: 'denied', reason: 'unknown or used login link' }
      open.delete(key)
      if (expiresAt <= performance.now()) return { kind: 'denied', reason: 'expired login link' }
      return { kind: 'identified', identity: { userName, admin: true } }
    }

    return {
      authenticate: ({ form }) => Promise.resolve(redeem((form['secret'] ?? '').trim())),

      loginForm: {
        title: 'Open the link from your terminal',
        help: 'The terminal that runs Portico printed a login link; it works once, for ten minutes. Or paste what stands after its # here. To get a new one, run\nnpm run portico -- login-link',
        failure: 'This link is used up or has expired. Get a new one in the terminal.',
        fields: [
          {
            name: 'secret',
            label: 'Login secret',
            type: 'password',
            autocomplete: 'one-time-code',
            fromFragment: true,
          },
        ],
      },

      routes: [
        {
          method: 'GET',
          path: '/quick-start',
          // Browsers keep the fragment across a redirect (RFC 9110 section 10.2.2).
          handle: () => new Response(null, { status: 302, headers: { location: 'login' } }),
        },
      ],

      issueLink() {
        const [oldest] = open.keys()
        if (open.size >= most && oldest !== undefined) open.delete(oldest)
        const secret = randomBytes(32).toString('base64url')
        open.set(digest(secret), performance.now() + lifetime)
        return { path: `/quick-start#${secret}`, expiresAt: new Date(Date.now() + lifetime) }
      },
    }
  },
})
