import { readEvents } from './event-stream.ts'
import type {
  CallerModel,
  InfoModel,
  Page,
  ProgressEvent,
  ServerModel,
  TokenModel,
  UserModel,
} from './models.ts'
import { ClientError, type ClientOptions, type Send, segment, sender } from './transport.ts'

export type * from './models.ts'
export { ClientError, type ClientOptions } from './transport.ts'

const paginated = 'application/jupyterhub-pagination+json'

export interface UserFilter {
  readonly state?: 'active' | 'ready' | 'inactive'
  readonly nameFilter?: string
  readonly sort?: 'id' | 'name' | 'last_activity' | '-id' | '-name' | '-last_activity'
  readonly includeStoppedServers?: boolean
  /** Users per request; the hub may give fewer. */
  readonly pageSize?: number
}

export interface NewToken {
  readonly note?: string
  /** Seconds; absent or 0: as long as the hub allows. */
  readonly expiresIn?: number
  readonly scopes?: readonly string[]
}

/** The REST API of a hub. Every method throws {ClientError} when the hub refuses or does not answer. */
export type Client = ReturnType<typeof createClient>

/**
 * A client for one hub. Needs nothing but `fetch`, and so runs in browsers too. Server names are
 * empty for a user's default server.
 */
export function createClient(options: ClientOptions) {
  const send = sender(options)
  return { ...hubCalls(send), ...userCalls(send), ...serverCalls(send), ...tokenCalls(send) }
}

function hubCalls(send: Send) {
  return {
    info: async () => json<InfoModel>(await send('info')),

    /** Whom the credentials belong to. */
    caller: async () => json<CallerModel>(await send('user')),

    /** Ends the hub, and proxy and servers too where told; absent means as configured. */
    async shutdown(what: { readonly proxy?: boolean; readonly servers?: boolean } = {}) {
      await send('shutdown', { method: 'POST', body: what })
    },

    /** A fresh one-time link for logging in to a quick start. Operator only. */
    loginLink: async () =>
      json<{ readonly url: string; readonly expires_at: string }>(
        await send('login-link', { method: 'POST' }),
      ),

    /** Copies the database beside itself, on the hub's machine. Operator only. */
    backupDatabase: async () =>
      json<{ readonly file: string }>(await send('database/backup', { method: 'POST' })),
  }
}

function userCalls(send: Send) {
  return {
    /** All users that match, page by page as they are asked for. */
    users(filter: UserFilter = {}): AsyncGenerator<UserModel> {
      return pages<UserModel>(send, 'users', filter.pageSize, {
        state: filter.state,
        name_filter: filter.nameFilter,
        sort: filter.sort,
        include_stopped_servers: filter.includeStoppedServers ? 1 : undefined,
      })
    },

    user: async (name: string) => json<UserModel>(await send(`users/${segment(name)}`)),

    /** Resolves to those that are new. */
    async createUsers(names: readonly string[], { admin = false } = {}) {
      const body = { usernames: names, admin }
      return json<readonly UserModel[]>(await send('users', { method: 'POST', body }))
    },

    async updateUser(name: string, change: { readonly name?: string; readonly admin?: boolean }) {
      const request = { method: 'PATCH', body: change } as const
      return json<UserModel>(await send(`users/${segment(name)}`, request))
    },

    async deleteUser(name: string) {
      await send(`users/${segment(name)}`, { method: 'DELETE' })
    },
  }
}

function serverCalls(send: Send) {
  return {
    server: async (user: string, server = '') =>
      json<ServerModel>(await send(serverPath(user, server))),

    /** `starting` when the hub did not wait for the end of the start: follow `progress`. */
    async startServer(user: string, server = '', userOptions?: unknown) {
      const body = userOptions === undefined ? undefined : { user_options: userOptions }
      const response = await send(serverPath(user, server), { method: 'POST', body })
      return response.status === 201 ? 'ready' : 'starting'
    },

    /** `remove` also forgets a named server. Not running is fine. */
    async stopServer(user: string, server = '', { remove = false } = {}) {
      const body = remove ? { remove } : undefined
      const response = await send(serverPath(user, server), { method: 'DELETE', body })
      return response.status === 204 ? 'stopped' : 'stopping'
    },

    /** What happens while a server starts, until it is ready or has failed. */
    async *progress(
      user: string,
      server = '',
      { signal }: { readonly signal?: AbortSignal } = {},
    ): AsyncGenerator<ProgressEvent> {
      const { body } = await send(`${serverPath(user, server)}/progress`, {
        accept: 'text/event-stream',
        streaming: true,
        ...(signal ? { signal } : {}),
      })
      if (body === null) throw new ClientError(0, 'the progress stream is empty')
      for await (const event of readEvents(body)) yield event as ProgressEvent
    },
  }
}

function tokenCalls(send: Send) {
  return {
    async tokens(user: string) {
      const response = await send(`users/${segment(user)}/tokens`)
      return (await json<{ readonly api_tokens: readonly TokenModel[] }>(response)).api_tokens
    },

    /** The only time that the secret, `token`, is shown. */
    async createToken(user: string, { note, expiresIn, scopes }: NewToken = {}) {
      const request = { method: 'POST', body: { note, expires_in: expiresIn, scopes } } as const
      const response = await send(`users/${segment(user)}/tokens`, request)
      return json<TokenModel & { readonly token: string }>(response)
    },

    async revokeToken(user: string, id: string) {
      await send(`users/${segment(user)}/tokens/${segment(id)}`, { method: 'DELETE' })
    },
  }
}

async function* pages<Model>(
  send: Send,
  path: string,
  limit: number | undefined,
  query: Readonly<Record<string, string | number | undefined>>,
): AsyncGenerator<Model> {
  let offset: number | undefined = 0
  while (offset !== undefined) {
    const request = { accept: paginated, query: { ...query, offset, limit } }
    const page: Page<Model> = await json(await send(path, request))
    yield* page.items
    offset = page._pagination.next?.offset
  }
}

function serverPath(user: string, server: string): string {
  const owner = `users/${segment(user)}`
  return server === '' ? `${owner}/server` : `${owner}/servers/${segment(server)}`
}

async function json<Model>(response: Response): Promise<Model> {
  try {
    return (await response.json()) as Model
  } catch (cause) {
    throw new ClientError(response.status, 'the hub answered with something that is no JSON', {
      cause,
    })
  }
}
