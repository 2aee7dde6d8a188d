import type { ErrorRequestHandler, Request, RequestHandler, Router } from 'express'
import { STATUS_CODES } from 'node:http'
import { explainError } from '../api/errors.ts'
import { safeNext } from '../domain/next-url.ts'
import type { Servers } from '../domain/servers.ts'
import type { Log } from '../log.ts'
import { contextOf } from '../request.ts'
import { strictRouter } from '../router.ts'
import type { Pages } from './page.ts'

/** What a person can do about a status. */
const hints: Readonly<Record<number, string>> = {
  403: 'If you think you should have access, ask an administrator, or log out and in again.',
  404: 'Check the address, or start from the home page.',
  413: 'What you sent is larger than the hub accepts.',
  424: 'The server is not running. Start it from the home page.',
  429: 'Wait a moment and try again.',
  500: 'This is a mistake in the hub. An administrator finds the details in its log.',
  503: 'Wait a moment and try again.',
}

/** The one place where an error becomes a page. */
export function pageErrors(pages: Pages, log: Log): ErrorRequestHandler {
  return async (error: unknown, req, res, next) => {
    if (res.headersSent) return next(error)
    const { status, message, retryAfter } = explainError(error, req, log)
    if (retryAfter !== undefined) res.set('Retry-After', String(retryAfter))
    if (isScript(req)) return void res.status(status).json({ status, message })
    await pages.show(
      req,
      res,
      String(status),
      errorData(status, message, req.method === 'GET' ? retryPath(req.originalUrl) : null),
      status,
    )
  }
}

/** The page itself; a login that has come back from its provider begins anew, since it works once. */
function retryPath(url: string): string {
  return url.replace(/\/oauth_callback(?:\?.*)?$/, '/oauth_login')
}

/** Scripts that read JSON get the error in the API's shape. */
function isScript(req: Request): boolean {
  return req.accepts(['html', 'json']) === 'json'
}

/** Pages nobody has. */
export function notFound(pages: Pages): RequestHandler {
  return async (req, res) => {
    await pages.show(req, res, '404', errorData(404, '', null), 404)
  }
}

/**
 * The proxy's error target: `GET /error/503?url=`, always with status 200 (wire section 12.5). A
 * server that does not answer is looked at right away.
 */
export function errorTarget(pages: Pages, servers: Servers): Router {
  const router = strictRouter()
  router.get('/error/:code', async (req, res) => {
    const code = /^[45]\d\d$/.test(req.params.code) ? Number(req.params.code) : 500
    const message =
      code === 503
        ? 'The server does not answer. It may have been stopped, or be too busy.'
        : code === 404
          ? 'There is no such page.'
          : 'The request could not be handled.'
    const retry = retryUrl(req, pages)
    if (code === 503 && retry !== null) void servers.checkPath(retry)
    await pages.show(req, res, String(code), errorData(code, message, retry))
  })
  return router
}

function retryUrl(req: Request, pages: Pages): string | null {
  return safeNext(req.query['url'], { baseUrl: pages.urls.baseUrl, host: contextOf(req).host })
}

function errorData(status: number, message: string, retry: string | null) {
  return {
    status,
    statusText: STATUS_CODES[status] ?? 'Error',
    message: message.charAt(0).toUpperCase() + message.slice(1),
    hint: hints[status] ?? null,
    retryUrl: retry,
  }
}
