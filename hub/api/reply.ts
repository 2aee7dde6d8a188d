import { hash } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ErrorAnswer } from './errors.ts'
import type { PreparedJson, Reply, ReplyHeaders } from './endpoint.ts'

/** Where a reply goes. */
export interface Answering {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Names and values in turn: what every answer of the API carries. */
  readonly headers: readonly string[]
}

/** Renders a model once, for replies that are sent again and again. */
export const prepareJson = (model: unknown): PreparedJson => prepared(JSON.stringify(model))

/** What was rendered by other means. */
export const prepared = (body: string): PreparedJson => new Prepared(body)

class Prepared implements PreparedJson {
  readonly body: string
  #bytes: number | null = null
  #etag: string | null = null

  constructor(body: string) {
    this.body = body
  }

  get bytes(): number {
    return (this.#bytes ??= Buffer.byteLength(this.body))
  }

  get etag(): string {
    return (this.#etag ??= `"${hash('sha1', this.body)}"`)
  }
}

/** Sends a reply whole; resolves when nothing is left to do. */
export async function sendReply(to: Answering, reply: Reply): Promise<void> {
  switch (reply.kind) {
    case 'prepared':
      return sendPrepared(to, reply.json)
    case 'json':
      if (reply.status === 200 && (to.req.method === 'GET' || to.req.method === 'HEAD'))
        return sendPrepared(to, prepareJson(reply.model), reply.headers)
      return sendJson(to, reply.status, reply.model, reply.headers)
    case 'text':
      return sendText(to, reply)
    case 'stream':
      return sendStream(to, reply)
  }
}

/** JupyterHub's error body (wire section 1.3). Once an answer has begun it can only be cut off. */
export function sendError(to: Answering, { status, message, retryAfter }: ErrorAnswer): void {
  if (to.res.headersSent) {
    to.res.destroy()
    return
  }
  const headers = retryAfter === undefined ? undefined : { 'Retry-After': String(retryAfter) }
  sendJson(to, status, { status, message }, headers)
}

function sendPrepared(
  { req, res, headers }: Answering,
  { body, bytes, etag }: PreparedJson,
  extra?: ReplyHeaders,
): void {
  const more = extra ? Object.entries(extra).flat() : []
  if (isKnown(req.headers['if-none-match'], etag)) {
    res.writeHead(304, [...headers, 'Etag', etag, ...more]).end()
    return
  }
  const length = String(bytes)
  res.writeHead(200, [...headers, ...jsonType, 'Content-Length', length, 'Etag', etag, ...more])
  res.end(req.method === 'HEAD' ? undefined : body)
}

/** Whether the client has this already: front ends that compress make tags weak (RFC 9110 section 13.1.2). */
function isKnown(held: string | undefined, etag: string): boolean {
  if (held === undefined) return false
  const tags: readonly string[] = held.match(/"[^"]*"/g) ?? []
  return held.trim() === '*' || tags.includes(etag)
}

const jsonType = ['Content-Type', 'application/json'] as const

function sendJson(
  { req, res, headers }: Answering,
  status: number,
  model: unknown,
  extra: ReplyHeaders = {},
): void {
  const body = JSON.stringify(model)
  const length = String(Buffer.byteLength(body))
  const own = [...jsonType, 'Content-Length', length, ...Object.entries(extra).flat()]
  res.writeHead(status, [...headers, ...own])
  res.end(req.method === 'HEAD' ? undefined : body)
}

function sendText(
  { req, res, headers }: Answering,
  { status, text, type, headers: extra = {} }: Extract<Reply, { kind: 'text' }>,
): void {
  const own = Object.entries(extra).flat()
  if (type !== undefined) own.push('Content-Type', type)
  if (status !== 204) own.push('Content-Length', String(Buffer.byteLength(text)))
  res.writeHead(status, [...headers, ...own])
  res.end(req.method === 'HEAD' ? undefined : text)
}

async function sendStream(
  { res, headers }: Answering,
  { type, write }: Extract<Reply, { kind: 'stream' }>,
): Promise<void> {
  const gone = new AbortController()
  const closed = once(res, 'close').then(() => gone.abort())
  res.writeHead(200, [
    ...headers.flatMap((text, index) =>
      index % 2 === 0 && text !== 'Cache-Control' ? [text, headers[index + 1] ?? ''] : [],
    ),
    'Content-Type',
    type,
    'Cache-Control',
    'no-cache, no-transform',
    'X-Accel-Buffering',
    'no',
  ])
  res.flushHeaders()
  try {
    await write(res, gone.signal)
  } finally {
    res.end()
    await closed
  }
}
