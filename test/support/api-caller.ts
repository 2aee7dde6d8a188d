import type { TestHub } from './start-hub.ts'

/** An answer of the API. */
export interface Answer {
  readonly status: number
  /** Parsed, or null when there is no body. */
  readonly json: Record<string, unknown>
  readonly text: string
}

/** Calls the API of a test hub with one token. */
export type CallApi = (method: string, path: string, body?: unknown) => Promise<Answer>

/** `path` is below `/hub/api/`. */
export function apiCaller({ origin, baseUrl }: TestHub, token: string): CallApi {
  return async (method, path, body) => {
    const response = await fetch(`${origin}${baseUrl}hub/api/${path}`, {
      method,
      headers: { Authorization: `token ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(60_000),
    })
    const text = await response.text()
    const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
    const json = isJson && text !== '' ? (JSON.parse(text) as Record<string, unknown>) : {}
    return { status: response.status, json, text }
  }
}
