export interface ClientOptions {
  /** The hub's address with its base url (`https://jupyter.example.org/jhub/`), or its API's (`.../hub/api`). */
  readonly url: string
  /** API token. Absent in a browser, where the login cookie counts. */
  readonly token?: string
  /** With cookies: the value of the `_xsrf` cookie at the time of a request. */
  readonly xsrf?: () => string | undefined
  /** Seconds until a request without an answer is given up; a start may take the hub's `slowSpawnTimeout`. Default 60. */
  readonly timeout?: number
  /** Sends the requests; the global one by default. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** An answer that is not a success, or none at all. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  /** HTTP status; 0 when no answer came. */
  readonly status: number

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.status = status
  }
}

export interface ApiRequest {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly body?: unknown
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly accept?: string
  readonly signal?: AbortSignal
  /** For answers that go on: only their beginning has a deadline. */
  readonly streaming?: boolean
}

/** Sends one request to `path` below the API's root and gives the answer if it is a success. */
export type Send = (path: string, request?: ApiRequest) => Promise<Response>

/** @throws {ClientError} from the function it returns. */
export function sender(options: ClientOptions): Send {
  const root = apiRoot(options.url)
  const send = options.fetch ?? ((url, init) => fetch(url, init))
  return async (path, request = {}) => {
    const url = new URL(path, root)
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value))
    }
    const deadline = deadlineOf((options.timeout ?? 60) * 1000, request)
    const init: RequestInit = {
      method: request.method ?? 'GET',
      headers: headersOf(options, request),
      signal: deadline.signal,
      redirect: 'error',
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    }
    try {
      const response = await send(url.href, init)
      if (response.ok) return response
      throw new ClientError(response.status, await messageOf(response))
    } catch (cause) {
      if (cause instanceof ClientError) throw cause
      throw new ClientError(0, `${root.origin} does not answer`, { cause })
    } finally {
      deadline.end()
    }
  }
}

/** Escapes a name for a path. */
export function segment(name: string): string {
  return encodeURIComponent(name)
}

function apiRoot(url: string): URL {
  const root = new URL(url)
  const path = root.pathname.replace(/\/+$/, '')
  root.pathname = path.endsWith('/hub/api') ? `${path}/` : `${path}/hub/api/`
  root.search = ''
  root.hash = ''
  return root
}

function headersOf(options: ClientOptions, request: ApiRequest): Record<string, string> {
  const xsrf = options.xsrf?.()
  return {
    accept: request.accept ?? 'application/json',
    ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(options.token === undefined ? {} : { authorization: `token ${options.token}` }),
    ...(xsrf === undefined ? {} : { 'x-xsrftoken': xsrf }),
  }
}

function deadlineOf(ms: number, { signal, streaming }: ApiRequest) {
  const controller = new AbortController()
  const abort = (): void => controller.abort(signal?.reason)
  signal?.addEventListener('abort', abort)
  if (signal?.aborted) abort()
  const timer = setTimeout(() => {
    controller.abort(new Error(`no answer within ${ms / 1000} s`))
  }, ms)
  return {
    signal: controller.signal,
    end() {
      clearTimeout(timer)
      if (!streaming) signal?.removeEventListener('abort', abort)
    },
  }
}

async function messageOf(response: Response): Promise<string> {
  const text = await response.text().catch(() => '')
  try {
    const { message } = JSON.parse(text) as { readonly message?: unknown }
    if (typeof message === 'string' && message !== '') return message
  } catch {
    // Not from the hub's API: the status says more than such a page.
  }
  return `${response.status} ${response.statusText}`.trim()
}
