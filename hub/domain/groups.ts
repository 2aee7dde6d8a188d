import { HubError } from '../../packages/core/errors.ts'
import type { Events } from '../events.ts'
import type { Group, GroupQuery, GroupStore } from '../store/groups.ts'
import type { User, UserStore } from '../store/users.ts'
import type { Changes } from './changes.ts'

export type { Group } from '../store/groups.ts'

/** A group with all that its model shows. */
export interface GroupFacts extends Group {
  /** Names, in order. */
  readonly users: readonly string[]
  readonly roles: readonly string[]
}

export interface Groups {
  /** @throws {HubError} `not_found`. */
  byName(name: string): Promise<Group>
  page(
    query: GroupQuery,
  ): Promise<{ readonly groups: readonly GroupFacts[]; readonly total: number }>
  factsOf(group: Group): Promise<GroupFacts>
  /**
   * Makes groups, each with the same members.
   * @throws {HubError} `already_exists` when one of them exists, `invalid_request` for a bad name or
   * an unknown user: then nothing is made.
   */
  create(
    names: readonly string[],
    members: readonly string[],
    by: string,
  ): Promise<readonly GroupFacts[]>
  /** @throws {HubError} `invalid_request` for unknown users: then nobody is added. */
  add(group: Group, userNames: readonly string[], by: string): Promise<void>
  /** @throws {HubError} `invalid_request` for unknown users: then nobody is removed. */
  remove(group: Group, userNames: readonly string[], by: string): Promise<void>
  /** Resolves to the group with these properties instead of its own. */
  setProperties(group: Group, properties: Group['properties'], by: string): Promise<Group>
  delete(group: Group, by: string): Promise<void>
}

export interface GroupsDeps {
  readonly store: GroupStore
  readonly users: UserStore
  readonly changes: Changes
  readonly events: Events
  readonly clock: () => Date
}

export function createGroups(deps: GroupsDeps): Groups {
  const { store, changes, events, clock } = deps
  return {
    async byName(name) {
      const group = await store.findByName(name)
      if (group) return group
      throw new HubError('not_found', `there is no group ${shown(name)}`)
    },

    async page(query) {
      const { groups, total } = await store.page(query)
      return { groups: await factsOf(store, groups), total }
    },

    async factsOf(group) {
      const [facts] = await factsOf(store, [group])
      return facts ?? { ...group, users: [], roles: [] }
    },

    async create(names, members, by) {
      const wanted = [...new Set(names)]
      for (const name of wanted) checkName(name)
      const users = await existing(deps, members)
      const groups = await store.create(wanted, ids(users), clock())
      if (!groups)
        throw new HubError('already_exists', `a group ${wanted.map(shown).join(' or ')} exists`)
      touch(changes, ids(users))
      for (const { name } of groups) events.emit({ kind: 'group-created', group: name, by })
      return factsOf(store, groups)
    },

    async add(group, userNames, by) {
      const users = await existing(deps, userNames)
      const added = named(users, await store.add(group.id, ids(users)))
      membersChanged(deps, { group, added, removed: [], by })
    },

    async remove(group, userNames, by) {
      const users = await existing(deps, userNames)
      const removed = named(users, await store.remove(group.id, ids(users)))
      membersChanged(deps, { group, added: [], removed, by })
    },

    async setProperties(group, properties, by) {
      await store.setProperties(group.id, properties)
      events.emit({ kind: 'group-properties-changed', group: group.name, by })
      return { ...group, properties }
    },

    async delete(group, by) {
      touch(changes, await store.delete(group.id))
      events.emit({ kind: 'group-deleted', group: group.name, by })
    },
  }
}

/** A membership changes rights, by the group's roles and shares and by filters that name it. */
function membersChanged(
  { changes, events }: GroupsDeps,
  change: {
    readonly group: Group
    readonly added: readonly User[]
    readonly removed: readonly User[]
    readonly by: string
  },
): void {
  const { group, added, removed, by } = change
  if (added.length + removed.length === 0) return
  touch(changes, [...ids(added), ...ids(removed)])
  const namesOf = (users: readonly User[]): readonly string[] => users.map(({ name }) => name)
  events.emit({
    kind: 'group-members-changed',
    group: group.name,
    added: namesOf(added),
    removed: namesOf(removed),
    by,
  })
}

async function factsOf(
  store: GroupStore,
  groups: readonly Group[],
): Promise<readonly GroupFacts[]> {
  const all = groups.map(({ id }) => id)
  const [members, roles] = await Promise.all([store.membersOf(all), store.rolesOf(all)])
  return groups.map((group) => ({
    ...group,
    users: members.get(group.id) ?? [],
    roles: roles.get(group.id) ?? [],
  }))
}

/** @throws {HubError} `invalid_request`, naming those who do not exist. */
async function existing({ users }: GroupsDeps, names: readonly string[]): Promise<User[]> {
  const wanted = [...new Set(names)]
  const found = await Promise.all(wanted.map((name) => users.findByName(name)))
  const unknown = wanted.filter((_name, index) => !found[index])
  if (unknown.length > 0)
    throw new HubError('invalid_request', `No such user: ${unknown.map(shown).join(', ')}`)
  return found.filter((user) => user !== null)
}

/** Groups may have more members than a call can have arguments. */
function touch(changes: Changes, userIds: readonly number[]): void {
  for (const id of userIds) changes.touchRights(id)
}

const ids = (users: readonly User[]): readonly number[] => users.map(({ id }) => id)

function named(users: readonly User[], wanted: readonly number[]): readonly User[] {
  const set = new Set(wanted)
  return users.filter(({ id }) => set.has(id))
}

/** What may be the name of a group: it becomes part of paths and scopes. */
export function isGroupName(name: string): boolean {
  return name.length <= 255 && name !== '' && name.trim() === name && !/[\p{Cc}\p{Cs}]/u.test(name)
}

function checkName(name: string): void {
  if (!isGroupName(name))
    throw new HubError('invalid_request', `not a valid name of a group: ${shown(name)}`)
}

const shown = (name: string): string => JSON.stringify(name.slice(0, 64))
