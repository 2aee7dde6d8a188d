import { Readable } from 'node:stream'
import { HubError } from '../core/errors.ts'
import { maxWhole, type Entry, type Expectation, type Files } from './files.ts'
import { readJson, refuseMethod, sendEmpty, sendJson, type Exchange } from './replies.ts'

/** Base64 and JSON escapes make a body longer than the file it carries. */
const maxBody = 3 * maxWhole

/** An answer's body; with `content` when it was asked for. Jupyter's contents model plus ours. */
interface Model {
  readonly name: string
  readonly path: string
  readonly type: 'directory' | 'file' | 'notebook'
  readonly format: 'json' | 'text' | 'base64' | null
  readonly mimetype: string | null
  readonly content: unknown
  readonly size: number | null
  readonly writable: boolean
  readonly created: string
  readonly last_modified: string
  /** Ours: false for links out of the root and for what is neither file nor folder. */
  readonly openable: boolean
  readonly etag: string
}

/**
 * `api/contents/PATH` in the shape of Jupyter's contents API. Beyond it, PUT honours `If-Match`
 * and `If-None-Match: *` (412 when they fail), and DELETE wants `?recursive=1` for a folder that
 * is not empty.
 */
export async function contents(exchange: Exchange, files: Files): Promise<void> {
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return show(exchange, files)
    case 'POST':
      return create(exchange, files)
    case 'PUT':
      return save(exchange, files)
    case 'PATCH':
      return rename(exchange, files)
    case 'DELETE':
      await files.remove(exchange.rest, exchange.query.get('recursive') === '1')
      return sendEmpty(exchange.response)
    default:
      return refuseMethod(exchange, ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'])
  }
}

async function show({ rest, query, response }: Exchange, files: Files): Promise<void> {
  const entry = await files.entry(rest)
  const wanted = query.get('type')
  if ((wanted === 'directory') !== (entry.kind === 'directory') && wanted !== null) {
    throw new HubError('invalid_request', `"${entry.path}" is not of type ${wanted}`)
  }
  response.setHeader('etag', entry.etag)
  if (query.get('content') === '0') return sendJson(response, 200, modelOf(entry))
  if (entry.kind === 'directory') {
    const listed = (await files.list(rest)).map((child) => modelOf(child))
    return sendJson(response, 200, { ...modelOf(entry), format: 'json', content: listed })
  }
  const read = await files.read(rest)
  response.setHeader('etag', read.entry.etag)
  const filled = withContent(read.entry, read.content, wanted, query.get('format'))
  return sendJson(response, 200, filled)
}

async function create({ request, response, rest }: Exchange, files: Files): Promise<void> {
  const body = await readJson(request, maxBody)
  const at = (name: string): string => `${rest}/${encoded(name, 'ext')}`
  const send = (entry: Entry): void => sendJson(response, 201, modelOf(entry))
  if (body['copy_from'] !== undefined) {
    const source = await files.stream(encoded(body['copy_from'], 'copy_from'))
    const [, stem = '', suffix = ''] = /^(.+?)(\.[^.]*)?$/s.exec(source.entry.name) ?? []
    const name = await files.freeName(rest, `${stem}-Copy`, suffix)
    return send(await files.write(at(name), source.open(0, Infinity), { absent: true }))
  }
  if (body['type'] === 'directory') {
    return send(await files.makeFolder(at(await files.freeName(rest, 'Untitled Folder', ''))))
  }
  const notebook = body['type'] === 'notebook'
  const suffix = notebook ? '.ipynb' : textOf(body['ext'] ?? '.txt', 'ext')
  const name = await files.freeName(rest, notebook ? 'Untitled' : 'untitled', suffix)
  const content = notebook ? emptyNotebook : ''
  return send(await files.write(at(name), Readable.from([content]), { absent: true }))
}

async function save({ request, response, rest }: Exchange, files: Files): Promise<void> {
  const body = await readJson(request, maxBody)
  const existing = await files.entry(rest).catch(() => null)
  const status = existing ? 200 : 201
  if (body['type'] === 'directory') {
    const keep = existing?.kind === 'directory' && request.headers['if-none-match'] !== '*'
    const folder = keep ? existing : await files.makeFolder(rest)
    return sendJson(response, status, modelOf(folder))
  }
  const expected = expectationOf(request.headers)
  const entry = await files.write(rest, Readable.from([contentOf(body)]), expected)
  response.setHeader('etag', entry.etag)
  return sendJson(response, status, modelOf(entry))
}

async function rename({ request, response, rest }: Exchange, files: Files): Promise<void> {
  const to = encoded((await readJson(request, maxBody))['path'], 'path')
  sendJson(response, 200, modelOf(await files.rename(rest, to)))
}

/** The conditions of RFC 9110 section 13.1 that are of use when writing. */
export function expectationOf(headers: {
  readonly 'if-match'?: string | undefined
  readonly 'if-none-match'?: string | undefined
}): Expectation {
  const etag = headers['if-match']
  return {
    ...(etag !== undefined && { etag }),
    absent: headers['if-none-match'] === '*',
  }
}

export function modelOf(entry: Entry): Model {
  const isFile = entry.kind !== 'directory'
  return {
    name: entry.name,
    path: entry.path,
    type: !isFile ? 'directory' : entry.name.endsWith('.ipynb') ? 'notebook' : 'file',
    format: null,
    mimetype: null,
    content: null,
    size: entry.size,
    writable: entry.writable,
    created: entry.created.toISOString(),
    last_modified: entry.modified.toISOString(),
    openable: entry.kind !== 'other' && !entry.outside,
    etag: entry.etag,
  }
}

/** Text when the bytes are UTF-8, else base64; a notebook is parsed unless a plain file is wanted. */
function withContent(
  entry: Entry,
  bytes: Buffer,
  type: string | null,
  format: string | null,
): Model {
  const text = format === 'base64' ? null : decodeUtf8(bytes)
  const model = modelOf(entry)
  if (model.type === 'notebook' && type !== 'file') {
    return { ...model, format: 'json', content: parseNotebook(entry, text) }
  }
  const plain = { ...model, type: 'file' } as const
  if (text !== null) return { ...plain, mimetype: 'text/plain', format: 'text', content: text }
  if (format === 'text') {
    throw new HubError('invalid_request', `"${entry.path}" is not UTF-8 text: download it instead`)
  }
  const content = bytes.toString('base64')
  return { ...plain, mimetype: 'application/octet-stream', format: 'base64', content }
}

function decodeUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return null
  }
}

function parseNotebook(entry: Entry, text: string | null): unknown {
  try {
    const parsed: unknown = JSON.parse(text ?? '')
    return parsed
  } catch (cause) {
    throw new HubError('invalid_request', `"${entry.path}" is not a valid notebook`, { cause })
  }
}

const emptyNotebook = `${JSON.stringify({ cells: [], metadata: {}, nbformat: 4, nbformat_minor: 5 }, null, 1)}\n`

function contentOf(body: Record<string, unknown>): Buffer {
  const { format, content, type } = body
  if (type === 'notebook' && format !== 'text') {
    return Buffer.from(`${JSON.stringify(content, null, 1)}\n`)
  }
  const text = textOf(content, 'content')
  if (format === 'base64' && !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(text)) {
    throw new HubError('invalid_request', 'the content is not valid base64')
  }
  return Buffer.from(text, format === 'base64' ? 'base64' : 'utf8')
}

function textOf(value: unknown, name: string): string {
  if (typeof value === 'string') return value
  throw new HubError('invalid_request', `"${name}" must be a string`)
}

/** A path of a body, as it would stand in a URL. */
function encoded(value: unknown, name: string): string {
  const text = textOf(value, name)
  if (/\p{Surrogate}/u.test(text)) {
    throw new HubError('invalid_request', `"${name}" is not well-formed Unicode`)
  }
  return encodeURIComponent(text)
}
