import { HubError } from '../../packages/core/errors.ts'
import type { Authenticator } from '../../packages/core/authenticator.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Events } from '../events.ts'
import type { SessionStore } from '../store/sessions.ts'
import type { User, UserQuery, UserStore } from '../store/users.ts'
import type { Changes } from './changes.ts'
import { invalidName } from './login.ts'
import type { Servers } from './servers.ts'

export type { User } from '../store/users.ts'

export interface Users {
  /** @throws {HubError} `user_not_found`. */
  byName(name: string): Promise<User>
  page(query: UserQuery): Promise<{ readonly users: readonly User[]; readonly total: number }>
  rolesOf(user: User): Promise<readonly string[]>
  groupsOf(user: User): Promise<readonly string[]>
  /**
   * Makes users; names that exist are skipped.
   * @throws {HubError} `invalid_request` when a name is invalid (nothing is made then), `already_exists` when none is new.
   */
  create(
    names: readonly string[],
    options: { readonly admin: boolean; readonly by: string },
  ): Promise<readonly User[]>
  /** @throws {HubError} `user_not_found`. */
  setAdmin(user: User, admin: boolean, by: string): Promise<User>
  /** @throws {HubError} `invalid_request` for a bad or taken name, `already_exists` while servers run. */
  rename(user: User, name: string): Promise<User>
  /** Stops the user's servers first, then removes everything that belongs to them. */
  delete(user: User, by: string): Promise<void>
}

export interface UsersDeps {
  readonly store: UserStore
  readonly sessions: SessionStore
  readonly servers: Servers
  readonly authenticator: Authenticator
  readonly pattern: RegExp | null
  readonly changes: Changes
  readonly events: Events
  readonly clock: () => Date
}

export function createUsers(deps: UsersDeps): Users {
  const { store, sessions, servers, authenticator, pattern, changes, events, clock } = deps

  const byName = (name: string): Promise<User> => existing(store, name)

  return {
    byName,
    page: (query) => store.page(query),
    rolesOf: (user) => store.roleNamesOf(user.id),
    groupsOf: (user) => store.groupsOf(user.id),

    async create(names, { admin, by }) {
      const wanted = validNames(names, pattern)
      const made: User[] = []
      for (const name of wanted) {
        const user = await store.create(name, { admin, now: clock() })
        if (!user) continue
        await authenticator.addUser?.(user.name)
        events.emit({ kind: 'user-created', user: user.name, by })
        made.push(user)
      }
      if (made.length === 0)
        throw new HubError('already_exists', `All ${wanted.length} users already exist`)
      return made
    },

    async setAdmin(user, admin, by) {
      await store.setAdmin(user.name, admin)
      changes.touchRights(user.id)
      if (user.admin !== admin) events.emit({ kind: 'admin-changed', user: user.name, admin, by })
      return byName(user.name)
    },

    async rename(user, wanted) {
      const name = newName(user, wanted, pattern)
      const taken = await store.findByName(name)
      if (taken && taken.id !== user.id)
        throw new HubError(
          'invalid_request',
          `User ${name} already exists, username must be unique`,
        )
      const running = (await servers.ofUser(user)).filter(({ state }) => state.kind !== 'stopped')
      if (running.length > 0)
        throw new HubError('already_exists', `stop the servers of ${user.name} before renaming`)
      await store.rename(user.id, name)
      await sessions.deleteOfUser(user.id)
      changes.touchRights(user.id)
      return byName(name)
    },

    async delete(user, by) {
      await servers.stopAllOf(user)
      await store.delete(user.id)
      // One that was started in between has lost its row.
      await servers.stopAllOf(user)
      await authenticator.deleteUser?.(user.name)
      changes.touchAll()
      events.emit({ kind: 'user-deleted', user: user.name, by })
    },
  }
}

async function existing(store: UserStore, name: string): Promise<User> {
  const user = await store.findByName(name)
  if (user) return user
  throw new HubError('user_not_found', `there is no user ${JSON.stringify(name.slice(0, 64))}`)
}

function validNames(names: readonly string[], pattern: RegExp | null): readonly string[] {
  const wanted = [...new Set(names.map(nameKey))]
  const invalid = wanted.filter((name) => invalidName(name, pattern) !== null)
  if (invalid.length === 0) return wanted
  const shown = invalid.map((name) => name.slice(0, 64)).join(', ')
  throw new HubError('invalid_request', `Invalid usernames: ${shown}`)
}

function newName(user: User, wanted: string, pattern: RegExp | null): string {
  const name = nameKey(wanted)
  const invalid = invalidName(name, pattern)
  if (invalid) throw new HubError('invalid_request', `cannot rename ${user.name}: ${invalid}`)
  return name
}
