import { readEvents, type StreamEvent } from './event-stream.ts'

export interface ClientOptions {
  /** The hub's address with its base url (`https://jupyter.example.org/jhub/`), or its API's (`.../hub/api`). */
  readonly url: string
  /** API token. Absent in a browser, where the login cookie counts. */
  readonly token?: string
  /** With cookies: the value of the `_xsrf` cookie at the time of a request. */
  readonly xsrf?: () => string | undefined
  /**
   * Seconds until a request whose answer is not complete is given up, and until a stream in which
   * nothing comes is; a start may take the hub's `slowSpawnTimeout`. Default 60.
   */
  readonly timeout?: number
  /** Sends the requests; the global one by default. */
  readonly fetch?: (url: string, init: RequestInit) => Promise<Response>
}

/** An answer that is not a success, or none at all. Nothing is tried again: that is the caller's choice. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  /** HTTP status; 0 when there was no answer, or none that is the API's. */
  readonly status: number
  /** Seconds after which the same request may succeed, where the hub says so. */
  readonly retryAfter: number | null

  constructor(
    status: number,
    message: string,
    options: ErrorOptions & { readonly retryAfter?: number | null } = {},
  ) {
    super(message, options)
    this.status = status
    this.retryAfter = options.retryAfter ?? null
  }
}

/** For calls that go on: streams and long work. */
export interface CallOptions {
  readonly signal?: AbortSignal
}

export interface ApiRequest extends CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Sent as JSON; members that are undefined are left out. */
  readonly body?: unknown
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly headers?: Readonly<Record<string, string>>
}

/** An answer that is a success, read to its end. */
export interface Answer {
  readonly status: number
  readonly text: string
}

/** Speaks to one hub. Both functions throw {ClientError}. */
export interface Transport {
  /** Sends one request to `path` below the API's root. */
  readonly send: (path: string, request?: ApiRequest) => Promise<Answer>
  /** The events of an answer that goes on. */
  readonly stream: (path: string, request?: ApiRequest) => AsyncGenerator<StreamEvent>
}

export function createTransport(options: ClientOptions): Transport {
  const call = { options, root: apiRoot(options.url), ms: (options.timeout ?? 60) * 1000 }
  return {
    async send(path, request = {}) {
      const deadline = deadlineOf(call.ms, request.signal)
      try {
        const response = await open(call, path, request, deadline.signal)
        return { status: response.status, text: await response.text() }
      } catch (cause) {
        throw failure(call.root, cause, request.signal)
      } finally {
        deadline.end()
      }
    },

    async *stream(path, request = {}) {
      const deadline = deadlineOf(call.ms, request.signal)
      try {
        const headers = { accept: 'text/event-stream', ...request.headers }
        const { body } = await open(call, path, { ...request, headers }, deadline.signal)
        if (body === null) throw new ClientError(0, `the stream of ${path} is empty`)
        yield* readEvents(body, deadline.renewed)
      } catch (cause) {
        throw failure(call.root, cause, request.signal)
      } finally {
        deadline.end()
      }
    },
  }
}

/** The answer's JSON. The model is what this hub promises; nothing is checked. @throws {ClientError} */
export function json<Model>({ status, text }: Answer): Model {
  try {
    return JSON.parse(text) as Model
  } catch (cause) {
    throw new ClientError(status, 'the hub answered with something that is no JSON', { cause })
  }
}

/** A name as part of a path. @throws {ClientError} for one that no path can hold. */
export function segment(name: string): string {
  if (name === '' || name === '.' || name === '..' || /\p{Cs}/u.test(name))
    throw new ClientError(0, `${JSON.stringify(name)} cannot be a name`)
  return encodeURIComponent(name)
}

interface Call {
  readonly options: ClientOptions
  readonly root: URL
  readonly ms: number
}

async function open(
  { options, root }: Call,
  path: string,
  request: ApiRequest,
  signal: AbortSignal,
): Promise<Response> {
  const url = new URL(root)
  url.pathname += path
  for (const [name, value] of Object.entries(request.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value))
  const send = options.fetch ?? ((input, init) => fetch(input, init))
  const response = await send(url.href, {
    method: request.method ?? 'GET',
    headers: headersOf(options, request),
    signal,
    redirect: 'error',
    ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
  })
  if (response.ok) return response
  throw await refusal(response)
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
    accept: 'application/json',
    ...(request.body === undefined ? {} : { 'content-type': 'application/json' }),
    ...(options.token === undefined ? {} : { authorization: `token ${options.token}` }),
    ...(xsrf === undefined ? {} : { 'x-xsrftoken': xsrf }),
    ...request.headers,
  }
}

/** Aborts after `ms`, counted anew by everything that `renewed` waits for. */
function deadlineOf(ms: number, outer: AbortSignal | undefined) {
  const controller = new AbortController()
  const abort = (): void => controller.abort(outer?.reason)
  const late = (): void => controller.abort(new Error(`nothing came for ${ms / 1000} s`))
  outer?.addEventListener('abort', abort)
  if (outer?.aborted) abort()
  let timer = setTimeout(late, ms)
  const { signal } = controller
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason))
  })
  aborted.catch(() => {})
  return {
    signal,
    renewed: <Value>(next: Promise<Value>): Promise<Value> => {
      clearTimeout(timer)
      timer = setTimeout(late, ms)
      return Promise.race([next, aborted])
    },
    end() {
      clearTimeout(timer)
      outer?.removeEventListener('abort', abort)
    },
  }
}

function failure(root: URL, cause: unknown, outer: AbortSignal | undefined): ClientError {
  if (cause instanceof ClientError) return cause
  if (outer?.aborted) return new ClientError(0, 'the request was given up', { cause })
  return new ClientError(0, `${root.origin} does not answer`, { cause })
}

async function refusal(response: Response): Promise<ClientError> {
  const { status, statusText } = response
  const message = messageOf(await response.text()) ?? `${status} ${statusText}`.trim()
  return new ClientError(status, message, { retryAfter: secondsOf(response) })
}

function messageOf(text: string): string | null {
  try {
    const { message } = JSON.parse(text) as { readonly message?: unknown }
    return typeof message === 'string' && message !== '' ? message : null
  } catch {
    // Not from the hub's API: the status says more than such a page.
    return null
  }
}

/** `Retry-After`, which may also be a date. https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3 */
function secondsOf({ headers }: Response): number | null {
  const text = headers.get('retry-after')
  if (text === null) return null
  if (/^\d{1,9}$/.test(text)) return Number(text)
  const at = Date.parse(text)
  return Number.isNaN(at) ? null : Math.max(0, Math.ceil((at - Date.now()) / 1000))
}
