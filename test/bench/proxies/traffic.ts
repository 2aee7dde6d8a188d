import { once } from 'node:events'
import { type Socket, connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** What a client of a proxy is to do. All go to 127.0.0.1. */
export type Traffic =
  | { kind: 'get'; port: number; path: string; connections: number; seconds: number }
  /** At a steady pace, whatever the answers do: as many people who know nothing of each other. */
  | {
      kind: 'paced'
      port: number
      path: string
      connections: number
      perSecond: number
      seconds: number
    }
  | { kind: 'up'; port: number; bytes: number }
  | { kind: 'open'; port: number; path?: string; count: number }
  | { kind: 'reopen'; port: number; path: string; count: number }
  | { kind: 'close' }
  | { kind: 'echo'; port: number; connections: number; bytes: number; seconds: number }
  | { kind: 'abort'; port: number; count: number }
  /** Sends `body` to `path-0`, `path-1` and so on from `from` to below `to`, `connections` at a time. */
  | {
      kind: 'add'
      port: number
      path: string
      token: string
      body: string
      from: number
      to: number
      connections: number
      /** At most; default: as many as there is time for. */
      perSecond?: number
    }
  /** Asks for the same again and again, each time on a connection that ends with the answer. */
  | { kind: 'list'; port: number; path: string; token: string; seconds: number }

/** `count` is of requests, messages or connections; p99 in milliseconds. */
export interface TrafficResult {
  readonly count: number
  readonly seconds: number
  readonly p99: number
}

const headers = [
  'Host: hub.test',
  'User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
  'Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'Accept-Language: en-GB,en;q=0.5',
  'Accept-Encoding: gzip, deflate',
  'Cookie: _xsrf=2|1234|abcdef; jupyterhub-session-id=0123456789abcdef',
].join('\r\n')
const upgrade =
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='

const held: Socket[] = []

process.on('message', (plan: Traffic) => {
  const began = performance.now()
  run(plan).then(
    ({ count, latencies = [] }) => {
      latencies.sort((left, right) => left - right)
      const seconds = (performance.now() - began) / 1000
      const p99 = latencies[Math.floor(latencies.length * 0.99)] ?? 0
      process.send?.({ result: { count, seconds, p99 } })
    },
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit())

interface Done {
  readonly count: number
  readonly latencies?: number[]
}

function run(plan: Traffic): Promise<Done> {
  switch (plan.kind) {
    case 'get':
      return get(plan)
    case 'paced':
      return paced(plan)
    case 'list':
      return list(plan)
    case 'up':
      return up(plan)
    case 'open':
      return open(plan)
    case 'reopen':
      return reopen(plan)
    case 'close':
      return close()
    case 'echo':
      return echo(plan)
    case 'abort':
      return abort(plan)
    case 'add':
      return add(plan)
  }
}

async function get({ port, path, connections, seconds }: Traffic & { kind: 'get' }): Promise<Done> {
  const request = Buffer.from(`GET ${path} HTTP/1.1\r\n${headers}\r\n\r\n`)
  const deadline = performance.now() + seconds * 1000
  const latencies: number[] = []
  const loop = async (): Promise<void> => {
    const socket = await opened(port)
    do {
      const sent = performance.now()
      socket.write(request)
      await answered(socket)
      latencies.push(performance.now() - sent)
    } while (performance.now() < deadline)
    socket.destroy()
  }
  await Promise.all(Array.from({ length: connections }, loop))
  return { count: latencies.length, latencies }
}

/**
 * A request that could not be sent in time, because the answer before was still to come, counts from
 * when it was due: else one that waits would hide all those behind it.
 */
async function paced(plan: Traffic & { kind: 'paced' }): Promise<Done> {
  const { port, path, connections, perSecond, seconds } = plan
  const request = Buffer.from(`GET ${path} HTTP/1.1\r\n${headers}\r\n\r\n`)
  const between = (connections * 1000) / perSecond
  const latencies: number[] = []
  const begin = performance.now() + 100
  const loop = async (at: number): Promise<void> => {
    const socket = await opened(port)
    const first = begin + (at * between) / connections
    for (let due = first; due < begin + seconds * 1000; due += between) {
      const isLate = performance.now() > due
      if (!isLate) await sleep(due - performance.now())
      const from = isLate ? due : performance.now()
      socket.write(request)
      await answered(socket)
      latencies.push(performance.now() - from)
    }
    socket.destroy()
  }
  await Promise.all(Array.from({ length: connections }, (_, at) => loop(at)))
  return { count: latencies.length, latencies }
}

async function list({ port, path, token, seconds }: Traffic & { kind: 'list' }): Promise<Done> {
  const deadline = performance.now() + seconds * 1000
  const head = `Host: 127.0.0.1:${port}\r\nAuthorization: token ${token}\r\nConnection: close`
  let count = 0
  while (performance.now() < deadline) {
    let length = 0
    const socket = await opened(port, (bytes) => (length += bytes))
    const closed = once(socket, 'close')
    socket.write(`GET ${path} HTTP/1.1\r\n${head}\r\n\r\n`)
    await closed
    if (length < 1024) throw new Error('there is no list')
    count += 1
  }
  return { count }
}

/** Resolves once a whole answer with a length has arrived. */
function answered(socket: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = -1
    const finish = (error?: Error): void => {
      socket.off('data', take).off('close', lost)
      if (error) reject(error)
      else resolve()
    }
    const lost = (): void => finish(new Error('a connection was closed'))
    const take = (chunk: Buffer): void => {
      if (left < 0) {
        const end = chunk.indexOf('\r\n\r\n')
        const head = chunk.toString('latin1', 0, end + 2)
        const length = /content-length: *(\d+)\r\n/i.exec(head)?.[1]
        if (!head.startsWith('HTTP/1.1 200 ') || length === undefined) {
          return finish(new Error(`the answer was ${JSON.stringify(head)}`))
        }
        left = Number(length) + end + 4
      }
      left -= chunk.length
      if (left <= 0) finish()
    }
    socket.on('data', take).on('close', lost)
  })
}

async function up({ port, bytes }: Traffic & { kind: 'up' }): Promise<Done> {
  const socket = await opened(port)
  socket.write(`POST /up HTTP/1.1\r\n${headers}\r\nContent-Length: ${bytes}\r\n\r\n`)
  const piece = Buffer.alloc(256 * 1024, 'x')
  const answer = answered(socket)
  for (let left = bytes; left > 0; left -= piece.length) {
    const isAll = socket.write(left < piece.length ? piece.subarray(0, left) : piece)
    if (!isAll) await once(socket, 'drain')
  }
  await answer
  socket.destroy()
  return { count: 1 }
}

async function open({ port, path, count }: Traffic & { kind: 'open' }): Promise<Done> {
  for (let i = 0; i < count; i += 50) {
    held.push(
      ...(await Promise.all(
        Array.from({ length: Math.min(50, count - i) }, () => shake(port, { path })),
      )),
    )
  }
  return { count }
}

/** Handshakes that are refused, one after the other on 8 connections at once, as tabs that come again. */
async function reopen({ port, path, count }: Traffic & { kind: 'reopen' }): Promise<Done> {
  let left = count
  const loop = async (): Promise<void> => {
    while (left > 0) {
      left -= 1
      const socket = await opened(port)
      const closed = once(socket, 'close')
      socket.write(`GET ${path} HTTP/1.1\r\n${upgrade}\r\n${headers}\r\n\r\n`)
      socket.resume()
      await closed
    }
  }
  await Promise.all(Array.from({ length: 8 }, loop))
  return { count }
}

async function close(): Promise<Done> {
  const sockets = held.splice(0).filter((socket) => !socket.closed)
  await Promise.all(
    sockets.map((socket) => {
      const closed = once(socket, 'close')
      socket.destroy()
      return closed
    }),
  )
  return { count: sockets.length }
}

async function echo(plan: Traffic & { kind: 'echo' }): Promise<Done> {
  const message = Buffer.alloc(plan.bytes, 'x')
  let count = 0
  let isOver = false
  setTimeout(() => (isOver = true), plan.seconds * 1000)
  const loop = async (): Promise<void> => {
    let left = Infinity
    let finish = () => {}
    // Reading costs less this way, so that it is not the client that limits the pace.
    const socket = await shake(plan.port, {
      read: (bytes) => {
        left -= bytes
        if (left > 0) return
        count += 1
        left = plan.bytes
        if (isOver) finish()
        else socket.write(message)
      },
    })
    left = plan.bytes
    const finished = new Promise<void>((resolve) => (finish = resolve))
    socket.write(message)
    await finished
    socket.destroy()
  }
  await Promise.all(Array.from({ length: plan.connections }, loop))
  return { count }
}

async function add(plan: Traffic & { kind: 'add' }): Promise<Done> {
  const { port, path, body, from, to, connections, perSecond } = plan
  let next = from
  const head = `Host: 127.0.0.1:${port}\r\nAuthorization: token ${plan.token}\r\nContent-Length: ${body.length}`
  const loop = async (): Promise<void> => {
    const socket = await opened(port)
    while (next < to) {
      socket.write(`POST ${path}-${next} HTTP/1.1\r\n${head}\r\n\r\n${body}`)
      next += 1
      await created(socket)
      if (perSecond) await sleep((connections * 1000) / perSecond)
    }
    socket.destroy()
  }
  await Promise.all(Array.from({ length: connections }, loop))
  return { count: to - from }
}

/** Resolves once an empty answer has arrived, with a length or in chunks. */
async function created(socket: Socket): Promise<void> {
  let text = ''
  do {
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    text += chunk.toString('latin1')
  } while (!/\r\ncontent-length: 0\r\n[^]*\r\n\r\n$|\r\n\r\n0\r\n\r\n$/i.test(text))
  if (!text.startsWith('HTTP/1.1 201 ')) throw new Error(`the answer was ${JSON.stringify(text)}`)
}

/** Half requests, half handshakes that are never answered; half end orderly, half by reset. */
async function abort({ port, count }: Traffic & { kind: 'abort' }): Promise<Done> {
  for (let i = 0; i < count; i += 250) {
    const sockets = await Promise.all(Array.from({ length: 250 }, () => opened(port)))
    await Promise.all(
      sockets.map(async (socket, at) => {
        const asks = at % 2 === 0 ? '' : `${upgrade}\r\n`
        socket.write(`GET /silent HTTP/1.1\r\n${asks}${headers}\r\n\r\n`)
        await new Promise(setImmediate)
        const closed = once(socket, 'close')
        if (at % 4 < 2) socket.destroy()
        else socket.resetAndDestroy()
        await closed
      }),
    )
  }
  return { count }
}

/** An open WebSocket. What comes after the handshake is counted by `read`. */
async function shake(
  port: number,
  {
    path = '/ws',
    read,
  }: { readonly path?: string | undefined; readonly read?: (bytes: number) => void } = {},
): Promise<Socket> {
  let answered: (head: string) => void = () => {}
  const answer = new Promise<string>((resolve) => (answered = resolve))
  let isOpen = false
  const socket = await opened(port, (length, buffer) => {
    if (isOpen) return read?.(length)
    isOpen = true
    answered(Buffer.from(buffer.subarray(0, length)).toString('latin1'))
  })
  socket.write(`GET ${path} HTTP/1.1\r\n${upgrade}\r\n${headers}\r\n\r\n`)
  const head = await answer
  if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`no handshake: ${head}`)
  return socket
}

const readBuffer = Buffer.allocUnsafeSlow(64 * 1024)

/** With `read` there are no `data` events. */
async function opened(
  port: number,
  read?: (length: number, buffer: Uint8Array) => void,
): Promise<Socket> {
  const callback = (length: number, buffer: Uint8Array) => {
    read?.(length, buffer)
    return true
  }
  const onread = read && { onread: { buffer: readBuffer, callback } }
  const socket = connect({ port, host: '127.0.0.1', noDelay: true, ...onread })
  await once(socket, 'connect')
  socket.on('error', () => {})
  return socket
}
