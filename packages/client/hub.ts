import type { CallerModel, EventModel, InfoModel, Page, RouteModel } from './models.ts'
import { type CallOptions, json, type Transport } from './transport.ts'

/** The hub itself: what it is, its proxy, what happens in it, its end. */
export function hubCalls(transport: Transport) {
  return { ...selfCalls(transport), ...proxyCalls(transport), ...operatorCalls(transport) }
}

function selfCalls({ send, stream }: Transport) {
  return {
    /** The JupyterHub version whose protocol the hub speaks. Needs no credentials. */
    version: async () => json<{ readonly version: string }>(await send('')).version,

    /** Fails when the hub does not answer; with `ready` also while database, proxy or servers of its last run are not there. */
    async health({ ready = false } = {}): Promise<void> {
      await send('health', ready ? { query: { ready: 1 } } : {})
    },

    info: async () => json<InfoModel>(await send('info')),

    /** Whom the credentials belong to. */
    caller: async () => json<CallerModel>(await send('user')),

    /** In the text format of Prometheus. */
    metrics: async () => (await send('metrics', { headers: { accept: 'text/plain' } })).text,

    /** Ends the hub, and proxy and servers too where told; absent means as configured. */
    async shutdown(
      what: { readonly proxy?: boolean; readonly servers?: boolean } = {},
    ): Promise<void> {
      await send('shutdown', { method: 'POST', body: what })
    },

    /**
     * What happens in the hub from now on, as far as the caller may see it. With `after`, the `id` of
     * an earlier event, what has happened since comes first. Ends when the hub ends it.
     */
    async *events({
      after,
      signal,
    }: CallOptions & { readonly after?: string } = {}): AsyncGenerator<
      EventModel & { readonly id: string }
    > {
      const request = {
        ...(signal ? { signal } : {}),
        ...(after === undefined ? {} : { headers: { 'last-event-id': after } }),
      }
      for await (const { id, data } of stream('events', request))
        yield { ...(data as EventModel), id: id ?? '' }
    },
  }
}

function proxyCalls({ send }: Transport) {
  return {
    /** All routes of the proxy, by routespec. */
    async *routes(): AsyncGenerator<RouteModel> {
      const headers = { accept: 'application/jupyterhub-pagination+json' }
      for (let offset: number | undefined = 0; offset !== undefined;) {
        const answer = await send('proxy', { headers, query: { offset } })
        const page = json<{
          readonly items: Readonly<Record<string, RouteModel>>
          readonly _pagination: Page<never>['_pagination']
        }>(answer)
        yield* Object.values(page.items)
        offset = page._pagination.next?.offset
      }
    },

    /** Compares the proxy's routes with what the hub believes, and mends them. */
    async checkRoutes(): Promise<void> {
      await send('proxy', { method: 'POST' })
    },

    /** Tells the hub of another proxy; its routes are mended then. */
    async updateProxy(change: {
      readonly apiUrl?: string
      readonly authToken?: string
    }): Promise<void> {
      const body = { api_url: change.apiUrl, auth_token: change.authToken }
      await send('proxy', { method: 'PATCH', body })
    },
  }
}

/** For the operator only, on the hub's own socket. */
function operatorCalls({ send }: Transport) {
  return {
    /** A fresh one-time link for logging in to a quick start. */
    loginLink: async () =>
      json<{ readonly url: string; readonly expires_at: string }>(
        await send('login-link', { method: 'POST' }),
      ),

    /** Copies the database beside itself, on the hub's machine. */
    backupDatabase: async () =>
      json<{ readonly file: string }>(await send('database/backup', { method: 'POST' })),
  }
}
