import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { until } from '../support/until.ts'
import {
  type RawClient,
  type TestProxy,
  type TestTarget,
  exchange,
  get,
  handshake,
  rawClient,
  rawTarget,
  testProxy,
} from './support.ts'

const ok = 'HTTP/1.1 200 OK\r\n'
const switching =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

/** What a target has sent when it fails. */
const stages: Record<string, string> = {
  nothing: '',
  'half a status line': 'HTTP/1.1 2',
  'half a head': `${ok}Content-Le`,
  'an interim answer': 'HTTP/1.1 102 Processing\r\n\r\n',
  'a head with a length': `${ok}Content-Length: 9\r\n\r\n`,
  'half a body': `${ok}Content-Length: 9\r\n\r\npart`,
  'a head with chunks': `${ok}Transfer-Encoding: chunked\r\n\r\n`,
  'half a chunk': `${ok}Transfer-Encoding: chunked\r\n\r\n9\r\npart`,
  'half a size': `${ok}Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n1`,
  'half the trailers': `${ok}Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\nX-A: b\r\n`,
}

for (const fault of ['end', 'destroy', 'resetAndDestroy'] as const) {
  test(`a target that fails by ${fault} leaves nobody waiting, at every stage`, async () => {
    await using proxy = await testProxy()
    let sent = ''
    await using target = await rawTarget((socket) => {
      socket.once('data', () => {
        if (sent === '') socket[fault]()
        else socket.write(sent, () => setImmediate(() => socket[fault]()))
      })
    })
    await proxy.route('/', target.url)
    for (const [stage, bytes] of Object.entries(stages)) {
      sent = bytes
      for (const request of [
        get('/'),
        'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nsome',
        handshake('/ws'),
      ]) {
        using client = rawClient(proxy.port, request)
        const answer = await Promise.race([client.ended(), client.until(/ 503 [^]*\r\n\r\n/)])
        assert.doesNotMatch(answer, /\r\n0\r\n/, stage)
        await until('the target is left', () => target.sockets.size === 0)
      }
    }
  })
}

test('a target that ends its side but goes on reading is left with its answer', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => {
    socket.once('data', () => socket.end(`${ok}Content-Length: 2\r\n\r\nok`))
    socket.resume()
  })
  await proxy.route('/', target.url)
  assert.match(await exchange(proxy.port, get('/', 'Connection: close')), /\r\n\r\nok$/)
  await until('the target is left', () => target.sockets.size === 0)
})

test('either end of a WebSocket may finish speaking first', async () => {
  await using proxy = await testProxy()
  for (const side of ['client', 'target'] as const) {
    await using target = await rawTarget((socket) => {
      socket.once('data', () => socket.write(switching))
    })
    await proxy.route('/', target.url)
    using client = rawClient(proxy.port, handshake('/ws'))
    client.socket.allowHalfOpen = true
    await client.until(/101/)
    const socket = await until('the target is asked', () => [...target.sockets][0])
    socket.allowHalfOpen = true
    const [first, second] = side === 'client' ? [client.socket, socket] : [socket, client.socket]
    let received = ''
    first.on('data', (chunk: Buffer | string) => (received += chunk.toString()))
    let hasEnded = false
    second.on('end', () => (hasEnded = true))
    second.resume()
    first.end('the last word')
    await until('the end is told', () => hasEnded)
    second.end('but one')
    await until('the rest arrives', () => received.endsWith('but one'))
    await until('both are gone', () => client.socket.destroyed && socket.destroyed)
  }
})

test('a target that dribbles its answer holds up nobody else', async () => {
  await using proxy = await testProxy()
  await using slow = await rawTarget((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 '))
  })
  await using quick = await rawTarget((socket) => {
    socket.on('data', () => socket.write(`${ok}Content-Length: 2\r\n\r\nok`))
  })
  await proxy.route('/slow', slow.url)
  await proxy.route('/quick', quick.url)
  const waiting = Array.from({ length: 200 }, () => rawClient(proxy.port, get('/slow')))
  await until('all wait', () => slow.sockets.size === 200)
  for (let i = 0; i < 20; i += 1) assert.equal((await fetch(`${proxy.url}/quick`)).status, 200)
  for (const client of waiting) client.socket.destroy()
  await until('all are gone', () => slow.sockets.size === 0)
})

/** How a client gives up, each in another state of its exchange. */
const abandoned = [
  get('/silent'),
  get('/answering'),
  'POST /silent HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nsome',
  'POST /answering HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n',
  `${get('/silent')}${get('/silent')}`,
  handshake('/silent'),
  `${handshake('/silent')}early`,
  handshake('/open'),
  'GET /half HTTP/1.1\r\nHos',
] as const

async function abandon(proxy: TestProxy, target: TestTarget, clients: number): Promise<void> {
  const opened: RawClient[] = []
  for (let i = 0; i < clients; i += 1) {
    opened.push(rawClient(proxy.port, abandoned[i % abandoned.length]))
  }
  const asking = opened.filter((_, i) => i % abandoned.length < abandoned.length - 1).length
  await until('the target is asked', () => target.sockets.size >= asking, 30_000)
  for (const [i, { socket }] of opened.entries()) {
    if (i % 2 === 0) socket.destroy()
    else socket.resetAndDestroy()
  }
  await until('the target is left', () => target.sockets.size === 0, 30_000)
  await until('all are closed', () => opened.every(({ socket }) => socket.closed), 30_000)
}

test('thousands of abandoned requests and handshakes leave no socket and no memory', async () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  await using proxy = await testProxy()
  await using target = await rawTarget((socket: Socket) => {
    socket.once('data', (chunk: Buffer) => {
      const path = /^\S+ (\S+)/.exec(chunk.toString())?.[1]
      if (path === '/answering') socket.write(`${ok}Content-Length: 9\r\n\r\npart`)
      if (path === '/open') socket.write(switching)
    })
  })
  await proxy.route('/', target.url)
  const state = async () => {
    for (let i = 0; i < 3; i += 1) {
      collect()
      await new Promise(setImmediate)
    }
    return { sockets: descriptors(), heap: process.memoryUsage().heapUsed }
  }
  for (let round = 0; round < 3; round += 1) await abandon(proxy, target, 300)
  const before = await state()
  const growths: number[] = []
  for (let round = 0; round < 6; round += 1) {
    await abandon(proxy, target, 300)
    growths.push((await state()).heap / before.heap - 1)
  }
  await until('all descriptors are given back', () => descriptors() <= before.sockets)
  // What the engine keeps for itself comes and goes; a leak of ours would be there at each time.
  const growth = Math.min(...growths.slice(-4))
  assert.ok(growth < 0.05, `the heap grew by ${(growth * 100).toFixed(1)} %`)
})

function descriptors(): number {
  return readdirSync('/proc/self/fd').length
}
