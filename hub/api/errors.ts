import type { ErrorRequestHandler, Request } from 'express'
import { describeError, HubError, statusOf } from '../../packages/core/errors.ts'
import { z } from 'zod'
import type { Log } from '../log.ts'
import { contextOf } from '../request.ts'

/**
 * The one place where an error becomes an API response: `{"status", "message"}` as on JupyterHub.
 * What is not a `HubError` is a bug: logged whole with the request's id, shown only as that id.
 */
export function apiErrors(log: Log): ErrorRequestHandler {
  return (error: unknown, req, res, next) => {
    if (res.headersSent) return next(error)
    const { status, message, retryAfter } = explainError(error, req, log)
    if (retryAfter !== undefined) res.set('Retry-After', String(retryAfter))
    res.status(status).json({ status, message })
  }
}

/** Status and text of any error, for the API and for pages; unknown ones are logged here. */
export function explainError(
  error: unknown,
  req: Request,
  log: Log,
): { readonly status: number; readonly message: string; readonly retryAfter?: number | undefined } {
  const known = asHubError(error)
  if (known) {
    const { message, retryAfter } = known
    return { status: statusOf[known.code], message, retryAfter }
  }
  const { id } = contextOf(req)
  log.error(`request ${id} failed: ${describeError(error)}`, {
    method: req.method,
    path: req.path,
    stack: error instanceof Error ? error.stack : undefined,
  })
  return { status: 500, message: `Internal Server Error (request ${id})` }
}

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
