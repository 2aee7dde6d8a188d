import assert from 'node:assert/strict'
import { test } from 'node:test'
import { echoed, exchange, httpTarget, rawClient, testProxy, token } from './support.ts'

const somewhere = 'http://127.0.0.1:9'

async function table(proxy: Awaited<ReturnType<typeof testProxy>>, query = '') {
  const answer = await proxy.api('GET', `/api/routes${query}`)
  return (await answer.json()) as Record<string, Record<string, unknown>>
}

test('adds, lists, shows and removes a route, with its data verbatim', async () => {
  await using proxy = await testProxy()
  const data = { target: `${somewhere}/`, user: 'ada', extra: { deep: [1, null] } }
  const added = await proxy.api('POST', '/api/routes/user/a%40b%20c/', data)
  assert.equal(added.status, 201)
  assert.equal(await added.text(), '')
  const record = (await table(proxy))['/user/a@b c']
  const { last_activity, ...rest } = record ?? {}
  assert.deepEqual(rest, data)
  assert.match(String(last_activity), /Z$/)
  const shown = await proxy.api('GET', '/api/routes/user/a@b%20c')
  assert.deepEqual(await shown.json(), record)
  assert.equal((await proxy.api('DELETE', '/api/routes/user/a@b%20c')).status, 204)
  assert.equal((await proxy.api('DELETE', '/api/routes/user/a@b%20c')).status, 404)
  assert.equal((await proxy.api('GET', '/api/routes/user/a@b%20c')).status, 404)
})

test('the root is set and removed without a path', async () => {
  await using proxy = await testProxy()
  for (const path of ['/api/routes', '/api/routes/']) {
    assert.equal((await proxy.api('POST', path, { target: somewhere })).status, 201)
    assert.deepEqual(Object.keys(await table(proxy)), ['/'])
    assert.equal((await proxy.api('DELETE', path)).status, 204)
    assert.equal((await proxy.api('DELETE', path)).status, 404)
  }
})

test('asks for the token before anything else', async () => {
  await using proxy = await testProxy()
  const ask = (authorization: string) =>
    fetch(`http://127.0.0.1:${proxy.apiPort}/api/routes/x`, {
      method: 'POST',
      headers: authorization === '' ? {} : { authorization },
      body: 'no json',
    })
  for (const wrong of ['', 'token wrong', `Token ${token}`, token, `token ${token}x`]) {
    const answer = await ask(wrong)
    assert.equal(answer.status, 403, wrong)
    assert.equal(await answer.text(), '')
  }
  assert.equal((await ask(`token ${token}`)).status, 400)
  assert.equal((await ask(`Bearer token ${token}`)).status, 400)
  const head = 'POST /api/routes/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n'
  assert.match(await exchange(proxy.apiPort, head), /^HTTP\/1.1 403 /)
})

test('says what is wrong with a body', async () => {
  await using proxy = await testProxy()
  const bodies: [body: unknown, message: RegExp][] = [
    ['', /^Body not valid JSON: /],
    ['{', /^Body not valid JSON: /],
    ['null', /^Must specify 'target' as string$/],
    [[], /^Must specify 'target' as string$/],
    [{ target: 1 }, /^Must specify 'target' as string$/],
    [{ target: 'ws://x' }, /http, https or http\+unix/],
    [{ target: 'nonsense' }, /http, https or http\+unix/],
    [{ target: 'http://a\nb/' }, /http, https or http\+unix/],
  ]
  for (const [body, message] of bodies) {
    const answer = await proxy.api('POST', '/api/routes/x', body)
    assert.equal(answer.status, 400)
    assert.match(await answer.text(), message)
  }
  const large = `{"target": "${somewhere}", "x": "${'x'.repeat(1024 * 1024)}"}`
  assert.equal((await proxy.api('POST', '/api/routes/x', large)).status, 413)
  assert.deepEqual(await table(proxy), {})
})

test('a body without a length is cut off as well', async () => {
  await using proxy = await testProxy()
  using client = rawClient(
    proxy.apiPort,
    `POST /api/routes/x HTTP/1.1\r\nHost: x\r\nAuthorization: token ${token}\r\nTransfer-Encoding: chunked\r\n\r\n`,
  )
  const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
  for (let i = 0; i < 20; i += 1) client.socket.write(chunk)
  await client.until(/^HTTP\/1.1 413 /)
})

test('answers whatever is asked', async () => {
  await using proxy = await testProxy()
  const cases: [method: string, path: string, status: number][] = [
    ['GET', '/api/routes/%', 400],
    ['GET', '/api/routes//', 400],
    ['GET', '/api/routes/a//b', 400],
    ['POST', '/api/routes/%ff', 400],
    ['DELETE', '/api/routes', 404],
    ['PATCH', '/api/routes', 405],
    ['HEAD', '/api/routes', 405],
    ['PUT', '/api/routes/x', 405],
    ['GET', '/', 404],
    ['GET', '/api', 404],
    ['GET', '/api/routesx', 404],
    ['POST', `/api/routes${'/a'.repeat(101)}`, 400],
  ]
  for (const [method, path, status] of cases) {
    assert.equal((await proxy.api(method, path)).status, status, `${method} ${path.slice(0, 30)}`)
  }
})

test('lists those that are inactive since a time', async () => {
  await using proxy = await testProxy()
  await proxy.route('/x', somewhere)
  for (const name of ['inactive_since', 'inactiveSince']) {
    assert.deepEqual(await table(proxy, `?${name}=2001-01-01T00:00:00Z`), {})
    assert.deepEqual(Object.keys(await table(proxy, `?${name}=2100`)), ['/x'])
    assert.deepEqual(Object.keys(await table(proxy, `?${name}=`)), ['/x'])
  }
  const bad = await proxy.api('GET', '/api/routes?inactive_since=soon')
  assert.equal(bad.status, 400)
  assert.equal(await bad.text(), "Invalid datestamp 'soon' must be ISO8601.")
})

test('PUT takes the whole table, or nothing of it', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/old', somewhere)
  await proxy.route('/hub made', somewhere, { jupyterhub: true })
  const put = (body: unknown, query = '') => proxy.api('PUT', `/api/routes${query}`, body)
  for (const bad of [[], 'null', { x: { target: somewhere } }, { '/a': {} }, { '/a': somewhere }]) {
    assert.equal((await put(bad)).status, 400)
  }
  const half = await put({ '/a': { target: somewhere }, '/b': { target: 'ws://x' } })
  assert.match(await half.text(), /^'\/b': /)
  assert.deepEqual(Object.keys(await table(proxy)), ['/old', '/hub made'])
  const next = { '/a b': { target: target.url, jupyterhub: true }, '/': { target: somewhere } }
  assert.equal((await put(next, '?only=jupyterhub')).status, 204)
  assert.deepEqual(Object.keys(await table(proxy)), ['/old', '/a b', '/'])
  assert.equal((await put(next)).status, 204)
  assert.deepEqual(Object.keys(await table(proxy)), ['/a b', '/'])
  assert.equal((await echoed(fetch(`${proxy.url}/a%20b/c`))).url, '/a%20b/c')
})

test('POST replaces a route whole, and the next request goes there', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/x', somewhere, { user: 'ada' })
  await proxy.route('/x', target.url)
  assert.equal((await table(proxy))['/x']?.['user'], undefined)
  assert.equal((await fetch(`${proxy.url}/x`)).status, 200)
})

test('paths never show up in the log as lines of their own', async () => {
  await using proxy = await testProxy()
  await proxy.route('/x%0Aforged', somewhere)
  assert.ok(!proxy.lines.some((line) => line.startsWith('forged')))
  assert.ok(!proxy.lines.join('').includes(token))
})

test('what went wrong with a target is one line in the log', async () => {
  await using proxy = await testProxy()
  await using target = await httpTarget()
  await proxy.route('/plain', target.url.replace('http:', 'https:'))
  assert.equal((await fetch(`${proxy.url}/plain`)).status, 503)
  assert.match(proxy.lines.at(-1) ?? '', /^\S+ \[ConfigProxy\] warn: 503 \/plain from [^\n]+\n$/)
})
