import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../support/until.ts'
import {
  echo,
  echoed,
  exchange,
  get,
  httpTarget,
  rawClient,
  rawTarget,
  testProxy,
} from './support.ts'

test('forwards method, path, query and body as they are', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/', target.url)
  const path = '/a%20b/%41//c%2Fd/x?q=%20&&r=/../'
  const put = await echoed(fetch(proxy.url + path, { method: 'PUT', body: 'hello' }))
  assert.equal(put.method, 'PUT')
  assert.equal(put.url, path)
  assert.equal(put.body, 'hello')
  const answer = await exchange(proxy.port, get('/x?', 'Connection: close'))
  assert.match(answer, /"url":"\/x\?"/)
})

test("prepends the target's own path and query", async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/bar', `${target.url}/foo?t=1`)
  const { url } = await echoed(fetch(`${proxy.url}/bar/rest?a=1`))
  assert.equal(url, '/foo/bar/rest?t=1&a=1')
})

test('reaches targets on unix sockets', async (t) => {
  await using proxy = await testProxy()
  const folder = await mkdtemp(join(tmpdir(), 'target-'))
  t.after(() => rm(folder, { recursive: true }))
  const path = join(folder, 'target sock')
  const server = http.createServer(echo).listen(path)
  t.after(() => server.close())
  await once(server, 'listening')
  await proxy.route('/', `http+unix://${encodeURIComponent(path)}/prefix`)
  const { url } = await echoed(fetch(`${proxy.url}/x?y`))
  assert.equal(url, '/prefix/x?y')
})

test('the head of an answer arrives before its body, and chunks as they come', async () => {
  await using proxy = await testProxy()
  let more: ((text: string) => void) | undefined
  await using target = await httpTarget((_request, response) => {
    response.flushHeaders()
    more = (text) => void response.write(text)
  })
  await proxy.route('/', target.url)
  using client = rawClient(proxy.port, get('/events'))
  await client.until(/\r\n\r\n/)
  for (const text of ['one', 'two']) {
    more?.(text)
    await client.until(new RegExp(text))
  }
})

test('a slow reader slows the target down', async () => {
  await using proxy = await testProxy()
  let written = 0
  await using target = await httpTarget((_request, response) => {
    const chunk = Buffer.alloc(64 * 1024)
    const fill = () => {
      while (written < 512 * 1024 * 1024) {
        written += chunk.length
        if (!response.write(chunk)) return void response.once('drain', fill)
      }
    }
    fill()
  })
  await proxy.route('/', target.url)
  using client = rawClient(proxy.port, get('/big'))
  await client.until(/200 OK/)
  client.socket.pause()
  let before = -1
  await until('the target stops', () => {
    const isStill = before === written
    before = written
    return isStill
  })
  assert.ok(written < 64 * 1024 * 1024, `${written} bytes were taken`)
})

test('a slow target slows the upload down, and a long one is not cut', async () => {
  await using proxy = await testProxy()
  let request: http.IncomingMessage | undefined
  await using target = await httpTarget((incoming, response) => {
    request = incoming
    incoming.on('end', () => response.end('done'))
  })
  await proxy.route('/', target.url)
  const upload = http.request(`${proxy.url}/up`, { method: 'PUT' })
  const size = 64 * 1024 * 1024
  upload.write(Buffer.alloc(size))
  await until('the upload begins', () => request)
  let before = -1
  const socket = await until('a socket', () => upload.socket)
  await until('the upload stops', () => {
    const isStill = before === socket.bytesWritten
    before = socket.bytesWritten
    return isStill && before > 0
  })
  let received = 0
  request?.on('data', (chunk: Buffer) => (received += chunk.length))
  upload.end()
  const [answer] = (await once(upload, 'response')) as [http.IncomingMessage]
  assert.equal(answer.statusCode, 200)
  assert.equal(received, size)
  answer.resume()
})

test('a target that dies within its answer ends the connection of the client', async () => {
  await using proxy = await testProxy()
  for (const head of ['Content-Length: 100', 'Transfer-Encoding: chunked']) {
    await using target = await rawTarget((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n4\r\npart\r\n`)
        setImmediate(() => socket.resetAndDestroy())
      })
    })
    await proxy.route('/', target.url)
    using client = rawClient(proxy.port, get('/dies'))
    const answer = await client.ended()
    assert.doesNotMatch(answer, /\r\n0\r\n/)
  }
})

test('a client that goes away ends the request at its target, at every stage', async () => {
  await using proxy = await testProxy()
  const stages = ['silent', 'answering', 'receiving'] as const
  for (const stage of stages) {
    await using target = await httpTarget((request, response) => {
      if (stage === 'answering') response.write('some')
      request.resume()
    })
    await proxy.route('/', target.url)
    const body = 'POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nsome'
    using client = rawClient(proxy.port, stage === 'receiving' ? body : get('/'))
    const socket = await until('the target is asked', () => [...target.sockets][0])
    if (stage === 'answering') await client.until(/some/)
    client.socket.destroy()
    await until(`the target is left while ${stage}`, () => socket.destroyed)
  }
})

test('keeps connections to targets, and drops them with the route', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/x', target.url)
  for (let i = 0; i < 3; i += 1) await echoed(fetch(`${proxy.url}/x`))
  assert.equal(target.sockets.size, 1)
  await proxy.api('DELETE', '/api/routes/x')
  await until('it is dropped', () => target.sockets.size === 0)
})

test('asks once more when a kept connection turns out to be dead, but never posts twice', async () => {
  await using proxy = await testProxy()
  let requests = 0
  await using target = await rawTarget((socket) => {
    let isFirst = true
    socket.on('data', () => {
      requests += 1
      if (!isFirst) return void socket.resetAndDestroy()
      isFirst = false
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
    })
  })
  await proxy.route('/', target.url)
  const ask = async (method: string) => (await fetch(`${proxy.url}/`, { method })).status
  assert.equal(await ask('GET'), 200)
  assert.equal(await ask('GET'), 200)
  assert.equal(requests, 3)
  assert.equal(await ask('POST'), 503)
  assert.equal(requests, 4)
})

test('an answer that comes before the end of the upload reaches the client', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => {
    socket.once('data', () => {
      socket.end('HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!')
    })
  })
  await proxy.route('/', target.url)
  const head = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n'
  using client = rawClient(proxy.port, head)
  assert.match(await client.until(/no!/), /^HTTP\/1.1 413 Too Large/)
})

test('answers without a body stay without one', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget((request, response) => {
    const status = Number(request.url?.slice(1))
    response.writeHead(status, { etag: '"x"', ...(status === 200 && { 'content-length': 42 }) })
    response.end()
  })
  await proxy.route('/', target.url)
  const ask = (head: string) =>
    exchange(proxy.port, `${head}\r\nHost: x\r\nConnection: close\r\n\r\n`)
  assert.match(await ask('HEAD /200 HTTP/1.1'), /content-length: 42/i)
  for (const status of ['204', '304']) {
    const answer = await ask(`GET /${status} HTTP/1.1`)
    assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `))
    assert.match(answer, /\r\n\r\n$/)
    assert.doesNotMatch(answer, /transfer-encoding|content-length/i)
  }
})

test('answers Expect, passes trailers both ways and early hints on', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget((request, response) => {
    response.writeEarlyHints({ link: '</a.css>; rel=preload' })
    request.resume().once('end', () => {
      response.write('body')
      response.addTrailers({ 'X-Sum': request.trailers['x-check'] ?? 'none', 'Set-Cookie': 'a=b' })
      response.end()
    })
  })
  const sections: string[][] = []
  target.server.on('request', (request) => {
    request.once('end', () => sections.push(request.rawTrailers))
  })
  await proxy.route('/', target.url)
  const head =
    'POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n'
  using client = rawClient(proxy.port, head)
  await client.until(/^HTTP\/1.1 100 Continue\r\n\r\n/)
  client.socket.write('3\r\nabc\r\n0\r\nX-Check: 7\r\nCookie: a\r\nX-Forwarded-For: b\r\n\r\n')
  const answer = await client.until(/\r\n0\r\n[^]*\r\n\r\n$/)
  assert.match(answer, /HTTP\/1.1 103 Early Hints\r\nLink: <\/a.css>; rel=preload/i)
  assert.match(answer, /\r\n0\r\nX-Sum: 7\r\n\r\n$/i)
  assert.deepEqual(sections, [['X-Check', '7']])
})

test('an HTTP/1.0 client without Host is served until the connection closes', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/', target.url)
  const answer = await exchange(proxy.port, 'GET /old HTTP/1.0\r\n\r\n')
  assert.match(answer, /"url":"\/old"/)
  assert.match(answer, new RegExp(`"host":"127.0.0.1:${target.port}"`))
  assert.doesNotMatch(answer, /transfer-encoding: chunked/i)
})

test('an unknown protocol in Upgrade is ignored', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/', target.url)
  const head = 'Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AA'
  const post = `POST /p HTTP/1.1\r\nHost: x\r\n${head}\r\nContent-Length: 3\r\n\r\nabc`
  const answer = await exchange(proxy.port, post)
  assert.match(answer, /^HTTP\/1.1 200 OK/)
  assert.match(answer, /"body":"abc"/)
  assert.doesNotMatch(answer, /h2c/)
})

test('a silent target is given up after --proxy-timeout', async () => {
  await using proxy = await testProxy({ proxyTimeout: 100 })
  await using target = await rawTarget((socket) => void socket.resume())
  await proxy.route('/', target.url)
  assert.equal((await fetch(`${proxy.url}/`)).status, 503)
  await until('nothing is left', () => target.sockets.size === 0)
})

test('an answer that is not HTTP/1.1 becomes 502', async () => {
  await using proxy = await testProxy()
  const answers = [
    'garbage\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
  ]
  for (const answer of answers) {
    await using target = await rawTarget(
      (socket) => void socket.once('data', () => socket.end(answer)),
    )
    await proxy.route('/', target.url)
    assert.equal((await fetch(`${proxy.url}/`)).status, 502, answer)
  }
})

test('last activity follows successful answers and uploads, not errors', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget((request, response) => {
    request.resume()
    if (request.url === '/hang') return
    response.writeHead(Number(request.url?.slice(1))).end()
  })
  await proxy.route('/', target.url)
  const activity = async () => {
    const table = (await (await proxy.api('GET', '/api/routes')).json()) as Record<
      string,
      { last_activity: string }
    >
    return table['/']?.last_activity ?? ''
  }
  const first = await activity()
  assert.match(first, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  for (const status of ['302', '404', '500']) {
    await fetch(`${proxy.url}/${status}`, { redirect: 'manual' })
  }
  assert.equal(await activity(), first)
  await fetch(`${proxy.url}/200`)
  const second = await activity()
  assert.ok(second > first)
  using _client = rawClient(
    proxy.port,
    'POST /hang HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx',
  )
  await until('the upload counts', async () => (await activity()) > second)
})
