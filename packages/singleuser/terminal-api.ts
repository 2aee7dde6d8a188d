import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import type { Caller } from '../hub-auth/index.ts'
import { refuseMethod, sendEmpty, sendJson, type Exchange } from './replies.ts'
import type { Terminal, TerminalListener, Terminals } from './terminals.ts'

/** `api/terminals` and `api/terminals/NAME`, in the shape of Jupyter's terminals API. */
export async function terminalsApi(exchange: Exchange, terminals: Terminals): Promise<void> {
  const { method, rest, response } = exchange
  if (rest === '') {
    if (method === 'GET') return sendJson(response, 200, terminals.list().map(modelOf))
    if (method === 'POST') return sendJson(response, 201, modelOf(await terminals.create()))
    return refuseMethod(exchange, ['GET', 'POST'])
  }
  const terminal = terminals.get(rest)
  if (method === 'GET') return sendJson(response, 200, modelOf(terminal))
  if (method !== 'DELETE') return refuseMethod(exchange, ['GET', 'DELETE'])
  await terminal.close()
  return sendEmpty(response)
}

function modelOf({ name, lastActivity }: Terminal): { name: string; last_activity: string } {
  return { name, last_activity: lastActivity.toISOString() }
}

/** Bytes waiting for one browser at which the shell is paused, and at which it goes on. */
const highWater = 1024 * 1024
const lowWater = 64 * 1024
/** Milliseconds between pings, and between checks that the watcher still has access. */
const pingInterval = 30_000
const recheckInterval = 10_000

export interface Connection {
  readonly request: IncomingMessage
  readonly socket: Duplex
  readonly head: Buffer
  readonly terminal: Terminal
  readonly caller: Caller
  /** Called for every message in either direction. */
  readonly touch: () => void
}

/**
 * WebSockets of terminals: JSON lists as in Jupyter, `["stdin", text]`, `["set_size", rows, cols]`
 * to the server, `["setup", {}]`, `["stdout", text]`, `["disconnect", 1]` from it. A first `stdout`
 * announced by `{"replay": true}` repeats earlier output, to which the browser must not react.
 * A connection ends with the access of its user, checked while it carries anything.
 */
export class TerminalSockets {
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: 1024 * 1024,
    perMessageDeflate: false,
  })

  /** Takes over an upgrade that was authorised. */
  accept(connection: Connection): void {
    const { request, socket, head } = connection
    this.#server.handleUpgrade(request, socket, head, (webSocket) => serve(webSocket, connection))
  }

  closeAll(): void {
    for (const webSocket of this.#server.clients) webSocket.close(1001, 'server stops')
  }
}

function serve(webSocket: WebSocket, { terminal, caller, touch }: Connection): void {
  const access = accessWatch(webSocket, caller)
  const listener: TerminalListener = {
    output: (text) => {
      touch()
      access.checkSometimes()
      send(webSocket, ['stdout', text], () => {
        if (webSocket.bufferedAmount < lowWater) terminal.setSlow(listener, false)
      })
      if (webSocket.bufferedAmount > highWater) terminal.setSlow(listener, true)
    },
    exit: () => {
      send(webSocket, ['disconnect', 1])
      webSocket.close(1000)
    },
  }
  const replay = terminal.attach(listener)
  send(webSocket, ['setup', { replay: replay !== '' }])
  if (replay !== '') send(webSocket, ['stdout', replay])
  const stopPings = pingUntilClosed(webSocket)
  // One after another, so that keys arrive in order however long a check takes.
  let queue = Promise.resolve()
  webSocket.on('message', (data: Buffer) => {
    queue = queue.then(async () => {
      touch()
      if (await access.holds()) obey(terminal, data.toString('utf8'))
    })
  })
  webSocket.on('error', () => webSocket.terminate())
  webSocket.on('close', () => {
    stopPings()
    terminal.detach(listener)
  })
}

function obey(terminal: Terminal, text: string): void {
  const [kind, first, second] = listFrom(text)
  if (kind === 'stdin' && typeof first === 'string') terminal.write(first)
  if (kind === 'set_size') terminal.resize(Number(second), Number(first))
}

function listFrom(text: string): unknown[] {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) ? value : []
  } catch {
    return []
  }
}

/** Closes the socket when access has ended; a hub that is down ends nobody's work. */
function accessWatch(
  webSocket: WebSocket,
  caller: Caller,
): { holds: () => Promise<boolean>; checkSometimes: () => void } {
  let checkedAt = performance.now()
  const holds = async (): Promise<boolean> => {
    checkedAt = performance.now()
    const allowed = await caller.recheck().then(
      (user) => user !== null,
      () => true,
    )
    if (!allowed) webSocket.close(4403, 'your access has ended')
    return allowed
  }
  const checkSometimes = (): void => {
    if (performance.now() - checkedAt > recheckInterval) void holds()
  }
  return { holds, checkSometimes }
}

/** Finds browsers that vanished without a word. */
function pingUntilClosed(webSocket: WebSocket): () => void {
  let alive = true
  webSocket.on('pong', () => (alive = true))
  const timer = setInterval(() => {
    if (!alive) return webSocket.terminate()
    alive = false
    return webSocket.ping()
  }, pingInterval)
  timer.unref()
  return () => clearInterval(timer)
}

function send(webSocket: WebSocket, message: unknown[], sent: () => void = () => {}): void {
  if (webSocket.readyState === webSocket.OPEN) webSocket.send(JSON.stringify(message), sent)
}
