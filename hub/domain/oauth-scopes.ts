import {
  allows,
  covers,
  expandScopes,
  intersectScopes,
  type ScopeCatalogue,
  type ScopeOwner,
  unknownScopes,
} from '../../packages/core/scopes.ts'
import type { OauthClient } from '../store/oauth.ts'
import type { Caller } from './access.ts'

/** Scopes that every login gives: who the user is, and access to what the client stands for. */
export function impliedScopes({ server, service }: OauthClient): readonly string[] {
  const access = server
    ? [`access:servers!server=${server.userName}/${server.name}`]
    : service
      ? [`access:services!service=${service.name}`]
      : []
  return [...access, 'read:users:name!user', 'read:users:groups!user']
}

/** What `!user`, `!server` and `!service` mean for a token that `userName` gets through this client. */
export function scopeOwner({ server, service }: OauthClient, userName: string): ScopeOwner {
  return {
    userName,
    ...(server ? { server: `${server.userName}/${server.name}` } : {}),
    ...(service ? { serviceName: service.name } : {}),
  }
}

/**
 * The raw scopes that a login is about: those that are wanted, or all that the client may have when
 * it names none (null). A text says why it may not have them (wire section 7.2).
 */
export function requestedScopes(
  wanted: readonly string[] | null,
  client: OauthClient,
  catalogue: ScopeCatalogue,
): readonly string[] | string {
  const { allowedScopes } = client
  const implied = impliedScopes(client)
  if (wanted === null && allowedScopes.includes('inherit')) return allowedScopes
  const allowed = [...new Set([...allowedScopes, ...implied])]
  if (wanted === null) return allowed
  const unknown = unknownScopes(wanted, catalogue)
  if (unknown.length > 0) return `unknown scopes: ${unknown.join(' ')}`
  const scopes = [...new Set([...wanted, ...implied])]
  if (allowed.includes('inherit')) return scopes
  // Both sides are compared for a nameless user: filters such as !user mean the same on either.
  const owner = scopeOwner(client, '\u0000')
  const limit = expandScopes(allowed, owner, catalogue)
  const excess = wanted.filter((scope) =>
    [...expandScopes([scope], owner, catalogue)].some((one) => !covers(limit, one)),
  )
  return excess.length > 0 ? `not allowed for this client: ${excess.join(' ')}` : scopes
}

/**
 * What of the requested scopes this user can give. One that they have only in part gives that part,
 * expanded; what they do not have is dropped silently, as on JupyterHub (wire section 5.5).
 */
export function grantableScopes(
  requested: readonly string[],
  caller: Pick<Caller, 'name' | 'groups' | 'scopes'>,
  { client, catalogue }: { readonly client: OauthClient; readonly catalogue: ScopeCatalogue },
): readonly string[] {
  const owner = scopeOwner(client, caller.name)
  const identify = expandScopes(['read:users:name!user', 'read:users:groups!user'], owner)
  const held = new Set([...caller.scopes, ...identify])
  const groupsOf = (user: string) => (user === caller.name ? caller.groups : [])
  const granted = requested.flatMap((raw) => {
    if (raw === 'inherit') return [raw]
    const expanded = expandScopes([raw], owner, catalogue)
    const overlap = intersectScopes(expanded, held, groupsOf)
    return isWithin(expanded, overlap) ? [raw] : topmost(overlap, catalogue)
  })
  return [...new Set(granted)]
}

/** Whether these scopes allow to open what the client stands for. `groups` are those of its server's owner. */
export function opens(
  { server, service }: OauthClient,
  scopes: ReadonlySet<string>,
  groups: readonly string[] = [],
): boolean {
  if (service) return allows(scopes, 'access:services', { kind: 'service', service: service.name })
  if (!server) return false
  const resource = { kind: 'server', user: server.userName, server: server.name } as const
  return allows(scopes, 'access:servers', resource, () => groups)
}

function isWithin(part: ReadonlySet<string>, whole: ReadonlySet<string>): boolean {
  return part.size > 0 && [...part].every((scope) => whole.has(scope))
}

/** The scopes that are no part of another one in the set. */
function topmost(scopes: ReadonlySet<string>, catalogue: ScopeCatalogue): readonly string[] {
  const parts = new Set<string>()
  for (const scope of scopes)
    for (const part of expandScopes([scope], {}, catalogue)) if (part !== scope) parts.add(part)
  return [...scopes].filter((scope) => !parts.has(scope))
}
