import { timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Selection, listing } from './api-listing.ts'
import type { Log } from './log.ts'
import { InvalidObject, MemberReader } from './member-reader.ts'
import type { Metrics } from './metrics.ts'
import {
  type Entry,
  type RouteChange,
  type Routes,
  asRouteKey,
  readEntry,
  routeKey,
} from './routes.ts'
import { Slices } from './slices.ts'

export interface ApiOptions {
  readonly routes: Routes
  /** Null opens the API to whoever reaches it, as configurable-http-proxy without a token. */
  readonly token: string | null
  /** Whether the first segment of a route's path is a host. */
  readonly hostRouting: boolean
  /** Called after each change; the answer waits until it has reached everybody, if it has to. */
  readonly published: (change: RouteChange) => Promise<void> | undefined
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

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly answer: Answer
}

/** One request past the token: `rest` is the path after `/api/routes`, still encoded. */
interface Call {
  readonly request: IncomingMessage
  readonly rest: string
  readonly search: string
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
  const isAllowed = tokenCheck(options.token)
  return (request, response) => {
    request.on('error', ignore)
    const failed = (error: unknown) => send(failure(options, error))
    const send = (answer: Answer) => respond(options, { request, response, answer })
    try {
      const answer = decide(options, request, isAllowed)
      if (answer instanceof Promise) answer.then(send).catch(failed)
      else send(answer)
    } catch (error) {
      failed(error)
    }
  }
}

function respond(options: ApiOptions, { request, response, answer }: Exchange): void {
  const { status, body, pieces } = answer
  const [path] = splitOnce(request.url ?? '', '?')
  options.log[status < 400 ? 'info' : 'warn'](`${status} ${request.method} ${path}`)
  options.metrics.count('requests_api', `status="${status}"`)
  if (!request.complete) response.setHeader('connection', 'close')
  if (pieces) {
    sendPieces(response, pieces).catch((error: unknown) => {
      failure(options, error)
      response.destroy()
    })
  } else if (body === undefined) {
    response.writeHead(status, status === 204 ? {} : { 'content-length': 0 }).end()
  } else {
    const isText = typeof body === 'string'
    const type = isText ? 'text/plain; charset=utf-8' : 'application/json'
    response.writeHead(status, { 'content-type': type })
    response.end(isText ? body : JSON.stringify(body))
  }
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

function decide(
  options: ApiOptions,
  request: IncomingMessage,
  isAllowed: (authorization?: string) => boolean,
): Answer | Promise<Answer> {
  const [path, search] = splitOnce(request.url ?? '', '?')
  if (path !== base && !path.startsWith(`${base}/`)) return { status: 404, body: 'Not Found' }
  if (!isAllowed(request.headers.authorization)) return { status: 403 }
  const handle = methods[request.method ?? '']
  if (!handle) return { status: 405, body: 'Method not supported' }
  return handle({ request, rest: path.slice(base.length), search, options })
}

/** What the check takes tells how long the token is, and nothing else. */
function tokenCheck(token: string | null): (authorization?: string) => boolean {
  if (token === null) return () => true
  const wanted = Buffer.from(token)
  return (authorization = '') => {
    const given = Buffer.from(/token\s+(\S+)/.exec(authorization)?.[1] ?? '')
    return given.length === wanted.length && timingSafeEqual(given, wanted)
  }
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

/** As requests are looked up: host names have no letter case, and may end with a dot. */
function withPlainHost(key: string): string {
  return key.replace(/^\/[^/]+/, (host) => host.toLowerCase().replace(/\.$/, ''))
}

async function listRoutes({ search, options }: Call): Promise<Answer> {
  const query = new URLSearchParams(search)
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
  const query = new URLSearchParams(call.search)
  const tombstone = query.get('tombstones') === '1' ? routes.tombstones.get(key) : undefined
  return tombstone ? { status: 200, body: tombstone.data } : { status: 404 }
}

function addRoute(call: Call): Promise<Answer> {
  const path = keyOf(call)
  return readText(call.request, maxRouteBytes).then((text) => setRoute(call, path, text))
}

/** In one turn where nobody has to be waited for: a class that logs in adds many. */
function setRoute(call: Call, path: string, text: string): Answer | Promise<Answer> {
  const { routes, published } = call.options
  const { replacing } = routes
  if (replacing) return replacing.then(() => setRoute(call, path, text))
  const entry = readOne(path, parseJson(text), call.options)
  routes.set(path, entry)
  const known = published({ kind: 'set', path, data: entry.data })
  return known ? known.then(() => added(call, path, entry)) : added(call, path, entry)
}

function added({ options }: Call, path: string, entry: Entry): Answer {
  options.metrics.count('api_route_add')
  const what = 'target' in entry ? `-> ${entry.target.host}` : `is ${entry.reason}`
  options.log.info(`Route added ${encodeURI(path)} ${what}`)
  return { status: 201 }
}

async function deleteRoute(call: Call): Promise<Answer> {
  const path = keyOf(call)
  const { options } = call
  options.metrics.count('api_route_delete')
  while (options.routes.replacing) await options.routes.replacing
  if (!options.routes.delete(path)) return { status: 404 }
  await options.published({ kind: 'delete', path })
  options.log.info(`Removing route ${encodeURI(path)}`)
  return { status: 204 }
}

async function replaceTable({ request, search, options }: Call): Promise<Answer> {
  const only = new URLSearchParams(search).get('only')
  if (only !== null && only !== 'jupyterhub') throw new ApiError(400, "'only' can be jupyterhub")
  const entries = await readTable(request, options)
  const onlyJupyterHub = only !== null
  await options.routes.replace(entries, onlyJupyterHub, () => {
    const table = [...entries].map(([path, { data }]) => [path, data] as const)
    return options.published({ kind: 'replace', table, onlyJupyterHub })
  })
  options.log.info(`Table replaced by ${entries.size} routes`)
  return { status: 204 }
}

/** @throws {ApiError} saying what is wrong with it. */
function readOne(path: string, body: unknown, { hostRouting }: ApiOptions): Entry {
  const entry = readEntry(path, body)
  if (typeof entry === 'string') throw new ApiError(400, entry)
  if (!hostRouting || path === '/') return entry
  return { ...entry, data: { ...entry.data, host: path.split('/')[1] ?? '' } }
}

/**
 * Reads the table while it arrives, in slices. All of it is checked before any of it takes effect.
 * @throws {ApiError}
 */
async function readTable(
  request: IncomingMessage,
  options: ApiOptions,
): Promise<Map<string, Entry>> {
  const table = new Map<string, Entry>()
  const reader = new MemberReader()
  const slices = new Slices()
  try {
    await readPieces(request, maxTableBytes, async (piece) => {
      for (const [path, value] of reader.push(piece)) {
        takeRoute(table, path, value, options)
        if (slices.isOver) await slices.next()
      }
    })
    reader.end()
  } catch (error) {
    if (!(error instanceof InvalidObject)) throw error
    throw new ApiError(400, `Body not valid JSON: ${error.message}`)
  }
  return table
}

function takeRoute(
  table: Map<string, Entry>,
  path: string,
  value: unknown,
  options: ApiOptions,
): void {
  const read = asRouteKey(path)
  if (read === null) throw new ApiError(400, `'${path}' is not a path`)
  const key = options.hostRouting ? withPlainHost(read) : read
  if (table.has(key)) throw new ApiError(400, `'${path}' is there twice`)
  try {
    table.set(key, readOne(key, value, options))
  } catch (error) {
    if (error instanceof ApiError) error.message = `'${path}': ${error.message}`
    throw error
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ApiError(400, `Body not valid JSON: ${String(error)}`)
  }
}

function readText(request: IncomingMessage, limit: number): Promise<string> {
  const pieces: Buffer[] = []
  const whole = () => (pieces.length === 1 ? pieces : [Buffer.concat(pieces)])[0]?.toString() ?? ''
  return readPieces(request, limit, (piece) => void pieces.push(piece)).then(whole)
}

/**
 * Tells the pieces of a body of at most `limit` bytes, the next one when `take` is done with the one
 * before. Nothing of a longer body is told once that is known, and nothing after `take` has failed;
 * the rest is passed over.
 */
function readPieces(
  request: IncomingMessage,
  limit: number,
  take: (piece: Buffer) => Promise<void> | void,
): Promise<void> {
  let size = 0
  let isOver = Number(request.headers['content-length'] ?? 0) > limit
  let taking: Promise<void> | null = null
  const tooLarge = () => new ApiError(413, `The body is larger than ${limit} bytes`)
  if (isOver) return Promise.reject(tooLarge())
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      isOver = true
      reject(error)
      request.resume()
    }
    request.on('data', (piece: Buffer) => {
      size += piece.length
      if (isOver) return
      if (size > limit) return fail(tooLarge())
      const taken = take(piece)
      if (!taken) return
      request.pause()
      taking = taken.then(() => void request.resume(), fail)
    })
    // The end can come while the last piece is being taken.
    request.on('end', () => (taking ? void taking.then(resolve) : resolve()))
    request.on('close', () => {
      if (!request.complete) reject(new ApiError(400, 'The body broke off'))
    })
  })
}

function ignore(): void {}

function splitOnce(text: string, separator: string): [before: string, after: string] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
