import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../support/until.ts'
import { exchange, get, handshake, rawClient, rawTarget, testProxy } from './support.ts'

const host = 'Host: hub.test\r\n'

const refused: Record<string, string> = {
  'two Host headers': `GET / HTTP/1.1\r\n${host}Host: evil.test\r\n\r\n`,
  'the same Host twice': `GET / HTTP/1.1\r\n${host}${host}\r\n`,
  'no Host': 'GET / HTTP/1.1\r\n\r\n',
  'a Host with a path': 'GET / HTTP/1.1\r\nHost: hub.test/x\r\n\r\n',
  'a Host with an account': 'GET / HTTP/1.1\r\nHost: a@hub.test\r\n\r\n',
  'absolute-form to another host': `GET http://evil.test/ HTTP/1.1\r\n${host}\r\n`,
  'absolute-form with an account': `GET http://x@hub.test/ HTTP/1.1\r\n${host}\r\n`,
  'two slashes': get('//evil.test/user/ada'),
  'dot segments': get('/user/ada/../bob'),
  'encoded dot segments': get('/user/ada/%2e%2E/bob'),
  'an encoded slash in the prefix': get('/user%2fada'),
  'a backslash in the prefix': get('/user\\ada'),
  'a fragment': get('/user/ada#x'),
  'a tab in the path': get('/user\tada'),
  'a raw byte in the path': get('/user/\xe9'),
  'length and chunks': `POST / HTTP/1.1\r\n${host}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'two lengths': `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`,
  'a list of lengths': `POST / HTTP/1.1\r\n${host}Content-Length: 1, 1\r\n\r\na`,
  'a signed length': `POST / HTTP/1.1\r\n${host}Content-Length: +1\r\n\r\na`,
  'a length that not every reader can hold': `POST / HTTP/1.1\r\n${host}Content-Length: 9007199254740993\r\n\r\na`,
  'two codings': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'an unknown coding': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`,
  'an odd coding': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
  'chunks in HTTP/1.0': `POST / HTTP/1.0\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'a bare line feed': `GET / HTTP/1.1\n${host}\n`,
  'a folded header': `GET / HTTP/1.1\r\n${host}X-A: b\r\n c\r\n\r\n`,
  'a space before the colon': `GET / HTTP/1.1\r\n${host}X-A : b\r\n\r\n`,
  'a NUL in a header': `GET / HTTP/1.1\r\n${host}X-A: b\0c\r\n\r\n`,
  'a bad chunk size': `POST / HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n`,
  'HTTP/2.0': `GET / HTTP/2.0\r\n${host}\r\n`,
  'HTTP/0.9': 'GET /\r\n\r\n',
  TRACE: `TRACE / HTTP/1.1\r\n${host}\r\n`,
  CONNECT: `CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443\r\n\r\n`,
  'a handshake with two Host headers': handshake('/', 'Host: evil.test'),
  'too many headers': get('/', ...Array.from({ length: 2_001 }, () => 'a:')),
}

test('what two parsers could read differently is refused, and reaches no target', async () => {
  await using proxy = await testProxy()
  let seen = ''
  await using target = await rawTarget((socket) => {
    socket.on('data', (chunk: Buffer) => (seen += chunk.toString('latin1')))
    socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
  })
  await proxy.route('/', target.url)
  await proxy.route('/user/ada', target.url)
  for (const [what, bytes] of Object.entries(refused)) {
    using client = rawClient(proxy.port, bytes)
    const answer = await client.until(/\r\n\r\n/)
    assert.match(answer, /^HTTP\/1.1 (?:400|405|431) /, what)
    if (what !== 'a bad chunk size') assert.equal(seen, '', what)
    seen = ''
  }
})

test('absolute-form to the same host is taken for its path', async () => {
  await using proxy = await testProxy()
  let seen = ''
  await using target = await rawTarget((socket) => {
    socket.on('data', (chunk: Buffer) => (seen += chunk.toString('latin1')))
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
  })
  await proxy.route('/user', target.url)
  const head = `GET http://HUB.test/user/x?y HTTP/1.1\r\n${host}Connection: close\r\n\r\n`
  assert.match(await exchange(proxy.port, head), /^HTTP\/1.1 200 /)
  assert.match(seen, /^GET \/user\/x\?y HTTP\/1.1\r\n/)
})

for (const method of ['GET', 'DELETE', 'OPTIONS', 'HEAD', 'POST', 'PROPFIND']) {
  test(`a chunked ${method} is one request on the wire`, async () => {
    await using proxy = await testProxy()
    const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'
    let seen = ''
    await using target = await rawTarget((socket) => {
      socket.on('data', (chunk: Buffer) => {
        seen += chunk.toString('latin1')
        if (seen.endsWith('0\r\n\r\n')) {
          socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
        }
      })
    })
    await proxy.route('/', target.url)
    const size = smuggled.length.toString(16)
    using client = rawClient(
      proxy.port,
      `${method} /one HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n${size}\r\n${smuggled}\r\n0\r\n\r\n`,
    )
    await client.until(/200 OK/)
    await until('the body arrives', () => seen.includes('/smuggled'))
    const [head = '', ...rest] = seen.split('\r\n\r\n')
    assert.match(head, /transfer-encoding: chunked/i)
    assert.doesNotMatch(head, /content-length/i)
    assert.ok(rest.join('\r\n\r\n').startsWith(`${size}\r\n${smuggled}`))
  })
}

test('Connection cannot take the framing away, and a length has one spelling', async () => {
  await using proxy = await testProxy()
  let seen = ''
  await using target = await rawTarget((socket) => {
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.toString('latin1')
      if (seen.endsWith('abc')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
    })
  })
  await proxy.route('/', target.url)
  const head = `POST / HTTP/1.1\r\n${host}Connection: content-length, close\r\nContent-Length: 003\r\n\r\nabc`
  assert.match(await exchange(proxy.port, head), /200 OK/)
  assert.match(seen, /content-length: 3\r\n/i)
})

test('bytes that a target sends unasked are no answer to the next request', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => {
    socket.on('data', (chunk: Buffer) => {
      const path = /^GET (\S+)/.exec(chunk.toString())?.[1] ?? ''
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`)
      if (path === '/first') {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npoisoned')
      }
    })
  })
  await proxy.route('/', target.url)
  assert.equal(await (await fetch(`${proxy.url}/first`)).text(), '/first')
  assert.equal(await (await fetch(`${proxy.url}/second`)).text(), '/second')
})
