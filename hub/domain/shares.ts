import { HubError } from '../../packages/core/errors.ts'
import { allows, covers, isScope } from '../../packages/core/scopes.ts'
import type { Events } from '../events.ts'
import type { ShareCodeStore, StoredShareCode } from '../store/share-codes.ts'
import type {
  Grantee,
  SharedServer,
  ShareFilter,
  SharePage,
  ShareStore,
  StoredShare,
} from '../store/shares.ts'
import type { User, UserStore } from '../store/users.ts'
import type { Access, Caller } from './access.ts'
import type { Changes } from './changes.ts'
import { noSuchServer, type Servers } from './servers.ts'

export type { StoredShareCode } from '../store/share-codes.ts'
export type { Grantee, SharedServer, StoredShare } from '../store/shares.ts'

/** Somebody by name, as a request names them. */
export interface GranteeName {
  readonly kind: Grantee['kind']
  readonly name: string
}

interface Place {
  readonly offset: number
  readonly limit: number
}

/** Who else may use whose servers. Scopes are written as on the wire, with their `!server=` filter. */
export interface Shares {
  /** The server as shares know it; one that never ran may have the id 0, which no share has. @throws {HubError} `server_not_found`. */
  server(owner: User, name: string): Promise<SharedServer>
  page(filter: ShareFilter, place: Place): Promise<SharePage<StoredShare>>
  /** What is shared with a user, also through groups. */
  pageOfUser(user: User, place: Place): Promise<SharePage<StoredShare>>
  /** Null when there is no such user or group. */
  grantee(name: GranteeName): Promise<Grantee | null>
  /** The share that was made directly to this grantee. @throws {HubError} `not_found`. */
  find(server: SharedServer, grantee: Grantee): Promise<StoredShare>
  /**
   * Shares the server, or more of it; absent scopes stand for access to it.
   * @throws {HubError} `invalid_request` for scopes that cannot be shared and unknown grantees,
   * `missing_scope` when the caller lacks what is shared, or may not know the grantee.
   */
  grant(
    by: Caller,
    server: SharedServer,
    to: GranteeName,
    scopes: readonly string[] | null,
  ): Promise<StoredShare>
  /** Takes these scopes back, or all. Null when nothing is left, or nothing was there. */
  revoke(
    by: string,
    server: SharedServer,
    from: Grantee,
    scopes: readonly string[] | null,
  ): Promise<StoredShare | null>
  revokeAll(by: string, server: SharedServer): Promise<void>
}

/** Codes that give whoever has them a share of a server. */
export interface ShareCodes {
  page(filter: ShareFilter, place: Place): Promise<SharePage<StoredShareCode>>
  /** The code is told once. @throws {HubError} as `grant` does. */
  create(
    by: Caller,
    server: SharedServer,
    options: { readonly scopes: readonly string[] | null; readonly expiresInSeconds: number },
  ): Promise<{ readonly code: string; readonly stored: StoredShareCode }>
  /** Null when the code is unknown or expired. */
  find(code: string): Promise<StoredShareCode | null>
  /** Deletes the code, or the one with this id. @throws {HubError} `not_found`. */
  delete(
    server: SharedServer,
    which: { readonly code: string } | { readonly id: number },
  ): Promise<void>
  deleteAll(server: SharedServer): Promise<void>
  /** @throws {HubError} `invalid_request` for an unknown or expired code, or one's own server. */
  exchange(code: string, user: User): Promise<StoredShare>
}

export interface SharesDeps {
  readonly shares: ShareStore
  readonly codes: ShareCodeStore
  readonly users: UserStore
  readonly servers: Servers
  readonly access: Access
  readonly changes: Changes
  readonly events: Events
  readonly clock: () => Date
}

/** The filter that every scope of a share has on the wire. */
export function serverFilter({ ownerName, name }: SharedServer): string {
  return `!server=${ownerName}/${name}`
}

export function createShares(deps: SharesDeps): Shares {
  const { shares, servers, changes, clock } = deps

  const revoked = async (server: SharedServer, from: string, by: string): Promise<void> => {
    await endVisits(deps, server)
    announce(deps, 'share-revoked', server, { with: from, by })
  }

  return {
    async server(owner, name) {
      const view = await servers.find(owner, name)
      if (!view) throw noSuchServer(owner, name)
      return { id: view.id ?? 0, name, ownerId: owner.id, ownerName: owner.name }
    },

    page: (filter, place) => shares.page(filter, place),
    pageOfUser: (user, place) => shares.pageOfUser(user.id, place),
    grantee: ({ kind, name }) => shares.grantee(kind, name),

    async find(server, to) {
      const found = await shares.find(server.id, to)
      if (found) return found
      throw new HubError(
        'not_found',
        `${server.ownerName}/${server.name} is not shared with ${to.kind} ${to.name}`,
      )
    },

    async grant(by, server, to, scopes) {
      requireNaming(by, to)
      const granted = await sharable(deps, by, server, scopes)
      const found = await shares.grantee(to.kind, to.name)
      if (!found)
        throw new HubError('invalid_request', `No such ${to.kind}: ${to.name.slice(0, 64)}`)
      if (found.kind === 'user' && found.id === server.ownerId)
        throw new HubError('invalid_request', 'a server cannot be shared with its owner')
      const share = await shares.grant(await stored(deps, server), found, granted, clock())
      changes.touchRights(...(await shares.usersOf(found)))
      announce(deps, 'share-granted', server, { with: `${found.kind}:${found.name}`, by: by.name })
      return share
    },

    async revoke(by, server, from, scopes) {
      const bare = scopes?.map((scope) => withoutFilter(scope, server)) ?? null
      const left = await shares.revoke(server.id, from, bare)
      changes.touchRights(...(await shares.usersOf(from)))
      await revoked(server, `${from.kind}:${from.name}`, by)
      return left
    },

    async revokeAll(by, server) {
      const holders = await shares.holders(server.id)
      await shares.revokeAll(server.id)
      changes.touchRights(...holders)
      await revoked(server, 'everybody', by)
    },
  }
}

export function createShareCodes(deps: SharesDeps): ShareCodes {
  const { codes, changes, clock } = deps
  return {
    page: (filter, place) => codes.page(filter, place, clock()),
    find: (code) => codes.find(code, clock()),

    async create(by, server, { scopes, expiresInSeconds }) {
      const now = clock()
      const expiresAt = new Date(now.getTime() + expiresInSeconds * 1000)
      const granted = await sharable(deps, by, server, scopes)
      const made = await codes.create(await stored(deps, server), {
        scopes: granted,
        expiresAt,
        now,
      })
      announce(deps, 'share-granted', server, { with: 'code', by: by.name })
      return made
    },

    async delete(server, which) {
      const id = 'id' in which ? which.id : ((await codes.find(which.code, clock()))?.id ?? 0)
      if (!(await codes.delete(server.id, id)))
        throw new HubError('not_found', 'there is no such share code')
    },

    deleteAll: (server) => codes.deleteAll(server.id),

    async exchange(code, user) {
      const known = await codes.find(code, clock())
      if (known?.server.ownerId === user.id)
        throw new HubError('invalid_request', 'This is your own server; nothing needs to be shared')
      const grantee: Grantee = { kind: 'user', id: user.id, name: user.name }
      const share = known && (await codes.exchange(known.id, grantee, clock()))
      if (!share)
        throw new HubError(
          'invalid_request',
          'Invalid share code: it does not exist or has expired',
        )
      changes.touchRights(user.id)
      announce(deps, 'share-granted', share.server, { with: `user:${user.name}`, by: user.name })
      return share
    },
  }
}

function announce(
  { events }: SharesDeps,
  kind: 'share-granted' | 'share-revoked',
  { ownerName: user, name: server }: SharedServer,
  how: { readonly with: string; readonly by: string },
): void {
  events.emit({ kind, user, server, ...how })
}

/** With its row, which a default server that never ran has not. */
async function stored({ servers }: SharesDeps, server: SharedServer): Promise<SharedServer> {
  const owner = { id: server.ownerId, name: server.ownerName }
  const row = await servers.edits.ensure(owner, server.name)
  if (!row) throw noSuchServer(owner, server.name)
  return { ...server, id: row.id }
}

/** Whoever shares with somebody must be allowed to know that they exist. */
function requireNaming({ scopes }: Caller, { kind, name }: GranteeName): void {
  const scope = `read:${kind}s:name`
  const resource =
    kind === 'user' ? ({ kind, user: name } as const) : ({ kind, group: name } as const)
  if (allows(scopes, scope, resource)) return
  throw new HubError(
    'missing_scope',
    `sharing with this ${kind} requires ${scope}!${kind}=${name.slice(0, 64)}`,
  )
}

/** The scopes of a new share, bare. @throws {HubError} `invalid_request`, `missing_scope`. */
async function sharable(
  { access, users }: SharesDeps,
  by: Caller,
  server: SharedServer,
  scopes: readonly string[] | null,
): Promise<readonly string[]> {
  const bare = (scopes ?? ['access:servers']).map((scope) => withoutFilter(scope, server))
  const unknown = bare.filter(
    (scope) =>
      !isScope(scope, access.catalogue) || ['self', 'inherit', '(no_scope)'].includes(scope),
  )
  if (unknown.length > 0)
    throw new HubError('invalid_request', `cannot be shared: ${shown(unknown)}`)
  const groups = await users.groupsOf(server.ownerId)
  const lacking = bare.filter(
    (scope) => !covers(by.scopes, scope + serverFilter(server), () => groups),
  )
  if (lacking.length > 0)
    throw new HubError(
      'missing_scope',
      `you cannot share what you may not do yourself: ${shown(lacking.map((scope) => scope + serverFilter(server)))}`,
    )
  return bare
}

const shown = (scopes: readonly string[]): string =>
  scopes
    .map((scope) => scope.slice(0, 100))
    .slice(0, 10)
    .join(', ')

/** @throws {HubError} `invalid_request` for another filter than that of the server itself. */
function withoutFilter(scope: string, server: SharedServer): string {
  const [base = '', ...filter] = scope.split('!')
  if (filter.length === 0 || `!${filter.join('!')}` === serverFilter(server)) return base
  throw new HubError(
    'invalid_request',
    `a share holds scopes of its own server only: ${scope.slice(0, 100)} must end in ${serverFilter(server)}`,
  )
}

/**
 * Ends what visitors got by OAuth to use a server that they may not enter any more. Their rights are
 * gone already; servers that remember tokens for a while ask again sooner.
 */
async function endVisits(
  { shares, users, access, changes }: SharesDeps,
  server: SharedServer,
): Promise<void> {
  const resource = { kind: 'server', user: server.ownerName, server: server.name } as const
  const groups = await users.groupsOf(server.ownerId)
  for (const { id } of await shares.visitors(server)) {
    const user = await users.findById(id)
    if (!user) continue
    const { scopes } = await access.rightsOf({ kind: 'user', user })
    if (allows(scopes, 'access:servers', resource, () => groups)) continue
    await shares.endVisit(server.id, id)
    changes.touchRights(id)
  }
}
