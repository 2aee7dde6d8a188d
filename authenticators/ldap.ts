import { defineAuthenticator } from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { ldapOptions } from './ldap/options.ts'

/** Milliseconds in which a look at somebody without a password must be done. */
const patience = 10_000

/**
 * Passwords checked by a directory (JupyterHub's `ldapauthenticator` 2). Every login has a
 * connection of its own, encrypted from the first byte that matters; when it breaks, the login
 * starts over on the next server.
 */
export const ldap = defineAuthenticator({
  name: 'ldap',
  config: ldapOptions,
  create: async (options, { log, manageGroups }) => {
    const { DirectoryLogin } = await import('./ldap/login.ts')
    const { createServers } = await import('./ldap/servers.ts')
    const { ServerFailure } = await import('./ldap/connection.ts')
    const directory = new DirectoryLogin(options, manageGroups)
    const servers = await createServers(options, (message) => log.warn(message))
    return {
      refresh: async (identity) =>
        directory.looksAgain
          ? servers.ask(AbortSignal.timeout(patience), (connection) =>
              directory.lookAgain(connection, identity),
            )
          : identity,
      async authenticate({ form, signal }) {
        const password = form['password'] ?? ''
        const checked = directory.check(form['username'] ?? '', password)
        if (typeof checked === 'string') return { kind: 'denied', reason: checked }
        try {
          return await servers.ask(signal, (connection) =>
            directory.run(connection, checked.login, password),
          )
        } catch (error) {
          if (!(error instanceof ServerFailure)) throw error
          throw new HubError(
            'unavailable',
            'the directory of passwords does not answer; try again in a moment',
            { cause: error, retryAfter: 10 },
          )
        }
      },
    }
  },
})
