import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { HubError, statusOf } from '../core/errors.ts'
import type { HubAuthConfig } from '../hub-auth/index.ts'
import { Conflict } from './files.ts'
import { sendMessage } from './pages.ts'
import { sendJson } from './replies.ts'

const titles: Readonly<Record<number, string>> = {
  400: 'That did not work',
  403: 'No access',
  404: 'Not found',
  503: 'The hub does not answer',
}

/** The one place where an error becomes a reply: a page for people, JSON for scripts. */
export class Failures {
  readonly #hub: HubAuthConfig
  readonly #log: (line: string) => void

  constructor(hub: HubAuthConfig, log: (line: string) => void) {
    this.#hub = hub
    this.#log = log
  }

  /** A reply that has begun is cut off; one whose client left is not an error. */
  send(error: unknown, request: IncomingMessage, response: ServerResponse): void {
    if (request.errored || response.destroyed) {
      response.destroy()
      return
    }
    const { status, message, retryAfter } = this.#explain(error)
    if (response.headersSent) {
      response.destroy()
      return
    }
    if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter)
    const path = (request.url ?? '').slice(this.#hub.servicePrefix.length)
    if (isNavigation(request, path)) this.#sendPage(response, status, message)
    else sendJson(response, status, { status, message })
  }

  /** The same for a WebSocket that was not accepted. */
  refuseUpgrade(error: unknown, socket: Duplex): void {
    const { status, message } = this.#explain(error)
    const body = JSON.stringify({ status, message })
    const head = [
      `HTTP/1.1 ${status} Refused`,
      'Connection: close',
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
    ]
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  }

  #sendPage(response: ServerResponse, status: number, message: string): void {
    const { servicePrefix, host, baseUrl } = this.#hub
    const retry = { href: servicePrefix, label: status === 404 ? 'Files' : 'Try again' }
    const home = { href: `${host}${baseUrl}hub/home`, label: 'Hub home' }
    const logout = { href: `${servicePrefix}logout`, label: 'Log out' }
    sendMessage(response, status, {
      title: titles[status] ?? 'Something went wrong',
      text: `${message.charAt(0).toUpperCase()}${message.slice(1)}.`,
      links: status === 403 ? [retry, home, logout] : [retry, home],
    })
  }

  /** What a caller may know. A bug is logged whole and shown as an id only. */
  #explain(error: unknown): { status: number; message: string; retryAfter?: number | undefined } {
    if (error instanceof HubError) {
      const { message, retryAfter } = error
      return { status: statusOf[error.code], message, retryAfter }
    }
    if (error instanceof Conflict) return { status: 412, message: error.message }
    const id = randomUUID().slice(0, 8)
    this.#log(`error ${id}: ${error instanceof Error ? error.stack : String(error)}`)
    return { status: 500, message: `an unexpected error, logged as ${id}` }
  }
}

/** Whether `path` is `name` or below it. */
export function isAt(path: string, name: string): boolean {
  return path === name || path.startsWith(`${name}/`)
}

/**
 * A browser showing a page, as opposed to a script or an image of one: those get JSON and are never
 * redirected. By Sec-Fetch-Dest, since Node's fetch sends a Sec-Fetch-Mode too; without it any GET
 * outside the API counts as a page, as in JupyterHub.
 */
export function isNavigation(request: IncomingMessage, path: string): boolean {
  const reads = request.method === 'GET' || request.method === 'HEAD'
  const destination = request.headers['sec-fetch-dest'] ?? 'document'
  return reads && destination === 'document' && !isAt(path, 'api')
}
