import type { ProgressEvent, ServerModel } from './models.ts'
import { type CallOptions, json, segment, type Transport } from './transport.ts'

/** What a server is started with. What is absent stays as it was. */
export interface ServerSettings {
  readonly displayName?: string
  readonly userOptions?: Readonly<Record<string, unknown>> | null
}

/** Servers of users. The name of a user's default server is empty. */
export function serverCalls({ send, stream }: Transport) {
  return {
    server: async (user: string, server = '') =>
      json<ServerModel>(await send(serverPath(user, server))),

    /** Makes a named server without starting it; 409 when there is one. */
    async createServer(user: string, server: string, settings: ServerSettings = {}) {
      const request = { method: 'PUT', body: bodyOf(settings) } as const
      return json<ServerModel>(await send(serverPath(user, server), request))
    },

    /**
     * Starts a server; a named one is made when there is none. `starting` when the hub did not wait
     * for the end of the start: follow `progress`.
     */
    async startServer(
      user: string,
      server = '',
      settings: ServerSettings = {},
    ): Promise<'ready' | 'starting'> {
      const hasSettings = Object.keys(settings).length > 0
      const request = {
        method: 'POST',
        ...(hasSettings ? { body: bodyOf(settings) } : {}),
      } as const
      const { status } = await send(serverPath(user, server), request)
      return status === 201 ? 'ready' : 'starting'
    },

    /** Changes a server that is stopped; `name` renames it. */
    async updateServer(
      user: string,
      server: string,
      { name, ...settings }: ServerSettings & { readonly name?: string },
    ) {
      const request = { method: 'PATCH', body: { name, ...bodyOf(settings) } } as const
      return json<ServerModel>(await send(serverPath(user, server), request))
    },

    /** `remove` also forgets a named server. Not running is fine. */
    async stopServer(
      user: string,
      server = '',
      { remove = false } = {},
    ): Promise<'stopped' | 'stopping'> {
      const request = { method: 'DELETE', ...(remove ? { body: { remove } } : {}) } as const
      const { status } = await send(serverPath(user, server), request)
      return status === 204 ? 'stopped' : 'stopping'
    },

    /** What happens while a server starts, until it is ready or has failed. */
    async *progress(
      user: string,
      server = '',
      options: CallOptions = {},
    ): AsyncGenerator<ProgressEvent> {
      for await (const { data } of stream(`${serverPath(user, server)}/progress`, options))
        yield data as ProgressEvent
    },
  }
}

function bodyOf({ displayName, userOptions }: ServerSettings) {
  return { display_name: displayName, user_options: userOptions }
}

function serverPath(user: string, server: string): string {
  const owner = `users/${segment(user)}`
  return server === '' ? `${owner}/server` : `${owner}/servers/${segment(server)}`
}
