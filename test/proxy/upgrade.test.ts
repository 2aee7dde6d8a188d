import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import { until } from '../support/until.ts'
import { get, handshake, httpTarget, rawClient, rawTarget, testProxy } from './support.ts'

const switching =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n'

async function echoServer(t: TestContext) {
  const target = await httpTarget()
  const server = new WebSocketServer({ server: target.server })
  server.on('connection', (socket) => {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }))
  })
  t.after(() => target[Symbol.asyncDispose]())
  return { target, server }
}

test('messages pass both ways, large and many, and both sides close together', async (t) => {
  await using proxy = await testProxy()
  const { target, server } = await echoServer(t)
  await proxy.route('/user/ada', target.url)
  const client = new WebSocket(`${proxy.url.replace('http', 'ws')}/user/ada/kernel?x=1`)
  t.after(() => client.terminate())
  await once(client, 'open')
  const sent = Buffer.alloc(8 * 1024 * 1024, 'x')
  client.send(sent)
  const [received] = (await once(client, 'message')) as [Buffer]
  assert.ok(received.equals(sent))
  let count = 0
  client.on('message', () => (count += 1))
  for (let i = 0; i < 1_000; i += 1) client.send(String(i))
  await until('all come back', () => count === 1_000)
  client.close(1000, 'bye')
  const [code] = (await once(client, 'close')) as [number]
  assert.equal(code, 1000)
  await until('the target is left', () => server.clients.size === 0 && target.sockets.size === 0)
})

test('what is sent together with the handshake arrives, on both sides', async () => {
  await using proxy = await testProxy()
  let received = ''
  await using target = await rawTarget((socket) => {
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      if (received === '') socket.write(`${switching}early answer`)
      received += chunk
    })
  })
  await proxy.route('/', target.url)
  using client = rawClient(proxy.port, `${handshake('/ws')}early question`)
  await client.until(/101 Switching Protocols[^]*\r\n\r\nearly answer$/)
  await until('the question arrives', () => received.endsWith('\r\n\r\nearly question'))
  assert.match(received, /Connection: Upgrade\r\n/i)
  assert.match(received, /Upgrade: websocket\r\n/i)
  assert.match(received, /X-Forwarded-Proto: ws\r\n/i)
})

test('a handshake may say that it has no body', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => {
    socket.once('data', () => socket.write(switching))
  })
  await proxy.route('/', target.url)
  using client = rawClient(proxy.port, handshake('/ws', 'Content-Length: 0'))
  await client.until(/^HTTP\/1.1 101 /)
})

test('bytes sent while the target has not answered wait for it', async () => {
  await using proxy = await testProxy()
  let received = ''
  let answer: (() => void) | undefined
  await using target = await rawTarget((socket) => {
    answer = () => void socket.write(switching)
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
  })
  await proxy.route('/', target.url)
  using client = rawClient(proxy.port, handshake('/ws'))
  await until('the handshake arrives', () => received.endsWith('\r\n\r\n'))
  client.socket.write('later')
  answer?.()
  await until('the bytes follow', () => received.endsWith('\r\n\r\nlater'))
})

test('one side ends with the other, at every stage', async () => {
  await using proxy = await testProxy()
  for (const stage of ['waiting', 'open'] as const) {
    for (const way of ['end', 'resetAndDestroy'] as const) {
      for (const side of ['client', 'target'] as const) {
        await using target = await rawTarget((socket) => {
          socket.once('data', () => stage === 'open' && socket.write(switching))
        })
        await proxy.route('/', target.url)
        using client = rawClient(proxy.port, handshake('/ws'))
        const socket = await until('the target is asked', () => [...target.sockets][0])
        if (stage === 'open') await client.until(/101/)
        else await until('it has the handshake', () => socket.bytesRead > 0)
        if (side === 'client') client.socket[way]()
        else socket[way]()
        const what = `${side} ${way} while ${stage}`
        await until(what, () => socket.destroyed && client.socket.destroyed)
      }
    }
  }
})

test('what a slow client has not taken yet stays what it was', async () => {
  await using proxy = await testProxy()
  const size = 4 * 1024 * 1024
  const say: Record<string, () => void> = {}
  await using target = await rawTarget((socket) => {
    socket.once('data', (head: Buffer) => {
      const letter = head.toString('latin1', 5, 6)
      socket.write(switching)
      say[letter] = () => void socket.write(Buffer.alloc(size, letter))
    })
  })
  await proxy.route('/', target.url)
  const taken = { a: 0, b: 0 }
  const clients = (['a', 'b'] as const).map((letter) => {
    const { socket } = rawClient(proxy.port, handshake(`/${letter}`))
    socket.on('data', (text: string) => (taken[letter] += text.split(letter).length - 1))
    return socket
  })
  const [slow] = clients
  await until('both are open', () => Object.keys(say).length === 2)
  slow?.pause()
  say['a']?.()
  say['b']?.()
  await until('the quick one has all', () => taken.b >= size)
  slow?.resume()
  await until('the slow one has all', () => taken.a >= size)
  for (const socket of clients) socket.destroy()
})

test('an answer other than 101 is relayed with its body, then the connection ends', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget((_request, response) => {
    response.writeHead(403, { 'set-cookie': ['a=1', 'b=2'] })
    response.write('not ')
    response.end('you')
  })
  await proxy.route('/', target.url)
  using client = rawClient(proxy.port, handshake('/ws'))
  const answer = await client.ended()
  assert.match(answer, /^HTTP\/1.1 403 Forbidden\r\n/)
  assert.match(answer, /set-cookie: a=1\r\nset-cookie: b=2\r\n/i)
  assert.match(answer, /connection: close\r\n[^]*\r\nnot you$/i)
})

test('a handshake that leads nowhere is answered and ended', async () => {
  await using proxy = await testProxy()
  const closed = await rawTarget(() => {})
  await closed[Symbol.asyncDispose]()
  await using strange = await rawTarget((socket) => {
    socket.once('data', () => socket.end(switching.replace('Upgrade: websocket', 'Upgrade: irc')))
  })
  await proxy.route('/down', closed.url)
  await proxy.route('/strange', strange.url)
  const cases = [
    ['/nowhere', 404],
    ['/down', 503],
    ['/strange', 502],
    ['/%', 400],
    ['/../down', 400],
  ] as const
  for (const [path, status] of cases) {
    using client = rawClient(proxy.port, handshake(path))
    assert.match(await client.ended(), new RegExp(`^HTTP/1.1 ${status} .*\r\n`), path)
  }
  using body = rawClient(proxy.port, handshake('/down', 'Content-Length: 3'))
  assert.match(await body.ended(), /^HTTP\/1.1 400 /)
})

test('only what the client sends counts as activity', async () => {
  await using proxy = await testProxy()
  let say: ((text: string) => void) | undefined
  await using target = await rawTarget((socket) => {
    say = (text) => void socket.write(text)
    socket.once('data', () => socket.write(switching))
  })
  await proxy.route('/x', target.url)
  const activity = async () =>
    ((await (await proxy.api('GET', '/api/routes/x')).json()) as { last_activity: string })
      .last_activity
  using client = rawClient(proxy.port, handshake('/x'))
  await client.until(/101/)
  const first = await activity()
  say?.('from the target')
  await client.until(/from the target/)
  assert.equal(await activity(), first)
  client.socket.write('from the client')
  await until('it counts', async () => (await activity()) > first)
  const second = await activity()
  await proxy.api('PUT', '/api/routes', { '/x': { target: target.url } })
  assert.equal(await activity(), second)
  client.socket.write('after the table was replaced')
  await until('it still counts', async () => (await activity()) > second)
})

test('a handshake behind an unanswered request ends the connection, and all that it asked for', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => void socket.resume())
  await proxy.route('/', target.url)
  using pipelined = rawClient(proxy.port, get('/one') + handshake('/ws'))
  assert.equal(await pipelined.ended(), '')
  using waiting = rawClient(proxy.port, get('/one') + get('/two') + get('/three'))
  await until('all have arrived', () => target.sockets.size === 3)
  waiting.socket.destroy()
  await until('all are gone', () => target.sockets.size === 0)
})

test('nothing is left after many aborted handshakes and requests', async () => {
  await using proxy = await testProxy()
  await using target = await rawTarget((socket) => void socket.resume())
  await proxy.route('/', target.url)
  for (let round = 0; round < 5; round += 1) {
    const clients = Array.from({ length: 100 }, (_, i) =>
      rawClient(
        proxy.port,
        i % 2 ? handshake('/ws') : 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nx',
      ),
    )
    await until('all have arrived', () => target.sockets.size === 100)
    for (const { socket } of clients) socket.destroy()
    await until('all are gone', () => target.sockets.size === 0)
  }
})
