import type { UserModel } from './models.ts'
import { type Listing, listing } from './pages.ts'
import { json, segment, type Transport } from './transport.ts'

export interface UserFilter {
  /** `active`: with a server that runs or is about to; `ready`: with one that runs; `inactive`: with none. */
  readonly state?: 'active' | 'ready' | 'inactive'
  /** Part of the name, in any case of letters. */
  readonly nameFilter?: string
  readonly sort?: 'id' | 'name' | 'last_activity' | '-id' | '-name' | '-last_activity'
  readonly includeStoppedServers?: boolean
  /** Users per request; the hub may give fewer. */
  readonly pageSize?: number
}

export interface UserChange {
  readonly name?: string
  readonly admin?: boolean
  /** True ends all by which they are let in, stops their servers and takes the mark of an admin. */
  readonly blocked?: boolean
  readonly authState?: Readonly<Record<string, unknown>>
}

/** Times of activity, as a server tells them: the user's own, and of servers by name. */
export interface ActivityReport {
  readonly lastActivity?: Date
  readonly servers?: Readonly<Record<string, Date>>
}

/** Users and their activity. */
export function userCalls(transport: Transport) {
  const { send } = transport
  return {
    users: (filter: UserFilter = {}): Listing<UserModel> =>
      listing(transport, 'users', {
        pageSize: filter.pageSize,
        query: {
          state: filter.state,
          name_filter: filter.nameFilter,
          sort: filter.sort,
          include_stopped_servers: filter.includeStoppedServers ? 1 : undefined,
        },
      }),

    async user(
      name: string,
      { includeStoppedServers = false }: { readonly includeStoppedServers?: boolean } = {},
    ): Promise<UserModel> {
      const query = { include_stopped_servers: includeStoppedServers ? 1 : undefined }
      return json(await send(`users/${segment(name)}`, { query }))
    },

    /** Makes all in one request; resolves to those that are new. 409 when none is. */
    async createUsers(names: readonly string[], { admin = false } = {}) {
      const body = { usernames: names, admin }
      return json<readonly UserModel[]>(await send('users', { method: 'POST', body }))
    },

    /** Makes one user; 409 when there is one of this name. */
    async createUser(name: string, { admin = false } = {}) {
      const request = { method: 'POST', body: { admin } } as const
      return json<UserModel>(await send(`users/${segment(name)}`, request))
    },

    async updateUser(name: string, { authState, ...change }: UserChange) {
      const request = { method: 'PATCH', body: { ...change, auth_state: authState } } as const
      return json<UserModel>(await send(`users/${segment(name)}`, request))
    },

    /** Their servers are stopped first. */
    async deleteUser(name: string): Promise<void> {
      await send(`users/${segment(name)}`, { method: 'DELETE' })
    },

    /** Stored times only move forward. */
    async reportActivity(user: string, { lastActivity, servers }: ActivityReport): Promise<void> {
      const body = {
        last_activity: lastActivity?.toISOString(),
        servers:
          servers &&
          Object.fromEntries(
            Object.entries(servers).map(([name, at]) => [
              name,
              { last_activity: at.toISOString() },
            ]),
          ),
      }
      await send(`users/${segment(user)}/activity`, { method: 'POST', body })
    },
  }
}
