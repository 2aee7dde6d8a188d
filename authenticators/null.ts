import { defineAuthenticator } from 'portico/authenticator'
import { z } from 'zod'

/** Nobody logs in: for hubs that only programs use, with tokens. JupyterHub: NullAuthenticator. */
export const nobody = defineAuthenticator({
  name: 'null',
  config: z.strictObject({}),
  create: () => ({
    authenticate: () => Promise.resolve({ kind: 'denied', reason: 'nobody logs in here' }),
    loginForm: {
      title: 'No logins here',
      help: 'This hub has no logins: programs use it with API tokens.',
      fields: [],
      isClosed: true,
    },
  }),
})
