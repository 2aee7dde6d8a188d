import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import https from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSecureContext } from 'node:tls'
import { PooledTargetClient } from '../../proxy/pooled-target-client.ts'
import { parseTarget } from '../../proxy/target.ts'
import type {
  TargetAnswer,
  TargetEvents,
  TargetFailure,
  TargetPool,
} from '../../proxy/target-client.ts'
import type { TargetTls } from '../../proxy/target-connection.ts'
import { testAuthority } from '../support/certificates.ts'
import { temporaryFolder } from '../support/folder.ts'
import { until } from '../support/until.ts'
import { echo, exchange, get, rawClient, rawTarget, testProxy } from './support.ts'

const ok = 'HTTP/1.1 200 OK\r\n'
const tooLong = 'x'.repeat(66 * 1024)

/** Answers that are none. The target sends them and waits: nobody must wait with it. */
const invalid: Record<string, string> = {
  'no HTTP at all': 'garbage\r\n\r\n',
  'no HTTP at all, without a line end': 'SSH-2.0-x',
  'HTTP/2.0': 'HTTP/2.0 200 OK\r\n\r\n',
  'HTTP/1.2': 'HTTP/1.2 200 OK\r\n\r\n',
  'HTTP/0.9': '<html>hello</html>',
  'a lower-case version': 'http/1.1 200 OK\r\n\r\n',
  'an empty line first': `\r\n${ok}\r\n`,
  'a status of two digits': 'HTTP/1.1 99 OK\r\n\r\n',
  'a status of four digits': 'HTTP/1.1 2000 OK\r\n\r\n',
  'two spaces before the status': 'HTTP/1.1  200 OK\r\n\r\n',
  'a tab before the status': 'HTTP/1.1\t200 OK\r\n\r\n',
  'a control character in the reason': 'HTTP/1.1 200 O\x01K\r\n\r\n',
  'a bare line feed behind the status line': 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n',
  'bare line feeds only': 'HTTP/1.1 200 OK\nContent-Length: 0\n\n',
  'a bare line feed in a value': `${ok}X-A: b\nX-B: c\r\nContent-Length: 0\r\n\r\n`,
  'a bare carriage return in a value': `${ok}X-A: b\rX-B: c\r\nContent-Length: 0\r\n\r\n`,
  'a folded line': `${ok}X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n`,
  'a space before a colon': `${ok}Content-Length : 0\r\n\r\n`,
  'a space in a name': `${ok}Content Length: 0\r\n\r\n`,
  'an empty name': `${ok}: x\r\nContent-Length: 0\r\n\r\n`,
  'a line without a colon': `${ok}X-A\r\nContent-Length: 0\r\n\r\n`,
  'a NUL in a value': `${ok}X-A: b\0\r\nContent-Length: 0\r\n\r\n`,
  'a byte above ASCII in a name': `${ok}X-\xe9: b\r\nContent-Length: 0\r\n\r\n`,
  'two lengths that differ': `${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
  'two lengths that agree': `${ok}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab`,
  'a list of lengths': `${ok}Content-Length: 2, 2\r\n\r\nab`,
  'a signed length': `${ok}Content-Length: +2\r\n\r\nab`,
  'a negative length': `${ok}Content-Length: -2\r\n\r\nab`,
  'a hexadecimal length': `${ok}Content-Length: 0x2\r\n\r\nab`,
  'an empty length': `${ok}Content-Length:\r\n\r\nab`,
  'a length that no number holds': `${ok}Content-Length: 99999999999999999\r\n\r\nab`,
  'a length and chunks': `${ok}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an unknown coding': `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  'chunks twice': `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an odd coding': `${ok}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  'chunks in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  'an unasked change of protocol':
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'a head that is too long': `${ok}X-A: ${tooLong}\r\n\r\n`,
  'a head without end': `${ok}X-A: ${tooLong}`,
  'interim answers without end': 'HTTP/1.1 102 Processing\r\n\r\n'.repeat(50),
}

test('what is no answer of HTTP/1.1 becomes 502 at once', async () => {
  await using proxy = await testProxy()
  let bytes = ''
  await using target = await rawTarget((socket) => {
    socket.once('data', () => socket.write(bytes, 'latin1'))
  })
  await proxy.route('/', target.url)
  for (const [what, answer] of Object.entries(invalid)) {
    bytes = answer
    using client = rawClient(proxy.port, get('/'))
    assert.match(await client.until(/\r\n\r\n/), /^HTTP\/1.1 502 /, what)
    await until('the target is left', () => target.sockets.size === 0)
  }
})

/** Bodies that go wrong after a valid head. */
const brokenBodies: Record<string, string> = {
  'a chunk without a size': '\r\nabc\r\n0\r\n\r\n',
  'a size that is no number': 'x\r\nabc\r\n0\r\n\r\n',
  'a signed size': '+3\r\nabc\r\n0\r\n\r\n',
  'a prefixed size': '0x3\r\nabc\r\n0\r\n\r\n',
  'a space behind a size': '3 \r\nabc\r\n0\r\n\r\n',
  'a size that no number holds': '10000000000000\r\nabc\r\n0\r\n\r\n',
  'a bare line feed behind a size': '3\nabc\r\n0\r\n\r\n',
  'a bare line feed in an extension': '3;a\nabc\r\n0\r\n\r\n',
  'an open quote in an extension': '3;a="b\r\nabc\r\n0\r\n\r\n',
  'an extension without end': `3;${'x'.repeat(5_000)}`,
  'a chunk that is too long': '3\r\nabcd\r\n0\r\n\r\n',
  'a bare line feed behind a chunk': '3\r\nabc\n0\r\n\r\n',
  'a malformed trailer': '3\r\nabc\r\n0\r\nX Y: z\r\n\r\n',
  'a bare line feed in the trailers': '3\r\nabc\r\n0\r\nX: z\n\r\n',
  'trailers without end': `3\r\nabc\r\n0\r\nX: ${'x'.repeat(20_000)}`,
}

test('a body that breaks its own framing ends the connection of the client', async () => {
  await using proxy = await testProxy()
  let bytes = ''
  await using target = await rawTarget((socket) => {
    socket.once('data', () => {
      socket.write(`${ok}Transfer-Encoding: chunked\r\n\r\n`)
      setImmediate(() => socket.write(bytes, 'latin1'))
    })
  })
  await proxy.route('/', target.url)
  for (const [what, body] of Object.entries(brokenBodies)) {
    bytes = body
    assert.doesNotMatch(await exchange(proxy.port, get('/')), /\r\n0\r\n/, what)
    await until('the target is left', () => target.sockets.size === 0)
  }
})

test('an answer reads the same however its bytes are cut', async () => {
  await using proxy = await testProxy()
  const answers = [
    `${ok}Content-Length: 11\r\nX-A:  b \r\n\r\nhello world`,
    `HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n${ok}Transfer-Encoding: chunked\r\n\r\n5;ext="x"\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n`,
    'HTTP/1.0 200\r\n\r\nhello world',
  ]
  let bytes = Buffer.alloc(0)
  let size = 1
  await using target = await rawTarget((socket) => {
    socket.setNoDelay(true)
    socket.once('data', () => dribble(socket, bytes, size))
  })
  await proxy.route('/', target.url)
  for (const answer of answers) {
    bytes = Buffer.from(answer, 'latin1')
    for (size of [1, 2, 3, 7, 64, 1000]) {
      const response = await fetch(`${proxy.url}/`)
      assert.equal(response.status, 200)
      assert.equal(await response.text(), 'hello world', `${answer} in pieces of ${size}`)
    }
  }
})

function dribble(socket: Socket, bytes: Buffer, size: number): void {
  if (bytes.length === 0) return void socket.end()
  socket.write(bytes.subarray(0, size))
  setImmediate(() => dribble(socket, bytes.subarray(size), size))
}

test('a head that comes byte by byte costs no more than its length', async () => {
  const client = new PooledTargetClient({ connect: 5_000, idle: 0, upgrade: 5_000 })
  const bytes = Buffer.from(`${ok}X-A: ${'x'.repeat(60_000)}\r\nContent-Length: 0\r\n\r\n`)
  await using target = await rawTarget((socket) => {
    socket.setNoDelay(true)
    socket.once('data', () => {
      for (let i = 0; i < bytes.length; i += 1) socket.write(bytes.subarray(i, i + 1))
    })
  })
  const before = process.cpuUsage()
  assert.equal((await ask(client, target.url)).status, 200)
  const { user } = process.cpuUsage(before)
  assert.ok(user < 5_000_000, `${user} us`)
})

test('a connection is used again only when the target lets it and its answer was clean', async () => {
  await using proxy = await testProxy()
  const body = 'Content-Length: 2\r\n\r\nok'
  const cases: Record<string, readonly [answer: string, connections: number]> = {
    'kept by default': [`${ok}${body}`, 1],
    chunks: [`${ok}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`, 1],
    'Connection: close': [`${ok}Connection: x, Close\r\n${body}`, 2],
    'HTTP/1.0': [`HTTP/1.0 200 OK\r\n${body}`, 2],
    'a hint of one second': [`${ok}Keep-Alive: max=9, timeout=1\r\n${body}`, 2],
    'a hint of a minute': [`${ok}Keep-Alive: timeout=60\r\n${body}`, 1],
    'bytes behind the end': [`${ok}${body}!`, 2],
    'a second answer': [`${ok}${body}${ok}${body}`, 2],
  }
  for (const [what, [answer, connections]] of Object.entries(cases)) {
    let count = 0
    await using target = await rawTarget((socket) => {
      count += 1
      socket.on('data', () => socket.write(answer))
    })
    await proxy.route('/', target.url)
    for (let i = 0; i < 2; i += 1) {
      const response = await fetch(`${proxy.url}/`)
      assert.equal(await response.text(), 'ok', what)
    }
    assert.equal(count, connections, what)
  }
})

test('connections are not shared between routes, even to the same target', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => {
    socket.on('data', () => socket.write(`${ok}Content-Length: 0\r\n\r\n`))
  })
  await proxy.route('/a', target.url)
  await proxy.route('/b', target.url)
  for (const path of ['/a', '/b', '/a', '/b']) await fetch(proxy.url + path)
  assert.equal(target.sockets.size, 2)
  await proxy.api('DELETE', '/api/routes/a')
  await until('that of the route is gone', () => target.sockets.size === 1)
})

test('an answer without a length that is reset is not taken for whole by an old client', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => {
    socket.once('data', () => {
      socket.write(`${ok}Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n`)
    })
  })
  await proxy.route('/', target.url)
  using client = rawClient(proxy.port, 'GET / HTTP/1.0\r\nHost: x\r\n\r\n')
  await client.until(/part/)
  for (const socket of target.sockets) socket.resetAndDestroy()
  const errors: string[] = []
  client.socket.on('error', (error: NodeJS.ErrnoException) => errors.push(error.code ?? ''))
  await client.ended()
  assert.deepEqual(errors, ['ECONNRESET'])
})

test('https targets are asked for the name of their own URL, and refused without trust', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'target-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const options = ['req', ...kind, ...subject, '-keyout', key, '-out', cert, '-days', '2']
  execFileSync('openssl', options, { stdio: 'ignore' })
  const pem = readFileSync(cert)
  const server = https.createServer({ key: readFileSync(key), cert: pem }, echo)
  await new Promise<void>((resolve) => server.listen(0, resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const trusting = { secureContext: createSecureContext({ ca: pem }) }
  const cases: [string, TargetTls, number | null][] = [
    ['localhost', trusting, 200],
    ['127.0.0.1', trusting, null],
    ['localhost', {}, null],
    ['127.0.0.1', { rejectUnauthorized: false }, 200],
  ]
  for (const [host, tls, status] of cases) {
    const client = new PooledTargetClient({ connect: 5_000, idle: 0, upgrade: 5_000 }, () => tls)
    const asked = ask(client, `https://${host}:${port}`)
    if (status === null) await assert.rejects(asked, /certificate/)
    else assert.equal((await asked).status, status)
  }
})

test('a second connection to a secure target resumes the session of the first, until certificates change', async (t) => {
  const folder = temporaryFolder(t)
  const authority = testAuthority(folder)
  const { key, cert } = authority.issue('target')
  const options = { key: readFileSync(key), cert: readFileSync(cert) }
  const reused: boolean[] = []
  const server = https.createServer(options, (_request, response) => {
    response.setHeader('connection', 'close').end('here')
  })
  server.on('secureConnection', (socket) => void reused.push(socket.isSessionReused()))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  const contextFor = (ca: string) => ({
    secureContext: createSecureContext({ ca: readFileSync(ca) }),
  })
  let tls = contextFor(authority.ca)
  const client = new PooledTargetClient({ connect: 5_000, idle: 0, upgrade: 5_000 }, () => tls)
  const target = parseTarget(`https://127.0.0.1:${port}`)
  assert.ok(target)
  const pool = client.pool(target)
  t.after(() => pool.close())
  for (let i = 0; i < 3; i += 1) assert.equal((await askPool(pool)).status, 200)
  assert.deepEqual(reused, [false, true, true])
  tls = contextFor(authority.ca)
  assert.equal((await askPool(pool)).status, 200)
  assert.deepEqual(reused, [false, true, true, false])
  tls = contextFor(testAuthority(folder, 'other').ca)
  await assert.rejects(askPool(pool), /certificate/)
})

/** One GET without a proxy around it. Its pool is closed at the end. */
async function ask(client: PooledTargetClient, url: string): Promise<TargetAnswer> {
  const target = parseTarget(url)
  if (!target) throw new Error(url)
  const pool = client.pool(target)
  const answer = await askPool(pool)
  pool.close()
  return answer
}

function askPool(pool: TargetPool): Promise<TargetAnswer> {
  return new Promise((resolve, reject) => {
    let answer: TargetAnswer | null = null
    const events: TargetEvents = {
      informed() {},
      answered: (head) => void (answer = head),
      data() {},
      flush() {},
      ended() {
        if (answer) resolve(answer)
      },
      broken: () => reject(new Error('broken off')),
      drained() {},
      upgraded() {},
      failed: ({ error }: TargetFailure) => reject(error),
    }
    const headers = ['Host', 'another.test']
    pool.send({ method: 'GET', path: '/', headers, body: 'none', isUpgrade: false }, events)
  })
}
