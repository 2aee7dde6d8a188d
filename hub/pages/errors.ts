import type { ErrorRequestHandler, Request, RequestHandler, Router } from 'express'
import { STATUS_CODES } from 'node:http'
import { after } from '../../packages/core/promises.ts'
import { explainError } from '../api/errors.ts'
import { isPlanned } from '../domain/exits.ts'
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
    const { status, message, retryAfter } = explainError(
      error,
      { id: contextOf(req).id, method: req.method, path: req.path },
      log,
    )
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

/** What is known of a server that does not answer, in the words of the proxy's tombstones. */
type ServerState = 'starting' | 'stopped' | 'crashed'

const serverStates: Readonly<
  Record<ServerState, { title: string; message: string; hint: string }>
> = {
  starting: {
    title: 'Server starting',
    message: 'The server is starting.',
    hint: 'This page reloads by itself until the server is there.',
  },
  stopped: {
    title: 'Server not running',
    message: 'The server is not running any more.',
    hint: 'Start it to go on. What was saved is still there.',
  },
  crashed: {
    title: 'Server crashed',
    message: 'The server has ended unexpectedly.',
    hint: 'Start it again to go on. What was saved is still there.',
  },
}

/** Seconds after which the page of a server that starts reloads. */
const reloadAfter = 3

/** Milliseconds that a look at the server may take: the proxy waits two seconds for its page. */
const lookFor = 1000

/**
 * The proxy's error target: `GET /error/503?url=`, always with status 200 (wire section 12.5); ours
 * adds `&reason=` where it knows one. A server that does not answer is looked at right away.
 */
export function errorTarget(pages: Pages, servers: Servers): Router {
  const router = strictRouter()
  router.get('/error/:code', async (req, res) => {
    const code = /^[45]\d\d$/.test(req.params.code) ? Number(req.params.code) : 500
    const retry = retryUrl(req, pages)
    const looked = code === 503 && retry !== null ? await lookAt(servers, retry) : null
    const state = looked ?? stateIn(req.query['reason'])
    const data = state
      ? stateData(pages, state, code, retry)
      : errorData(code, messageFor(code), retry)
    await pages.show(req, res, String(code), data)
  })
  return router
}

function messageFor(code: number): string {
  if (code === 503) return 'The server does not answer. It may have been stopped, or be too busy.'
  if (code === 404) return 'There is no such page.'
  return 'The request could not be handled.'
}

function stateIn(reason: unknown): ServerState | null {
  return reason === 'starting' || reason === 'stopped' || reason === 'crashed' ? reason : null
}

/** What has become of the server of a path, as far as it is found out in time. */
async function lookAt(servers: Servers, path: string): Promise<ServerState | null> {
  const run = servers.at(path)
  if (!run) return null
  const wasReady = run.state.kind === 'ready'
  await Promise.race([run.check(), after(lookFor)])
  const { state } = run
  if (state.kind === 'starting') return 'starting'
  if (state.kind === 'stopping') return wasReady ? 'crashed' : 'stopped'
  if (state.kind !== 'stopped') return null
  return state.exit === null || isPlanned(state.exit) ? 'stopped' : 'crashed'
}

function stateData(pages: Pages, state: ServerState, code: number, retry: string | null) {
  const { title, message, hint } = serverStates[state]
  const { baseUrl, hubPrefix } = pages.urls
  const isServer = retry?.startsWith(`${baseUrl}user/`) ?? false
  return {
    ...errorData(code, message, retry),
    statusText: title,
    hint,
    ...(state === 'starting'
      ? { reloadAfter: retry === null ? null : reloadAfter }
      : { startUrl: retry !== null && isServer ? hubPrefix + retry.slice(baseUrl.length) : null }),
  }
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
