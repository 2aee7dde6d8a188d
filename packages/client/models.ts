/*
 * Models as the REST API sends them, wire names included. Fields that need a scope the caller may
 * lack are optional. Times are ISO 8601, UTC.
 * https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html
 */

export interface UserModel {
  readonly kind: 'user'
  readonly name: string
  readonly admin?: boolean
  /** There only for those who are. */
  readonly blocked?: true
  readonly groups?: readonly string[]
  readonly roles?: readonly string[]
  /** Path of the default server when it is ready. */
  readonly server?: string | null
  /** What the default server is about to do. */
  readonly pending?: PendingAction | null
  readonly created?: string
  readonly last_activity?: string | null
  /** What the authenticator told about the user. */
  readonly user_info?: unknown
  /** By name, the default server's being empty: those that run, with `includeStoppedServers` all. */
  readonly servers?: Readonly<Record<string, ServerModel>>
  /** Filled only for one user at a time, and only with `admin:auth_state`. */
  readonly auth_state?: unknown
}

export type PendingAction = 'spawn' | 'stop' | 'check' | 'rename'

/** A server: `stopped`, or `ready`, or with something pending. */
export interface ServerModel {
  readonly name: string
  readonly display_name?: string
  /** `USER/NAME`; ends in a slash for the default server. */
  readonly full_name?: string
  readonly ready: boolean
  readonly stopped?: boolean
  readonly pending: PendingAction | null
  readonly started: string | null
  readonly last_activity: string | null
  /** Path on the hub's host. */
  readonly url: string
  readonly progress_url: string
  /** Null unless the hub knows its public url. */
  readonly full_url?: string | null
  readonly full_progress_url?: string | null
  readonly user_options?: unknown
  /** The spawner's notes; only with `admin:server_state`. */
  readonly state?: unknown
}

/** `GET /hub/api/user`: whom the credentials belong to and what they may do. */
export type CallerModel = (UserModel | ServiceCallerModel) & {
  /** Null for a login cookie. */
  readonly token_id: string | null
  readonly session_id: string | null
  /** Expanded. */
  readonly scopes: readonly string[]
}

export interface ServiceCallerModel {
  readonly kind: 'service'
  readonly name: string
  readonly admin?: boolean
}

export interface InfoModel {
  /** Of the wire: the JupyterHub version whose protocol is spoken. */
  readonly version: string
  /** Our own version. */
  readonly portico: string
  readonly python: string
  readonly sys_executable: string
  readonly spawner: { readonly class: string; readonly version: string }
  readonly authenticator: { readonly class: string; readonly version: string }
}

/** An API token, without its secret. It belongs to a user or to a service. */
export interface TokenModel {
  readonly kind: 'api_token'
  readonly id: string
  readonly user?: string
  readonly service?: string
  /** What it allows now, expanded. */
  readonly scopes: readonly string[]
  /** Always empty: roles are resolved when a token is made. */
  readonly roles?: readonly string[]
  readonly note: string | null
  readonly created: string
  readonly expires_at: string | null
  readonly last_activity: string | null
  /** Of the browser session through which it was issued. */
  readonly session_id: string | null
  /** Description of the client that it was issued to. */
  readonly oauth_client: string | null
}

/** The answer to the creation of a token: the only time that its secret is shown. */
export interface NewTokenModel extends TokenModel {
  readonly token: string
}

export interface GroupModel {
  readonly kind: 'group'
  readonly name: string
  readonly users?: readonly string[]
  readonly properties?: Readonly<Record<string, unknown>>
  readonly roles?: readonly string[]
}

export interface ServiceModel {
  readonly kind: 'service'
  readonly name: string
  readonly admin?: boolean
  /** Where it listens, when the hub routes to it. */
  readonly url?: string | null
  /** Path prefix of its route. */
  readonly prefix?: string | null
  readonly command?: readonly string[] | null
  /** 0 when the hub does not run it. */
  readonly pid?: number
  readonly info?: Readonly<Record<string, unknown>> | null
  readonly display?: boolean | null
  readonly roles?: readonly string[]
}

/** The server that is shared, as far as those see it whom it is shared with. */
export interface SharedServerModel {
  readonly user: { readonly name: string }
  readonly name: string
  readonly url: string
  readonly full_url?: string | null
  readonly ready?: boolean
}

/** Access to one server, given to a user or to a group. */
export interface ShareModel {
  readonly server: SharedServerModel
  readonly scopes: readonly string[]
  readonly kind: 'user' | 'group'
  readonly user: { readonly name: string } | null
  readonly group: { readonly name: string } | null
  readonly created_at: string
}

/** A code that gives access to one server to whoever exchanges it; the code itself is not shown again. */
export interface ShareCodeModel {
  readonly server: SharedServerModel
  readonly scopes: readonly string[]
  readonly id: string
  readonly created_at: string
  readonly expires_at: string
  readonly exchange_count: number
  readonly last_exchanged_at: string | null
}

/** The answer to the creation of a share code: the only time that the code is shown. */
export interface NewShareCodeModel extends ShareCodeModel {
  readonly code: string
  /** Path of the page where it is accepted. */
  readonly accept_url: string
  readonly full_accept_url?: string | null
}

/** A route of the proxy. */
export interface RouteModel {
  readonly routespec: string
  readonly target: string
  readonly data: Readonly<Record<string, unknown>>
}

/** One event of a start. The last one has `ready` or `failed`. */
export interface ProgressEvent {
  /** Percent. */
  readonly progress: number
  readonly message: string
  readonly html_message?: string
  readonly ready?: true
  readonly failed?: true
  /** With `ready`: the path of the server. */
  readonly url?: string
}

/**
 * Something that has happened in the hub, with the facts of its kind. The first of a stream is
 * `following`: from there on nothing is left out, and what is read now is kept true by what comes; or
 * `gap`, the same where earlier events are missing: what was known must be read afresh.
 */
export interface EventModel {
  readonly kind: string
  readonly at: string
  readonly user?: string
  /** Of `user`; empty for the default server. */
  readonly server?: string
  readonly group?: string
  readonly service?: string
  /** Who did it. */
  readonly by?: string
  readonly [fact: string]: unknown
}

/** A role or a share that grants a scope: one's own, or a group's. */
export interface GrantSource {
  readonly kind: 'role' | 'share'
  /** The role's name; of a share, the server: `user/server`. */
  readonly name: string
  readonly group: string | null
  /** The scope as it stands there. */
  readonly scope: string
}

/** Whether somebody has a scope, what from, and what is missing. */
export interface ExplanationModel {
  readonly allowed: boolean
  readonly scope: string
  readonly target: string | null
  readonly because: readonly GrantSource[]
  /** Whether the token has it by itself; null where no token narrows. */
  readonly by_token: boolean | null
  /** All of it as a sentence. */
  readonly message: string
}

/** What the rules of logins say of a name. */
export interface LoginExplanationModel {
  readonly user: string
  /** Whether there is such a user already. */
  readonly exists: boolean
  readonly allowed: boolean
  readonly rule: string
  readonly message: string
}

/** Everything that a user may do, and what from. */
export interface UserExplanationModel {
  readonly kind: 'explanation'
  readonly name: string
  readonly grants: readonly (Omit<GrantSource, 'scope'> & { readonly scopes: readonly string[] })[]
  readonly scopes: Readonly<Record<string, readonly GrantSource[]>>
  readonly tokens: readonly {
    readonly id: string
    readonly note: string
    readonly requested: readonly string[]
    readonly scopes: readonly string[]
  }[]
}

/** One page of a list that comes in pages. */
export interface Page<Model> {
  readonly items: readonly Model[]
  readonly _pagination: {
    readonly offset: number
    readonly limit: number
    readonly total: number
    readonly next: { readonly offset: number; readonly limit: number; readonly url: string } | null
  }
}
