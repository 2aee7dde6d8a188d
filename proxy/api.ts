import { createHash, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Selection, listing } from './api-listing.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import {
  type JsonObject,
  type RouteChange,
  type Routes,
  asRouteKey,
  readEntry,
  routeKey,
} from './routes.ts'

export interface ApiOptions {
  readonly routes: Routes
  /** Null opens the API to whoever reaches it, as configurable-http-proxy without a token. */
  readonly token: string | null
  /** Whether the first segment of a route's path is a host. */
  readonly hostRouting: boolean
  /** Called after each change; the answer waits until it has reached everybody. */
  readonly published: (change: RouteChange) => Promise<void>
  /** Called before routes are read: brings in what other processes know of their activity. */
  readonly gather: () => Promise<void>
  readonly metrics: Metrics
  readonly log: Log
}

interface Answer {
  readonly status: number
  /** Text is sent as it is, anything else as JSON. */
  readonly body?: unknown
  /** JSON in pieces, in the place of a body. */
  readonly pieces?: AsyncIterable<string>
}

/** One request past the token: `rest` is the path after `/api/routes`, still encoded. */
interface Call {
  readonly request: IncomingMessage
  readonly rest: string
  readonly query: URLSearchParams
  readonly options: ApiOptions
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
 * The REST API of configurable-http-proxy at `/api/routes`. Besides:
 * - `PUT /api/routes`: the whole table at once, in the form that `GET` answers. With
 *   `?only=jupyterhub` routes whose data lacks that key stay, and so do tombstones.
 * - `GET /api/routes?offset=&limit=`: a part of the table, in its order.
 * - `{"tombstone": {"status", "reason"}}` in the place of a target; `?tombstones=1` shows them.
 *
 * The token comes first: without it no body is read and no path is looked at.
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
  options.metrics.count('requests_api', `status="${answer.status}"`)
  if (!request.complete) response.setHeader('connection', 'close')
  if (answer.pieces) return sendPieces(response, answer.pieces)
  if (answer.body === undefined) {
    response.writeHead(answer.status, answer.status === 204 ? {} : { 'content-length': 0 }).end()
    return
  }
  const isText = typeof answer.body === 'string'
  const type = isText ? 'text/plain; charset=utf-8' : 'application/json'
  response.writeHead(answer.status, { 'content-type': type })
  response.end(isText ? answer.body : JSON.stringify(answer.body))
}

/** Piece by piece, as fast as the client takes them. */
async function sendPieces(response: ServerResponse, pieces: AsyncIterable<string>): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' })
  const gone = once(response, 'close').catch(() => {})
  for await (const piece of pieces) {
    if (response.destroyed) return
    if (!response.write(piece)) await Promise.race([once(response, 'drain'), gone])
  }
  response.end()
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
  const query = new URLSearchParams(search)
  return handle({ request, rest: path.slice(base.length), query, options })
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

function keyOf({ rest, options }: Call): string {
  const key = routeKey(rest)
  if (key === null) throw new ApiError(400, 'The path of the route cannot be read')
  return options.hostRouting ? withPlainHost(key) : key
}

/** Host names have no letter case. */
function withPlainHost(key: string): string {
  return key.replace(/^\/[^/]*/, (host) => host.toLowerCase())
}

async function listRoutes({ query, options }: Call): Promise<Answer> {
  const selection: Selection = {
    inactiveSince: inactiveSince(query),
    offset: wholeNumber(query, 'offset') ?? 0,
    limit: wholeNumber(query, 'limit') ?? Infinity,
    withTombstones: query.get('tombstones') === '1',
  }
  options.metrics.count('api_route_get')
  await options.gather()
  return { status: 200, pieces: listing(options.routes, selection) }
}

function wholeNumber(query: URLSearchParams, name: string): number | null {
  const text = query.get(name)
  if (text === null) return null
  if (!/^\d{1,9}$/.test(text)) throw new ApiError(400, `'${name}' must be a whole number`)
  return Number(text)
}

function inactiveSince(query: URLSearchParams): number | null {
  const text = query.get('inactive_since') || query.get('inactiveSince') || ''
  if (text === '') return null
  const since = Date.parse(text)
  if (Number.isNaN(since)) throw new ApiError(400, `Invalid datestamp '${text}' must be ISO8601.`)
  return since
}

async function getRoute(call: Call): Promise<Answer> {
  const { routes, gather } = call.options
  const key = keyOf(call)
  await gather()
  const route = routes.get(key)
  if (route) return { status: 200, body: route.toRecord() }
  const tombstone = call.query.get('tombstones') === '1' ? routes.tombstones.get(key) : undefined
  return tombstone ? { status: 200, body: tombstone.data } : { status: 404 }
}

async function addRoute(call: Call): Promise<Answer> {
  const path = keyOf(call)
  const { options, request } = call
  const body = await readJson(request, maxRouteBytes)
  const entry = readEntry(path, body)
  if (typeof entry === 'string') throw new ApiError(400, entry)
  const host = options.hostRouting ? { host: path.split('/')[1] ?? '' } : {}
  await change(options, { kind: 'set', path, data: { ...(body as JsonObject), ...host } })
  options.metrics.count('api_route_add')
  const what = 'target' in entry ? `-> ${entry.target.host}` : `is ${entry.reason}`
  options.log.info(`Route added ${encodeURI(path)} ${what}`)
  return { status: 201 }
}

async function deleteRoute(call: Call): Promise<Answer> {
  const path = keyOf(call)
  call.options.metrics.count('api_route_delete')
  if (!(await change(call.options, { kind: 'delete', path }))) return { status: 404 }
  call.options.log.info(`Removing route ${encodeURI(path)}`)
  return { status: 204 }
}

async function replaceTable({ request, query, options }: Call): Promise<Answer> {
  const only = query.get('only')
  if (only !== null && only !== 'jupyterhub') throw new ApiError(400, "'only' can be jupyterhub")
  const table = readTable(await readJson(request, maxTableBytes), options.hostRouting)
  await change(options, { kind: 'replace', table: [...table], onlyJupyterHub: only !== null })
  options.log.info(`Table replaced by ${table.size} routes`)
  return { status: 204 }
}

/** The answer waits until every process knows. False when there was nothing to delete. */
async function change(options: ApiOptions, what: RouteChange): Promise<boolean> {
  if (!options.routes.apply(what)) return false
  await options.published(what)
  return true
}

/** All of it is checked before any of it takes effect. */
function readTable(body: unknown, hostRouting: boolean): Map<string, JsonObject> {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ApiError(400, 'The table must be an object of paths and routes')
  }
  const table = new Map<string, JsonObject>()
  for (const [path, value] of Object.entries(body)) {
    const read = asRouteKey(path)
    if (read === null) throw new ApiError(400, `'${path}' is not a path`)
    const key = hostRouting ? withPlainHost(read) : read
    if (table.has(key)) throw new ApiError(400, `'${path}' is there twice`)
    const entry = readEntry(key, value)
    if (typeof entry === 'string') throw new ApiError(400, `'${path}': ${entry}`)
    const host = hostRouting ? { host: key.split('/')[1] ?? '' } : {}
    table.set(key, { ...(value as JsonObject), ...host })
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
