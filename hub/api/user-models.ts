import type { Caller } from '../domain/access.ts'
import type { Activity } from '../domain/activity.ts'
import type { Changes } from '../domain/changes.ts'
import type { Servers } from '../domain/servers.ts'
import type { HubUrls } from '../domain/urls.ts'
import type { User, Users } from '../domain/users.ts'
import type { PreparedJson } from './endpoint.ts'
import { KeptUserModels } from './kept-user-models.ts'
import { type UserFacts, userModel } from './models.ts'
import { prepared, prepareJson } from './reply.ts'

export interface UserModelDeps {
  readonly users: Users
  readonly servers: Servers
  readonly activity: Activity
  readonly changes: Changes
  readonly urls: HubUrls
}

/** Users as callers may see them (wire section 3.1), rendered once for all callers with the same scopes until they change. */
export class UserModels {
  readonly #deps: UserModelDeps
  readonly #kept: KeptUserModels

  constructor(deps: UserModelDeps) {
    this.#deps = deps
    this.#kept = new KeptUserModels(deps.changes)
  }

  /** What this caller has seen of the user of this name, if it is still true. */
  known(caller: Caller, userName: string, includeStopped: boolean): PreparedJson | null {
    return this.#kept.recall(caller, keyOf(userName, includeStopped))
  }

  /** In the order of `users`, without those of whom the caller may see nothing. */
  async rendered(
    users: readonly Pick<User, 'id' | 'name'>[],
    caller: Caller,
    includeStopped: boolean,
  ): Promise<readonly PreparedJson[]> {
    const { now: moment } = this.#kept
    const rendered = users.map(({ name }) => this.known(caller, name, includeStopped))
    const unknown = users.filter((_, index) => rendered[index] === null)
    const made = new Map<number, PreparedJson>()
    for (const facts of await this.#facts(unknown)) {
      const json = prepareJson(this.#modelOf(facts, caller.scopes, includeStopped))
      const { id, name } = facts.user
      this.#kept.remember(caller, keyOf(name, includeStopped), { userId: id, moment, json })
      made.set(id, json)
    }
    return users.flatMap(({ id }, index) => {
      const json = rendered[index] ?? made.get(id) ?? null
      return json === null || json.body === 'null' ? [] : [json]
    })
  }

  /** The list that `render` makes, kept until anything changes. `query` names all that it depends on. */
  async list(caller: Caller, query: string, render: () => Promise<string>): Promise<PreparedJson> {
    const known = this.#kept.recallList(caller, query)
    if (known) return known
    const { now: moment } = this.#kept
    const json = prepared(await render())
    this.#kept.rememberList(caller, query, { moment, json })
    return json
  }

  /** One user as this caller may see them now; null when that is nothing. */
  async model(
    user: User,
    { scopes }: Pick<Caller, 'scopes'>,
    includeStopped = false,
  ): Promise<Readonly<Record<string, unknown>> | null> {
    const [facts] = await this.#facts([user])
    return facts ? this.#modelOf(facts, scopes, includeStopped) : null
  }

  /** What was only just made, without asking the database again. */
  ofNew(made: readonly User[], { scopes }: Caller) {
    return made.map((user) => {
      const facts = {
        user,
        groups: [],
        roles: user.admin ? ['admin', 'user'] : ['user'],
        servers: this.#deps.servers.ofNewUser(user),
        lastActivityAt: null,
      }
      return this.#modelOf(facts, scopes, false)
    })
  }

  /** As somebody who may at least know who it is: their name and groups are always shown (wire section 2.2). */
  identified(user: User, { scopes }: Caller) {
    const identify = [`read:users:name!user=${user.name}`, `read:users:groups!user=${user.name}`]
    return this.model(user, { scopes: new Set([...scopes, ...identify]) })
  }

  #modelOf(facts: UserFacts, scopes: ReadonlySet<string>, includeStopped: boolean) {
    return userModel(facts, scopes, { urls: this.#deps.urls, includeStopped })
  }

  /** All that the models of these users may show, in any order; costs as many queries as for one. */
  async #facts(of: readonly Pick<User, 'id'>[]): Promise<readonly UserFacts[]> {
    if (of.length === 0) return []
    const { users, servers, activity } = this.#deps
    const found = await users.details(of.map(({ id }) => id))
    const all = await servers.ofUsers(found)
    return found.map((user, index) => ({
      user,
      groups: user.groups,
      roles: user.roles,
      servers: (all[index] ?? []).map((server) => ({
        ...server,
        lastActivityAt:
          server.id === null ? null : activity.latest('server', server.id, server.lastActivityAt),
      })),
      lastActivityAt: activity.latest('user', user.id, user.lastActivityAt),
    }))
  }
}

const keyOf = (userName: string, includeStopped: boolean): string =>
  `${includeStopped ? '+' : '-'}${userName}`
