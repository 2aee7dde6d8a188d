/**
 * Models as the REST API sends them, wire names included. Fields that need a scope the caller may
 * lack are optional. https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html
 */
export interface UserModel {
  readonly kind: 'user'
  readonly name: string
  readonly admin?: boolean
  readonly groups?: readonly string[]
  readonly roles?: readonly string[]
  /** Path of the default server when it is ready. */
  readonly server?: string | null
  readonly pending?: PendingAction | null
  readonly created?: string
  readonly last_activity?: string | null
  readonly user_info?: unknown
  readonly servers?: Readonly<Record<string, ServerModel>>
}

export type PendingAction = 'spawn' | 'stop' | 'check' | 'rename'

export interface ServerModel {
  readonly name: string
  readonly display_name?: string
  readonly full_name?: string
  readonly ready: boolean
  readonly stopped?: boolean
  readonly pending: PendingAction | null
  readonly started: string | null
  readonly last_activity: string | null
  readonly url: string
  readonly progress_url: string
  readonly full_url?: string | null
  readonly user_options?: unknown
}

/** `GET /hub/api/user`: whom the credentials belong to and what they may do. */
export type CallerModel = (UserModel | ServiceCallerModel) & {
  readonly token_id: string | null
  readonly session_id: string | null
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

export interface TokenModel {
  readonly kind: 'api_token'
  readonly id: string
  readonly user?: string
  readonly service?: string
  readonly scopes: readonly string[]
  readonly note: string | null
  readonly created: string
  readonly expires_at: string | null
  readonly last_activity: string | null
  readonly session_id: string | null
  readonly oauth_client: string | null
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
