import type { IncomingMessage, ServerResponse } from 'node:http'
import { HubError } from '../core/errors.ts'
import { protocolVersion } from './config.ts'

/** An authorised or public request on its way to a handler. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly method: string
  /** What follows the handler's own prefix in the path, still percent-encoded. */
  readonly rest: string
  readonly query: URLSearchParams
}

/** Headers of every reply: nothing of ours may be framed, sniffed or embedded elsewhere. */
const everywhere: Readonly<Record<string, string>> = {
  'x-jupyterhub-version': protocolVersion,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cache-control': 'no-store',
}

export function setCommonHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(everywhere)) response.setHeader(name, value)
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(value))
}

export function sendEmpty(response: ServerResponse, status = 204): void {
  response.writeHead(status).end()
}

export function sendRedirect(
  response: ServerResponse,
  location: string,
  cookies: readonly string[] = [],
): void {
  if (cookies.length > 0) response.setHeader('set-cookie', [...cookies])
  response.writeHead(302, { location }).end()
}

/** The request's body as a JSON object; an empty body is `{}`. Throws `invalid_request`, `payload_too_large`. */
export async function readJson(
  request: IncomingMessage,
  maxBytes: number,
): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxBytes) {
      const advice = 'upload it as a file instead'
      throw new HubError('payload_too_large', `more than ${maxBytes} bytes of JSON; ${advice}`)
    }
    chunks.push(chunk)
  }
  return objectFrom(Buffer.concat(chunks).toString('utf8'))
}

function objectFrom(text: string): Record<string, unknown> {
  if (text.trim() === '') return {}
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value }
  } catch (cause) {
    throw new HubError('invalid_request', 'the body is not valid JSON', { cause })
  }
  throw new HubError('invalid_request', 'the body is not a JSON object')
}

/** Throws `method_not_allowed`; the reply names what is. */
export function refuseMethod(exchange: Exchange, allowed: readonly string[]): never {
  exchange.response.setHeader('allow', allowed.join(', '))
  throw new HubError('method_not_allowed', `${exchange.method} is not possible here`)
}
