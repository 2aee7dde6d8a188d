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

/** Users as callers may see them (wire section 3.1), rendered once for each caller until they change. */
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
    users: readonly User[],
    caller: Caller,
    includeStopped: boolean,
  ): Promise<readonly PreparedJson[]> {
    const { now: moment } = this.#kept
    const rendered = new Map(
      users.map(({ id, name }) => [id, this.known(caller, name, includeStopped)]),
    )
    const unknown = users.filter(({ id }) => rendered.get(id) === null)
    for (const facts of await this.#facts(unknown)) {
      const json = prepareJson(userModel(facts, caller, { urls: this.#deps.urls, includeStopped }))
      const { id, name } = facts.user
      this.#kept.remember(caller, keyOf(name, includeStopped), { userId: id, moment, json })
      rendered.set(id, json)
    }
    return users.flatMap(({ id }) => {
      const json = rendered.get(id) ?? null
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
    caller: Caller,
    includeStopped = false,
  ): Promise<Readonly<Record<string, unknown>> | null> {
    const [facts] = await this.#facts([user])
    return facts ? userModel(facts, caller, { urls: this.#deps.urls, includeStopped }) : null
  }

  /** What was only just made, without asking the database again. */
  ofNew(made: readonly User[], caller: Caller) {
    const options = { urls: this.#deps.urls, includeStopped: false }
    return made.map((user) =>
      userModel(
        {
          user,
          groups: [],
          roles: user.admin ? ['admin', 'user'] : ['user'],
          servers: this.#deps.servers.ofNewUser(user),
          lastActivityAt: null,
        },
        caller,
        options,
      ),
    )
  }

  /** As somebody who may at least know who it is: their name and groups are always shown (wire section 2.2). */
  identified(user: User, caller: Caller) {
    const identify = [`read:users:name!user=${user.name}`, `read:users:groups!user=${user.name}`]
    return this.model(user, { ...caller, scopes: new Set([...caller.scopes, ...identify]) })
  }

  /** All that the models of these users may show, in their order; costs as many queries as for one. */
  async #facts(of: readonly User[]): Promise<readonly UserFacts[]> {
    if (of.length === 0) return []
    const { users, servers, activity } = this.#deps
    const [links, all] = await Promise.all([users.linksOf(of), servers.ofUsers(of)])
    return of.map((user, index) => ({
      user,
      groups: links[index]?.groups ?? [],
      roles: links[index]?.roles ?? [],
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
