import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { get, httpTarget, rawClient, rawTarget, testProxy } from './support.ts'

const nobody = 'http://127.0.0.1:1'

test('asks the error target for the page, with the status that is true', async () => {
  await using pages = await httpTarget((request, response) => {
    response.writeHead(200, { 'content-type': 'text/x-page', 'set-cookie': 'a=b' })
    response.end(`${request.url} ${request.headers.cookie}`)
  })
  await using proxy = await testProxy({ errorTarget: `${pages.url}/hub/error/` })
  await proxy.route('/down', nobody)
  const missing = await fetch(`${proxy.url}/x%20y?a=1&b=2`, { headers: { cookie: 'secret=1' } })
  assert.equal(missing.status, 404)
  assert.equal(missing.headers.get('content-type'), 'text/x-page')
  assert.equal(missing.headers.get('set-cookie'), null)
  assert.equal(await missing.text(), '/hub/error/404?url=%2Fx%2520y%3Fa%3D1%26b%3D2 undefined')
  const down = await fetch(`${proxy.url}/down`)
  assert.equal(down.status, 503)
  assert.equal(await down.text(), '/hub/error/503?url=%2Fdown undefined')
})

test('shows a page of its own when the error target fails', async () => {
  await using broken = await httpTarget((_request, response) => response.writeHead(500).end('oh'))
  await using resets = await rawTarget((socket) => void socket.resetAndDestroy())
  for (const errorTarget of [null, nobody, broken.url, resets.url]) {
    await using proxy = await testProxy({ errorTarget })
    const answer = await fetch(`${proxy.url}/x`)
    assert.equal(answer.status, 404)
    assert.match(await answer.text(), /<h1>404 Not Found<\/h1>/)
  }
})

test('a page that comes with the status it was asked for is shown, an empty one is not', async () => {
  await using pages = await httpTarget((request, response) => {
    const status = Number(request.url?.slice(1, 4))
    response.writeHead(status).end(status === 503 ? 'of the error target' : '')
  })
  await using proxy = await testProxy({ errorTarget: pages.url })
  await proxy.route('/down', nobody)
  assert.equal(await (await fetch(`${proxy.url}/down`)).text(), 'of the error target')
  assert.match(await (await fetch(`${proxy.url}/x`)).text(), /404 Not Found/)
})

test('waits two seconds for an error target at most', async () => {
  await using hangs = await rawTarget((socket) => void socket.resume())
  await using drips = await rawTarget((socket) => {
    socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx'))
  })
  await Promise.all(
    [hangs, drips].map(async ({ url }) => {
      await using proxy = await testProxy({ errorTarget: url })
      const started = performance.now()
      assert.match(await (await fetch(`${proxy.url}/x`)).text(), /404 Not Found/)
      assert.ok(performance.now() - started < 3_000)
    }),
  )
})

test('a page for a target that is down asks again by itself', async () => {
  await using proxy = await testProxy()
  await proxy.route('/', nobody)
  const answer = await fetch(`${proxy.url}/x`)
  assert.equal(answer.status, 503)
  assert.ok(Number(answer.headers.get('retry-after')) > 0)
  assert.match(await answer.text(), /http-equiv="refresh"/)
  assert.equal(answer.headers.get('cache-control'), 'no-store')
})

test('programs get JSON, without asking the error target', async () => {
  let asked = 0
  await using pages = await httpTarget((_request, response) => {
    asked += 1
    response.end()
  })
  await using proxy = await testProxy({ errorTarget: pages.url })
  for (const [path, headers] of [
    ['/x', { accept: 'application/json' }],
    ['/x', { accept: 'application/problem+json, */*' }],
    ['/x', { 'x-requested-with': 'XMLHttpRequest' }],
    ['/user/ada/api/contents', { accept: '*/*' }],
  ] as const) {
    const answer = await fetch(`${proxy.url}${path}`, { headers })
    const { status, message } = (await answer.json()) as { status: number; message: string }
    assert.equal(status, 404)
    assert.match(message, /nothing is served/i)
  }
  assert.equal(asked, 0)
  const browser = { accept: 'text/html,application/json;q=0.9' }
  await fetch(`${proxy.url}/x`, { headers: browser })
  assert.equal(asked, 1)
})

test('a refused request costs the error target nothing', async () => {
  await using pages = await httpTarget(() => assert.fail('it was asked'))
  await using proxy = await testProxy({ errorTarget: pages.url })
  const answer = await fetch(`${proxy.url}/%zz`)
  assert.equal(answer.status, 400)
  assert.match(await answer.text(), /invalid percent-encoding/)
})

test('an answer comes before the end of a refused upload', async () => {
  await using proxy = await testProxy()
  using client = rawClient(
    proxy.port,
    'POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\nabc',
  )
  await client.until(/^HTTP\/1.1 404 [^]*<\/html>/)
})

test('takes pages from a folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'pages-'))
  t.after(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, '404.html'), 'not there')
  await using proxy = await testProxy({ errorPath: folder })
  await proxy.route('/down', nobody)
  assert.equal(await (await fetch(`${proxy.url}/x`)).text(), 'not there')
  assert.match(await (await fetch(`${proxy.url}/down`)).text(), /503 Service Unavailable/)
  await writeFile(join(folder, 'error.html'), 'broken')
  assert.equal(await (await fetch(`${proxy.url}/down`)).text(), 'broken')
})

test('until the first table the answer is 503, never 404', async () => {
  await using pages = await httpTarget(() => assert.fail('it was asked'))
  await using proxy = await testProxy({ waitForRoutes: true, errorTarget: pages.url })
  const early = await fetch(`${proxy.url}/user/ada`)
  assert.equal(early.status, 503)
  assert.equal(early.headers.get('retry-after'), '1')
  assert.match(await early.text(), /hub is starting/)
  assert.equal((await fetch(`${proxy.url}/_chp_healthz`)).status, 200)
  await proxy.api('PUT', '/api/routes', {})
  const api = await fetch(`${proxy.url}/user/ada`, { headers: { accept: 'application/json' } })
  assert.equal(api.status, 404)
})

test('is healthy without routes, and only at that very path', async () => {
  await using proxy = await testProxy()
  assert.deepEqual(await (await fetch(`${proxy.url}/_chp_healthz`)).json(), { status: 'OK' })
  using client = rawClient(proxy.port, get('/_chp_healthz?x'))
  await client.until(/^HTTP\/1.1 404 /)
})
