import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { HubError } from '../core/errors.ts'

export interface HubRequestOptions {
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Milliseconds until the whole exchange must be over; 10 s unless given. */
  readonly timeout?: number
}

export interface HubReply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

const maxBody = 4 * 1024 * 1024

/**
 * One request to the hub; redirects are not followed. Resolves with whatever status it answers;
 * throws `unavailable` when it does not answer in time. A kept-alive connection that a restarted
 * hub has dropped is replaced once.
 */
export async function hubRequest(url: string, options: HubRequestOptions = {}): Promise<HubReply> {
  try {
    return await attempt(url, options).catch((error: unknown) => {
      if (error instanceof StaleConnection) return attempt(url, options)
      throw error
    })
  } catch (cause) {
    const { origin } = new URL(url)
    throw new HubError('unavailable', `the hub at ${origin} does not answer`, { cause })
  }
}

class StaleConnection extends Error {
  override readonly name = 'StaleConnection'
}

async function attempt(url: string, options: HubRequestOptions): Promise<HubReply> {
  const { method = 'GET', headers = {}, body = '', timeout = 10_000 } = options
  const send = url.startsWith('https:') ? httpsRequest : httpRequest
  const length = { 'content-length': String(Buffer.byteLength(body)) }
  const signal = AbortSignal.timeout(timeout)
  const incoming = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = send(url, {
      method,
      headers: { accept: 'application/json', ...headers, ...(method === 'POST' && length) },
      signal,
    })
    outgoing.on('response', resolve).on('error', (error: NodeJS.ErrnoException) => {
      const stale = outgoing.reusedSocket && error.code === 'ECONNRESET'
      reject(stale ? new StaleConnection(error.message) : error)
    })
    outgoing.end(body)
  })
  return {
    status: incoming.statusCode ?? 0,
    headers: incoming.headers,
    body: await textOf(incoming),
  }
}

async function textOf(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBody) throw new Error(`its answer is longer than ${maxBody} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
