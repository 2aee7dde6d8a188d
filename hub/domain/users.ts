import { describeError, HubError } from '../../packages/core/errors.ts'
import type { Authenticator } from '../../packages/core/authenticator.ts'
import { endsWithin } from '../../packages/core/promises.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { User, UserDetails, UserEdit, UserPage, UserQuery, UserStore } from '../store/users.ts'
import { type AccessEndingDeps, endAccess } from './access-ending.ts'
import { invalidName } from './admission.ts'
import type { Servers } from './servers.ts'

export type { User, UserDetails, UserQuery } from '../store/users.ts'

export interface Users {
  /** @throws {HubError} `user_not_found`. */
  byName(name: string): Promise<User>
  page(query: UserQuery): Promise<UserPage>
  /** These users with their groups and own roles at the cost of one, in any order; without those who are gone. */
  details(ids: readonly number[]): Promise<readonly UserDetails[]>
  /**
   * Makes users; names that exist are skipped.
   * @throws {HubError} `invalid_request` when a name is invalid (nothing is made then), `already_exists` when none is new.
   */
  create(
    names: readonly string[],
    options: { readonly admin: boolean; readonly by: string },
  ): Promise<readonly User[]>
  /**
   * Changes name and marks together, or nothing. Who is blocked is no admin any more, loses sessions
   * and tokens at once, and their servers are stopped, which goes on meanwhile.
   * @throws {HubError} `invalid_request` for a bad or taken name and for what the config blocks,
   * `already_exists` while servers run, `user_not_found`.
   */
  edit(user: User, edit: UserEdit, by: string): Promise<User>
  /**
   * Stops the user's servers first, then removes everything that belongs to them.
   * @throws {HubError} `server_pending` when a server is stopping, or does not stop in time: nothing is deleted then.
   */
  delete(user: User, by: string): Promise<void>
}

export interface UsersDeps extends Omit<AccessEndingDeps, 'stopServers'> {
  readonly store: UserStore
  readonly servers: Servers
  readonly authenticator: Authenticator
  readonly pattern: RegExp | null
  /** Keys of the names that the config blocks. */
  readonly blockedNames: ReadonlySet<string>
  readonly clock: () => Date
  /** Seconds that deleting a user waits for their servers to stop. */
  readonly slowStop: number
}

export function createUsers(deps: UsersDeps): Users {
  const { store, servers, authenticator, pattern, changes, events, clock } = deps

  return {
    byName: (name) => existing(store, name),
    page: (query) => store.page(query),

    details: (ids) => store.details(ids),

    async create(names, { admin, by }) {
      const wanted = validNames(names, pattern)
      const made = await store.createAll(wanted, { admin, now: clock() })
      if (made.length === 0)
        throw new HubError('already_exists', `All ${wanted.length} users already exist`)
      changes.touchFacts(...made.map(({ id }) => id))
      if (authenticator.addUser)
        await introduce(deps, made, async (name) => {
          await authenticator.addUser?.(name)
        })
      for (const { name } of made) events.emit({ kind: 'user-created', user: name, by })
      return made
    },

    async edit(user, edit, by) {
      const wanted = edit.name === undefined ? user.name : newName(user, edit.name, pattern)
      checkBlock(deps, user, edit)
      const marks = edit.blocked ? { ...edit, admin: false } : edit
      if (wanted === user.name) return apply(deps, user, { ...marks, name: wanted }, by)
      return servers.exclusively(user, async () => {
        if (servers.runsOf(user).length > 0)
          throw new HubError('already_exists', `stop the servers of ${user.name} before renaming`)
        return apply(deps, user, { ...marks, name: wanted }, by)
      })
    },

    async delete(user, by) {
      await servers.exclusively(user, async () => {
        await stopServers(deps, user)
        await store.delete(user.id)
        changes.touchAll()
      })
      await authenticator.deleteUser?.(user.name)
      events.emit({ kind: 'user-deleted', user: user.name, by })
    },
  }
}

/** Tells the authenticator of new users; from the first that it refuses on they are not made after all. */
async function introduce(
  { store, changes }: UsersDeps,
  made: readonly User[],
  addUser: NonNullable<Authenticator['addUser']>,
): Promise<void> {
  for (const [index, { name }] of made.entries())
    try {
      await addUser(name)
    } catch (error) {
      for (const { id } of made.slice(index)) await store.delete(id)
      changes.touchAll()
      throw new HubError(
        'invalid_request',
        `Failed to create user ${name}: ${describeError(error)}`,
      )
    }
}

function checkBlock({ blockedNames }: UsersDeps, user: User, { admin, blocked }: UserEdit): void {
  if ((blocked ?? user.blocked) && admin)
    throw new HubError(
      'invalid_request',
      'nobody can be an admin and blocked: choose one of the two',
    )
  if (blocked === false && blockedNames.has(nameKey(user.name)))
    throw new HubError(
      'invalid_request',
      `authenticator.blockedUsers names ${user.name}: remove the name there and restart the hub`,
    )
}

async function apply(
  deps: UsersDeps,
  user: User,
  edit: UserEdit & { readonly name: string },
  by: string,
): Promise<User> {
  const { store, changes, events, servers } = deps
  const edited = await store.edit(user.id, edit)
  if (!edited) {
    await existing(store, user.name)
    throw new HubError(
      'invalid_request',
      `User ${edit.name} already exists, username must be unique`,
    )
  }
  const { name, admin, blocked } = edited
  if (name === user.name) changes.touchRights(user.id)
  // Others' scopes may name the user, for example those of shares.
  else {
    changes.touchAll()
    events.emit({ kind: 'user-renamed', user: name, from: user.name, by })
  }
  if (admin !== user.admin) events.emit({ kind: 'admin-changed', user: name, admin, by })
  if (blocked !== user.blocked)
    events.emit({ kind: blocked ? 'user-blocked' : 'user-unblocked', user: name, by })
  const ending = { reason: 'the account is blocked', servers: true }
  const stopServers = (of: User): Promise<void> => servers.stopAllOf(of)
  if (edit.blocked) await endAccess({ ...deps, stopServers }, edited, ending)
  return edited
}

async function stopServers({ servers, slowStop }: UsersDeps, user: User): Promise<void> {
  const runs = servers.runsOf(user)
  const pending = runs.find(({ state }) => state.kind === 'stopping')
  if (pending) throw stillStopping(user, pending.row.name)
  const stopped = Promise.all(
    runs.map(async (run) => {
      await run.stop()
      await run.ended
    }),
  )
  if (await endsWithin(slowStop * 1000, stopped)) return
  stopped.catch(() => {})
  const slow = runs.find(({ state }) => state.kind !== 'stopped')
  throw stillStopping(user, slow?.row.name ?? '')
}

function stillStopping(user: User, server: string): HubError {
  return new HubError(
    'server_pending',
    `the server ${user.name}/${server} is still stopping; delete ${user.name} when it has stopped`,
  )
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
  throw new HubError('invalid_request', `Invalid usernames: ${shown.slice(0, 1000)}`)
}

function newName(user: User, wanted: string, pattern: RegExp | null): string {
  const name = nameKey(wanted)
  const invalid = invalidName(name, pattern)
  if (invalid) throw new HubError('invalid_request', `cannot rename ${user.name}: ${invalid}`)
  return name
}
