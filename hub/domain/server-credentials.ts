import type { OauthStore } from '../store/oauth.ts'
import type { RoleStore } from '../store/roles.ts'
import type { StoredServer } from '../store/servers.ts'
import type { TokenStore } from '../store/tokens.ts'
import type { SpawnerOptions } from '../config.ts'
import type { Changes } from './changes.ts'
import { oauthClientId } from './server-environment.ts'
import type { HubUrls } from './urls.ts'

export interface CredentialsDeps {
  readonly tokens: TokenStore
  readonly oauth: OauthStore
  readonly roles: RoleStore
  readonly changes: Changes
  readonly urls: HubUrls
  readonly clock: () => Date
  readonly spawner: Pick<SpawnerOptions, 'serverTokenScopes' | 'oauthClientAllowedScopes'>
  /** True for the embedded server, which does PKCE. */
  readonly requirePkce: boolean
}

/** What a server proves itself with. */
export interface Credentials {
  /** Its API token, and the secret of its OAuth client. */
  readonly secret: string
  readonly clientId: string
}

/**
 * Makes a server's own token, and the OAuth client through which browsers log in to it. Both go with
 * the end of the run.
 */
export async function issueCredentials(
  deps: CredentialsDeps,
  row: StoredServer,
): Promise<Credentials> {
  const { tokens, oauth, roles, changes, spawner, urls, clock } = deps
  const here = `server=${row.userName}/${row.name}`
  const wanted =
    spawner.serverTokenScopes.length > 0
      ? spawner.serverTokenScopes
      : await roles.scopesOf('server')
  const scopes = (wanted ?? []).map((scope) => scope.replace(/!server$/, `!${here}`))
  if (!scopes.some((scope) => scope.startsWith('users:activity')))
    scopes.push('users:activity!user')
  const prefix = urls.serverPrefix(row.userName, row.name)
  const { secret } = await tokens.issue(
    { userId: row.userId, serverId: row.id, scopes, note: `Server at ${prefix}`, expiresAt: null },
    clock(),
  )
  const clientId = await freeClientId(oauth, row)
  const replaced = await oauth.registerClient({
    identifier: clientId,
    description: `Server at ${prefix}`,
    secret,
    redirectUri: `${prefix}oauth_callback`,
    allowedScopes: [`access:servers!${here}`, ...spawner.oauthClientAllowedScopes],
    requirePkce: deps.requirePkce,
    serverId: row.id,
  })
  changes.touchRights(...replaced)
  return { secret, clientId }
}

/**
 * JupyterHub's ids are ambiguous, `a-b` being the default server of `a-b` or the server `b` of `a`: who
 * comes second gets one that no other server can have, since `+` is escaped in names.
 */
async function freeClientId(oauth: OauthStore, { userId, userName, name }: StoredServer) {
  const usual = oauthClientId(userName, name)
  const known = await oauth.findClient(usual)
  const isOwn = !known || (known.server?.userId === userId && known.server.name === name)
  return isOwn ? usual : `${oauthClientId(userName, '')}+${name}`
}
