import type { NewShareCodeModel, ShareCodeModel, ShareModel } from './models.ts'
import { type Listing, listing } from './pages.ts'
import { json, segment, type Transport } from './transport.ts'

/** A server by its owner and its name, which is empty for the default server. */
export interface ServerName {
  readonly owner: string
  readonly server: string
}

/** Whom a server is shared with. */
export type Receiver = { readonly user: string } | { readonly group: string }

/** Shares and share codes: access to a server for others than its owner. */
export function shareCalls(transport: Transport) {
  return { ...grantCalls(transport), ...receivedCalls(transport), ...codeCalls(transport) }
}

function grantCalls(transport: Transport) {
  const { send } = transport
  return {
    /** Shares of one server; without `server`, of all servers of the owner. */
    shares: (owner: string, server?: string): Listing<ShareModel> =>
      listing(
        transport,
        server === undefined ? `shares/${segment(owner)}` : `shares/${pathOf({ owner, server })}`,
      ),

    /** Adds to what is shared already. Without `scopes`: access to the server. */
    async share(server: ServerName, receiver: Receiver, scopes?: readonly string[]) {
      const request = { method: 'POST', body: { ...receiver, scopes } } as const
      return json<ShareModel>(await send(`shares/${pathOf(server)}`, request))
    },

    /**
     * Takes back some scopes, named with their `!server=` filter, or all; null when nothing is left.
     */
    async unshare(
      server: ServerName,
      receiver: Receiver,
      scopes?: readonly string[],
    ): Promise<ShareModel | null> {
      const request = { method: 'PATCH', body: { ...receiver, scopes } } as const
      const left = json<ShareModel | { readonly kind?: never }>(
        await send(`shares/${pathOf(server)}`, request),
      )
      return left.kind === undefined ? null : left
    },

    /** Takes back everything that is shared of one server. */
    async deleteShares(server: ServerName): Promise<void> {
      await send(`shares/${pathOf(server)}`, { method: 'DELETE' })
    },
  }
}

function receivedCalls(transport: Transport) {
  const { send } = transport
  const path = (receiver: Receiver): string =>
    'user' in receiver
      ? `users/${segment(receiver.user)}/shared`
      : `groups/${segment(receiver.group)}/shared`
  return {
    /** What is shared with a user, also through groups, or with a group. */
    sharedWith: (receiver: Receiver): Listing<ShareModel> => listing(transport, path(receiver)),

    /** One direct share. */
    async sharedServer(receiver: Receiver, server: ServerName) {
      return json<ShareModel>(await send(`${path(receiver)}/${pathOf(server)}`))
    },

    /** Gives up what was shared. */
    async leaveShare(receiver: Receiver, server: ServerName): Promise<void> {
      await send(`${path(receiver)}/${pathOf(server)}`, { method: 'DELETE' })
    },
  }
}

function codeCalls(transport: Transport) {
  const { send } = transport
  return {
    /** Codes of one server; without `server`, of all servers of the owner. */
    shareCodes: (owner: string, server?: string): Listing<ShareCodeModel> =>
      listing(
        transport,
        server === undefined
          ? `share-codes/${segment(owner)}`
          : `share-codes/${pathOf({ owner, server })}`,
      ),

    /** `expiresIn` in seconds, from a minute to a year; a day by default. The code is shown only now. */
    async createShareCode(
      server: ServerName,
      {
        scopes,
        expiresIn,
      }: { readonly scopes?: readonly string[]; readonly expiresIn?: number } = {},
    ) {
      const request = { method: 'POST', body: { scopes, expires_in: expiresIn } } as const
      return json<NewShareCodeModel>(await send(`share-codes/${pathOf(server)}`, request))
    },

    /** Deletes one code by its id, or all of the server. */
    async deleteShareCodes(server: ServerName, id?: string): Promise<void> {
      await send(`share-codes/${pathOf(server)}`, { method: 'DELETE', query: { id } })
    },
  }
}

/** The default server is the empty part after the slash. */
function pathOf({ owner, server }: ServerName): string {
  return `${segment(owner)}/${server === '' ? '' : segment(server)}`
}
