import type { ReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { expectationOf, modelOf } from './contents.ts'
import type { Entry, Files } from './files.ts'
import { refuseMethod, sendJson, type Exchange } from './replies.ts'

/**
 * `files/PATH`: the bytes of a file, streamed both ways, so that size is bounded by the disk only.
 * GET always downloads: nothing a user wrote is rendered in our origin. PUT uploads; the file
 * appears when it is complete.
 */
export async function transfer(exchange: Exchange, files: Files): Promise<void> {
  switch (exchange.method) {
    case 'GET':
    case 'HEAD':
      return download(exchange, files)
    case 'PUT':
      return upload(exchange, files)
    default:
      return refuseMethod(exchange, ['GET', 'HEAD', 'PUT'])
  }
}

async function upload({ request, response, rest }: Exchange, files: Files): Promise<void> {
  const existed = await files.entry(rest).then(
    () => true,
    () => false,
  )
  const entry = await files.write(rest, request, expectationOf(request.headers))
  response.setHeader('etag', entry.etag)
  sendJson(response, existed ? 200 : 201, modelOf(entry))
}

async function download(
  { method, request, response, rest }: Exchange,
  files: Files,
): Promise<void> {
  const { entry, open } = await files.stream(rest)
  const size = entry.size ?? 0
  for (const [name, value] of Object.entries(downloadHeaders(entry)))
    response.setHeader(name, value)
  if (request.headers['if-none-match'] === entry.etag) {
    response.writeHead(304).end()
    return
  }
  const ifRange = request.headers['if-range']
  const usable = ifRange === undefined || ifRange === entry.etag
  const range = usable ? rangeOf(request.headers.range, size) : null
  if (range === 'unsatisfiable') {
    response.writeHead(416, { 'content-range': `bytes */${size}` }).end()
    return
  }
  const { start, end } = range ?? { start: 0, end: size - 1 }
  if (range) response.setHeader('content-range', `bytes ${start}-${end}/${size}`)
  response.writeHead(range ? 206 : 200, { 'content-length': end - start + 1 })
  if (method === 'HEAD' || size === 0) {
    response.end()
    return
  }
  const stream = open(start, end) as ReadStream
  await pipeline(stream, response, { end: false }).catch(() => response.destroy())
  // A file that shrank meanwhile must not look complete.
  if (stream.bytesRead === end - start + 1) response.end()
  else response.destroy()
}

function downloadHeaders(entry: Entry): Record<string, string> {
  const plain = entry.name.replace(/[^\x20-\x7e]|["\\%]/g, '_')
  const encoded = encodeURIComponent(entry.name).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return {
    'content-type': 'application/octet-stream',
    'content-disposition': `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`,
    'content-security-policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
    'accept-ranges': 'bytes',
    'last-modified': entry.modified.toUTCString(),
    'cache-control': 'private, no-cache',
    etag: entry.etag,
  }
}

/** One byte range (RFC 9110 section 14); null when there is none, or one we answer whole. */
function rangeOf(
  header: string | undefined,
  size: number,
): { start: number; end: number } | 'unsatisfiable' | null {
  const [, from, to] = /^bytes=(\d*)-(\d*)$/.exec(header ?? '') ?? []
  if (from === undefined || to === undefined || from + to === '') return null
  const start = from === '' ? Math.max(0, size - Number(to)) : Number(from)
  const end = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1)
  if (from !== '' && to !== '' && Number(to) < start) return null
  return start > end ? 'unsatisfiable' : { start, end }
}
