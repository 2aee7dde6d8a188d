import type { ServerResponse } from 'node:http'
import type { z } from 'zod'
import type { Caller } from '../domain/access.ts'
import type { RequestContext } from '../request.ts'

/** What the scopes of a call are held on: the thing that the path's parameters of these names address. */
export type ResourceKind = 'none' | 'user' | 'server' | 'group' | 'service'

/**
 * Who may make a call.
 * - `scopes`: whoever holds any of them on the addressed resource (wire section 5.4). `on: 'list'` also
 *   passes filtered forms of these `filters`: the handler shows only what they cover.
 * - `anyone`: all valid credentials.
 * - `operator`: only the hub's own unix socket.
 * - `handler`: nobody is turned away here; the handler asks `call.caller()` or `call.require()`.
 *   `scopes` are then for the documentation alone.
 */
export type EndpointAccess =
  | { readonly scopes: readonly string[]; readonly on: ResourceKind }
  | {
      readonly scopes: readonly string[]
      readonly on: 'list'
      readonly filters: readonly ('user' | 'group' | 'service')[]
    }
  | { readonly by: 'anyone' | 'operator' }
  | { readonly by: 'handler'; readonly scopes?: readonly string[] }

/** One request that has been matched, let in and parsed. */
export interface Call<Path extends string, Query, Body> {
  /** Whoever calls. @throws {HubError} `not_authenticated` where access is `handler` and nobody does. */
  readonly caller: Caller
  /** Whoever calls, or null. The XSRF rules for cookies hold (`xsrf_failed`). */
  readonly identify: () => Promise<Caller | null>
  /** The caller, when any of `scopes` is held on what the path addresses. @throws {HubError} 403 or 404. */
  readonly require: (scopes: readonly string[], on: ResourceKind) => Promise<Caller>
  /** The path's parameters, percent-decoded; never empty. */
  readonly params: PathParams<Path>
  readonly query: Query
  readonly body: Body
  readonly context: RequestContext
}

/** `'/users/:user/servers/:server'` has the parameters `user` and `server`. */
export type PathParams<Path extends string> = Path extends `${string}:${infer Rest}`
  ? Rest extends `${infer Name}/${infer Tail}`
    ? { readonly [Key in Name]: string } & PathParams<`/${Tail}`>
    : { readonly [Key in Rest]: string }
  : unknown

/** Headers besides those that every answer of the API has. */
export type ReplyHeaders = Readonly<Record<string, string>>

/** What goes back. `prepared` is JSON that was rendered before. */
export type Reply =
  | {
      readonly kind: 'json'
      readonly status: number
      readonly model: unknown
      readonly headers?: ReplyHeaders
    }
  | { readonly kind: 'prepared'; readonly json: PreparedJson }
  | {
      readonly kind: 'text'
      readonly status: number
      readonly text: string
      /** Absent for answers that have no body. */
      readonly type?: string
      readonly headers?: ReplyHeaders
    }
  | {
      readonly kind: 'stream'
      readonly type: string
      /** Writes until it is over; `signal` aborts when the client has gone. The response is ended afterwards. */
      readonly write: (res: ServerResponse, signal: AbortSignal) => Promise<void>
    }

/** Rendered JSON; size and entity tag are worked out when they are first asked for. */
export interface PreparedJson {
  readonly body: string
  readonly bytes: number
  readonly etag: string
}

export const json = (model: unknown, status = 200, headers?: ReplyHeaders): Reply => ({
  kind: 'json',
  status,
  model,
  ...(headers ? { headers } : {}),
})

/** An answer without a body; `type` as JupyterHub sends it there. */
export const empty = (status: number, type?: string): Reply => ({
  kind: 'text',
  status,
  text: '',
  ...(type === undefined ? {} : { type }),
})

/** One call of the REST API, as data: matched, let in, parsed, documented in one place. */
export interface Endpoint {
  readonly method: Method
  /** Below `/hub/api`; `:name` stands for one non-empty segment. */
  readonly path: string
  /** A short sentence for the API's documentation. */
  readonly summary: string
  readonly access: EndpointAccess
  readonly query?: z.ZodObject
  readonly body?: z.ZodType
  /** False (the default): an empty body is `{}`. True: it is `null`, which the schema may refuse. */
  readonly bodyRequired?: boolean
  /** `form`: `application/x-www-form-urlencoded`, every value of each field. Default: JSON. */
  readonly bodyFormat?: 'form'
  /** Largest body in bytes. Default: 1 MiB. */
  readonly bodyLimit?: number
  /** By status: the model of a JSON body, or what an answer without one means. */
  readonly answers: Readonly<Record<number, z.ZodType | string>>
  handle(call: Call<string, never, never>): Reply | Promise<Reply>
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

type Typed<Path extends string, Query extends z.ZodObject, Body extends z.ZodType> = Omit<
  Endpoint,
  'path' | 'query' | 'body' | 'handle'
> & {
  readonly path: Path
  readonly query?: Query
  readonly body?: Body
  handle(call: Call<Path, z.output<Query>, z.output<Body>>): Reply | Promise<Reply>
}

/** Gives a call's handler the types of its path, query and body. */
export function endpoint<
  Path extends string,
  Query extends z.ZodObject = z.ZodObject<Record<never, never>>,
  Body extends z.ZodType = z.ZodUndefined,
>(definition: Typed<Path, Query, Body>): Endpoint {
  return definition as unknown as Endpoint
}
