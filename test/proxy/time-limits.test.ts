import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type Socket, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { readFlags } from '../../proxy/flags.ts'
import { testAuthority } from '../support/certificates.ts'
import { temporaryFolder } from '../support/folder.ts'
import { until } from '../support/until.ts'
import { ask } from './ask.ts'
import { get, handshake, httpTarget, rawClient, rawTarget, testProxy } from './support.ts'

const switching =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

test('the limits that are in force without any flag are those of the help', () => {
  const invocation = readFlags([], { CONFIGPROXY_AUTH_TOKEN: 'x' })
  assert.equal(invocation.kind, 'run')
  const { settings } = invocation as typeof invocation & { kind: 'run' }
  const { timeout, proxyTimeout, keepAliveTimeout, headerTimeout, uploadTimeout } = settings
  assert.deepEqual(
    [timeout, proxyTimeout, keepAliveTimeout, headerTimeout, uploadTimeout],
    [0, 0, 5_000, 20_000, 120_000],
  )
  assert.equal(settings.webSocketTimeout, 0)
})

/** Sends a byte of a head from time to time, for as long as it may. */
function dribble(port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1' })
  const bytes = Buffer.from(`GET / HTTP/1.1\r\nHost: hub.test\r\nX: ${'x'.repeat(5_000)}`)
  let sent = 0
  const timer = setInterval(() => void socket.write(bytes.subarray(sent, (sent += 1))), 100)
  socket.on('error', () => {})
  socket.on('close', () => clearInterval(timer))
  socket.resume()
  return socket
}

test('five hundred clients that dribble their heads hold up nobody, and are cut off in time', async () => {
  await using target = await httpTarget((_request, response) => void response.end('here'))
  await using proxy = await testProxy({ headerTimeout: 4_000 })
  await proxy.route('/', target.url)
  const slow = Array.from({ length: 480 }, () => dribble(proxy.port))
  const silent = Array.from({ length: 20 }, () => connect({ port: proxy.port, host: '127.0.0.1' }))
  for (const socket of silent) socket.on('error', () => {}).resume()
  const all = [...slow, ...silent]
  await Promise.all(all.map((socket) => once(socket, 'connect')))
  const took: number[] = []
  while (took.length < 20 || all.every((socket) => !socket.closed)) {
    const began = performance.now()
    assert.equal((await ask(`${proxy.url}/`)).text, 'here')
    took.push(performance.now() - began)
    if (took.length === 20) assert.ok(all.every((socket) => !socket.closed))
  }
  const median = took.toSorted((a, b) => a - b)[Math.floor(took.length / 2)] ?? Infinity
  assert.ok(median < 200, `${median} ms`)
  await until('all are cut off', () => all.every((socket) => socket.closed), 30_000)
  assert.equal((await ask(`${proxy.url}/`)).text, 'here')
})

test('a client that begins no TLS is cut off as well', async (t) => {
  const authority = testAuthority(temporaryFolder(t))
  const tls = { ca: null, ciphers: null, protocol: null, dhparam: null, passphrase: null }
  const publicTls = { ...tls, ...authority.issue('public'), requestCert: false }
  await using proxy = await testProxy({ headerTimeout: 200, publicTls })
  using silent = rawClient(proxy.port)
  using slow = rawClient(proxy.port, '\x16\x03\x01\x02\x00')
  assert.deepEqual([await silent.ended(), await slow.ended()], ['', ''])
})

test('an upload that is silent is given up on both sides; one that moves may take for ever', async () => {
  const uploadTimeout = 700
  await using proxy = await testProxy({ uploadTimeout })
  let received = 0
  await using target = await rawTarget((socket) => {
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
      if (received > 500 && chunk.includes('end'))
        socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
  })
  await proxy.route('/', target.url)
  const head = 'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
  using silent = rawClient(proxy.port, `${head}4\r\nsome\r\n`)
  await until('the target is asked', () => target.sockets.size === 1)
  assert.equal(await silent.ended(), '')
  await until('the target is left', () => target.sockets.size === 0)
  received = 0
  using moving = rawClient(proxy.port, head)
  const began = performance.now()
  while (performance.now() - began < 2 * uploadTimeout) {
    const before = received
    moving.socket.write('4\r\nsome\r\n')
    await until('it arrives', () => received > before)
  }
  moving.socket.write('3\r\nend\r\n0\r\n\r\n')
  assert.match(await moving.until(/\r\n\r\n/), /^HTTP\/1.1 200 /)
})

test('a WebSocket may be silent for ever, or for as long as it is told, both ways', async () => {
  await using target = await rawTarget((socket) => {
    socket.once('data', (head: Buffer) => {
      socket.write(switching)
      if (!head.includes('/ticks')) return
      const timer = setInterval(() => socket.write('tick'), 50)
      socket.once('close', () => clearInterval(timer))
    })
  })
  await using patient = await testProxy()
  await patient.route('/', target.url)
  using forever = rawClient(patient.port, handshake('/silent'))
  await forever.until(/101/)
  await using proxy = await testProxy({ webSocketTimeout: 600 })
  await proxy.route('/', target.url)
  using ticks = rawClient(proxy.port, handshake('/ticks'))
  await ticks.until(/101/)
  using silent = rawClient(proxy.port, handshake('/silent'))
  assert.match(await silent.ended(), /^HTTP\/1.1 101 /)
  await until('its target is left', () => target.sockets.size === 2)
  assert.ok(!ticks.socket.destroyed && !forever.socket.destroyed)
})

test('a target that refuses costs its askers nothing but an answer, and is there as soon as it is back', async () => {
  await using pages = await httpTarget((_request, response) => void response.end('page'))
  await using proxy = await testProxy({ errorTarget: pages.url })
  let asked = 0
  let atOnce = 0
  pages.server.on('request', (_request, response) => {
    asked += 1
    atOnce = Math.max(atOnce, asked)
    response.once('close', () => (asked -= 1))
  })
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  await proxy.route('/dead', `http://127.0.0.1:${port}`)
  const scripts = { 'sec-fetch-dest': 'empty', accept: '*/*' }
  for (let i = 0; i < 4; i += 1) {
    const people = Array.from({ length: 50 }, () => ask(`${proxy.url}/dead/x`))
    const tabs = Array.from({ length: 50 }, () => ask(`${proxy.url}/dead/x`, { headers: scripts }))
    const sockets = Array.from({ length: 50 }, () => rawClient(proxy.port, handshake('/dead/ws')))
    for (const { status } of await Promise.all([...people, ...tabs])) assert.equal(status, 503)
    for (const { text } of await Promise.all(tabs)) assert.match(text, /^\{"status":503/)
    for (const socket of sockets) assert.match(await socket.ended(), /^HTTP\/1.1 503 /)
  }
  assert.ok(atOnce > 0 && atOnce <= 16, `${atOnce} at once`)
  const back = createServer((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback'))
  }).listen(port, '127.0.0.1')
  await once(back, 'listening')
  using client = rawClient(proxy.port, get('/dead/x', 'Connection: close'))
  assert.match(await client.ended(), /\r\n\r\nback$/)
  await new Promise((resolve) => back.close(resolve))
})
