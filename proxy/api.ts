import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log } from './log.ts'
import {
  type Route,
  type RouteData,
  type RouteRecord,
  type Routes,
  asRouteKey,
  readRouteData,
  routeKey,
} from './routes.ts'

export interface ApiOptions {
  readonly routes: Routes
  /** Null opens the API to whoever reaches it, as configurable-http-proxy without a token. */
  readonly token: string | null
  readonly log: Log
}

interface Answer {
  readonly status: number
  /** Text is sent as it is, anything else as JSON. */
  readonly body?: unknown
}

/** One request past the token: `rest` is the path after `/api/routes`, still encoded. */
interface Call {
  readonly request: IncomingMessage
  readonly rest: string
  readonly query: URLSearchParams
  readonly routes: Routes
  readonly log: Log
}

class ApiError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

const base = '/api/routes'
const maxRouteBytes = 1024 * 1024
const maxTableBytes = 64 * 1024 * 1024

/**
 * The REST API of configurable-http-proxy at `/api/routes`, with `PUT /api/routes` besides: the whole
 * table at once, in the form that `GET` answers. With `?only=jupyterhub` routes whose data lacks
 * that key stay. The token comes first: without it no body is read and no path is looked at.
 */
export function routesApi(
  options: ApiOptions,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    void respond(options, request, response)
  }
}

async function respond(
  options: ApiOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  request.on('error', () => {})
  const answer = await decide(options, request).catch((error: unknown) => failure(options, error))
  const [path] = (request.url ?? '').split('?')
  options.log[answer.status < 400 ? 'info' : 'warn'](`${answer.status} ${request.method} ${path}`)
  if (!request.complete) response.setHeader('connection', 'close')
  if (answer.body === undefined) {
    response.writeHead(answer.status, answer.status === 204 ? {} : { 'content-length': 0 }).end()
    return
  }
  const isText = typeof answer.body === 'string'
  const type = isText ? 'text/plain; charset=utf-8' : 'application/json'
  response.writeHead(answer.status, { 'content-type': type })
  response.end(isText ? answer.body : JSON.stringify(answer.body))
}

function failure({ log }: ApiOptions, error: unknown): Answer {
  if (error instanceof ApiError) return { status: error.status, body: error.message }
  log.error(`the API failed: ${error instanceof Error ? (error.stack ?? '') : String(error)}`)
  return { status: 500, body: 'Internal Server Error' }
}

async function decide(options: ApiOptions, request: IncomingMessage): Promise<Answer> {
  const [path, search] = splitOnce(request.url ?? '', '?')
  if (path !== base && !path.startsWith(`${base}/`)) return { status: 404, body: 'Not Found' }
  if (!isAllowed(options.token, request.headers.authorization)) return { status: 403 }
  const handle = methods[request.method ?? '']
  if (!handle) return { status: 405, body: 'Method not supported' }
  const { routes, log } = options
  const query = new URLSearchParams(search)
  return handle({ request, rest: path.slice(base.length), query, routes, log })
}

/** Compares digests, so that neither content nor length shows in the time taken. */
function isAllowed(token: string | null, authorization: string | undefined): boolean {
  if (token === null) return true
  const given = /token\s+(\S+)/.exec(authorization ?? '')?.[1] ?? ''
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(given), digest(token))
}

const methods: Readonly<Record<string, (call: Call) => Answer | Promise<Answer>>> = {
  GET: (call) => (isRoot(call) ? listRoutes(call) : getRoute(call)),
  POST: addRoute,
  DELETE: deleteRoute,
  PUT: (call) =>
    isRoot(call) ? replaceTable(call) : { status: 405, body: 'Method not supported' },
}

function isRoot({ rest }: Call): boolean {
  return rest === '' || rest === '/'
}

function keyOf({ rest }: Call): string {
  const key = routeKey(rest)
  if (key === null) throw new ApiError(400, 'The path of the route cannot be read')
  return key
}

function listRoutes({ routes, query }: Call): Answer {
  const since = inactiveSince(query)
  const records: Record<string, RouteRecord> = {}
  for (const [path, route] of routes.all()) {
    const record = route.toRecord()
    if (since === null || Date.parse(record.last_activity) < since) records[path] = record
  }
  return { status: 200, body: records }
}

function inactiveSince(query: URLSearchParams): number | null {
  const text = query.get('inactive_since') || query.get('inactiveSince') || ''
  if (text === '') return null
  const since = Date.parse(text)
  if (Number.isNaN(since)) throw new ApiError(400, `Invalid datestamp '${text}' must be ISO8601.`)
  return since
}

function getRoute(call: Call): Answer {
  const route = call.routes.get(keyOf(call))
  return route ? { status: 200, body: route.toRecord() } : { status: 404 }
}

async function addRoute(call: Call): Promise<Answer> {
  const path = keyOf(call)
  const data = readRouteData(await readJson(call.request, maxRouteBytes))
  if (typeof data === 'string') throw new ApiError(400, data)
  call.routes.set(path, data)
  call.log.info(`Route added ${encodeURI(path)} -> ${data.target.host}`)
  return { status: 201 }
}

function deleteRoute(call: Call): Answer {
  const path = keyOf(call)
  if (!call.routes.delete(path)) return { status: 404 }
  call.log.info(`Removing route ${encodeURI(path)}`)
  return { status: 204 }
}

async function replaceTable({ request, query, routes, log }: Call): Promise<Answer> {
  const only = query.get('only')
  if (only !== null && only !== 'jupyterhub') throw new ApiError(400, "'only' can be jupyterhub")
  const table = readTable(await readJson(request, maxTableBytes))
  const isForeign = (route: Route) => !Object.hasOwn(route.data, 'jupyterhub')
  routes.replaceAll(table, only === null ? () => false : isForeign)
  log.info(`Table replaced by ${table.size} routes`)
  return { status: 204 }
}

/** All of it is checked before any of it takes effect. */
function readTable(body: unknown): Map<string, RouteData> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ApiError(400, 'The table must be an object of paths and routes')
  }
  const table = new Map<string, RouteData>()
  for (const [path, value] of Object.entries(body)) {
    const key = asRouteKey(path)
    if (key === null) throw new ApiError(400, `'${path}' is not a path`)
    if (table.has(key)) throw new ApiError(400, `'${path}' is there twice`)
    const data = readRouteData(value)
    if (typeof data === 'string') throw new ApiError(400, `'${path}': ${data}`)
    table.set(key, data)
  }
  return table
}

async function readJson(request: IncomingMessage, limit: number): Promise<unknown> {
  const text = await readBody(request, limit)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ApiError(400, `Body not valid JSON: ${(error as Error).message}`)
  }
}

/** The text of a body of at most `limit` bytes. Nothing of a longer one is kept. */
async function readBody(request: IncomingMessage, limit: number): Promise<string> {
  const tooLarge = () => new ApiError(413, `The body is larger than ${limit} bytes`)
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge()
  const chunks: Buffer[] = []
  let size = 0
  return new Promise((resolve, reject) => {
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= limit) return void chunks.push(chunk)
      chunks.length = 0
      reject(tooLarge())
    })
    request.once('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    request.once('close', () => {
      if (!request.complete) reject(new ApiError(400, 'The body broke off'))
    })
  })
}

function splitOnce(text: string, separator: string): [before: string, after: string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
