/** Every failure a caller may act on, and the HTTP status it becomes at the edge. */
export const statusOf = {
  invalid_request: 400,
  server_running: 400,
  server_pending: 400,
  not_authenticated: 403,
  missing_scope: 403,
  forbidden: 403,
  xsrf_failed: 403,
  login_failed: 403,
  not_found: 404,
  user_not_found: 404,
  server_not_found: 404,
  method_not_allowed: 405,
  already_exists: 409,
  payload_too_large: 413,
  server_not_running: 424,
  too_many_requests: 429,
  spawn_failed: 500,
  spawn_timeout: 500,
  proxy_unreachable: 503,
  unavailable: 503,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof statusOf

export interface HubErrorOptions extends ErrorOptions {
  /** Seconds after which the same request may succeed; becomes `Retry-After`. */
  readonly retryAfter?: number
}

/**
 * The one error type the hub throws on purpose. Callers branch on `code`; people read `message`,
 * which names the thing, says what to do, and never holds a secret.
 */
export class HubError extends Error {
  override readonly name: string = 'HubError'
  readonly code: ErrorCode
  readonly retryAfter: number | undefined

  constructor(code: ErrorCode, message: string, options?: HubErrorOptions) {
    super(message, options)
    this.code = code
    this.retryAfter = options?.retryAfter
  }
}

/** The human text of whatever was thrown, with its causes, for a log line or a command's stderr. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined
    ? error.message
    : `${error.message}: ${describeError(error.cause)}`
}
