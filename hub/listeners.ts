import { once } from 'node:events'
import { chmodSync, existsSync, unlinkSync } from 'node:fs'
import {
  createServer,
  IncomingMessage,
  type RequestListener,
  type Server,
  ServerResponse,
} from 'node:http'
import type { Express } from 'express'
import type { HubApp } from './app.ts'
import { describeError, HubError } from '../packages/core/errors.ts'

/** Listens at once with a plain 503, so that health checks find somebody, and serves the app when it is there. */
export async function listen(url: URL, option: string) {
  let handle: RequestListener = (_req, res) => {
    res
      .writeHead(503, { 'Retry-After': '1', 'Content-Type': 'text/plain' })
      .end('The hub is starting')
  }
  const messages = expressMessages()
  const server = createServer(
    { ...messages.classes, headersTimeout: 20_000, requestTimeout: 300_000 },
    (req, res) => handle(req, res),
  )
  const host = url.hostname.replace(/^\[|\]$/g, '')
  server.listen(Number(url.port || 80), host === '' ? undefined : host)
  await listening(server, `${option} (${url.origin})`)
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : url.port
  const serve = (app: HubApp): void => {
    messages.join(app.pages)
    handle = app.handle
  }
  return {
    server,
    serve,
    origin: `http://${['0.0.0.0', '[::]'].includes(url.hostname) ? '127.0.0.1' : url.hostname}:${port}`,
  }
}

/**
 * Express gives each request and response its own prototype when it arrives, after which V8 treats
 * them as dictionaries and all that follows is slow. Messages that are born with these prototypes
 * are left alone: a small request then costs a third.
 */
function expressMessages() {
  class HubRequest extends IncomingMessage {}
  class HubResponse extends ServerResponse<HubRequest> {}
  return {
    classes: { IncomingMessage: HubRequest, ServerResponse: HubResponse },
    /** The prototypes become those of this app. Call it once. */
    join(app: Express): void {
      app.request = Object.setPrototypeOf(HubRequest.prototype, app.request)
      app.response = Object.setPrototypeOf(HubResponse.prototype, app.response)
    },
  }
}

/** The operator's door: a unix socket that only this account and root can open. */
export async function listenOnSocket(path: string, app: RequestListener): Promise<Server> {
  if (existsSync(path)) unlinkSync(path)
  const server = createServer(app)
  server.listen(path)
  await listening(server, path)
  chmodSync(path, 0o600)
  return server
}

async function listening(server: Server, what: string): Promise<void> {
  try {
    await once(server, 'listening')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    const reason =
      code === 'EADDRINUSE'
        ? 'the address is in use: end that program or choose another'
        : describeError(error)
    throw new HubError('unavailable', `cannot listen on ${what}: ${reason}`, { cause: error })
  }
}

/** Stops listening; answers under way get a second. */
export function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), 1000).unref()
  })
}
