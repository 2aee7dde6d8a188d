import type { GroupModel } from './models.ts'
import { type Listing, listing } from './pages.ts'
import { json, segment, type Transport } from './transport.ts'

/** Groups and their members. */
export function groupCalls(transport: Transport) {
  const { send } = transport
  const path = (group: string): string => `groups/${segment(group)}`
  return {
    groups: ({ pageSize }: { readonly pageSize?: number } = {}): Listing<GroupModel> =>
      listing(transport, 'groups', { pageSize }),

    group: async (name: string) => json<GroupModel>(await send(path(name))),

    async createGroup(name: string, { users = [] }: { readonly users?: readonly string[] } = {}) {
      return json<GroupModel>(await send(path(name), { method: 'POST', body: { users } }))
    },

    /** Makes several with the same members; at 409 those before the one that exists are made. */
    async createGroups(
      names: readonly string[],
      { users = [] }: { readonly users?: readonly string[] } = {},
    ) {
      const body = { groups: names, users }
      return json<readonly GroupModel[]>(await send('groups', { method: 'POST', body }))
    },

    async deleteGroup(name: string): Promise<void> {
      await send(path(name), { method: 'DELETE' })
    },

    /** Who is a member already stays one. */
    async addToGroup(name: string, users: readonly string[]) {
      const request = { method: 'POST', body: { users } } as const
      return json<GroupModel>(await send(`${path(name)}/users`, request))
    },

    /** Who is no member stays none. */
    async removeFromGroup(name: string, users: readonly string[]) {
      const request = { method: 'DELETE', body: { users } } as const
      return json<GroupModel>(await send(`${path(name)}/users`, request))
    },

    /** Replaces all properties. */
    async setGroupProperties(name: string, properties: Readonly<Record<string, unknown>>) {
      const request = { method: 'PUT', body: properties } as const
      return json<GroupModel>(await send(`${path(name)}/properties`, request))
    },
  }
}
