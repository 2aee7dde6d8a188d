import { z } from 'zod'
import { describeError, HubError, statusOf } from '../../packages/core/errors.ts'
import type { Log } from '../log.ts'

/** What goes back instead of an answer. */
export interface ErrorAnswer {
  readonly status: number
  readonly message: string
  /** Seconds. */
  readonly retryAfter?: number | undefined
}

/**
 * Status and text of any error, for the API and for pages. What is not a `HubError` is a bug: logged
 * here, whole and with the request's id, and shown only as that id.
 */
export function explainError(
  error: unknown,
  request: { readonly id: string; readonly method?: string | undefined; readonly path: string },
  log: Log,
): ErrorAnswer {
  const known = asHubError(error)
  if (known) {
    const { message, retryAfter } = known
    return { status: statusOf[known.code], message: shortened(message), retryAfter }
  }
  const { id, method, path } = request
  log.error(`request ${id} failed: ${describeError(error)}`, {
    method,
    path,
    stack: error instanceof Error ? error.stack : undefined,
  })
  return { status: 500, message: `Internal Server Error (request ${id})` }
}

/** Messages quote what was sent, which may be anything. */
function shortened(message: string): string {
  return message.length > longest ? `${message.slice(0, longest)} …` : message
}

const longest = 2000

function asHubError(error: unknown): HubError | null {
  if (error instanceof HubError) return error
  if (error instanceof z.ZodError)
    return new HubError('invalid_request', z.prettifyError(error), { cause: error })
  if (error instanceof URIError)
    return new HubError('invalid_request', 'the path is not valid percent-encoding')
  const status = (error as { status?: unknown } | null)?.status
  if (status === 413) return new HubError('payload_too_large', 'the request body is too large')
  if (typeof status === 'number' && status >= 400 && status < 500)
    return new HubError('invalid_request', 'the request cannot be read')
  return null
}
