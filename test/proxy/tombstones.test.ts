import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Tombstones, maxTombstones, readTombstone } from '../../proxy/tombstones.ts'
import { ask } from './ask.ts'
import { exchange, handshake, httpTarget, testProxy } from './support.ts'

const stopped = { tombstone: { status: 424, reason: 'stopped' }, jupyterhub: true }
const navigation = {
  accept: 'text/html',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
}

async function paths(proxy: Awaited<ReturnType<typeof testProxy>>, query = '') {
  return Object.keys((await (await proxy.api('GET', `/api/routes${query}`)).json()) as object)
}

test('a tombstone answers for a server, and only people reach the hub', async () => {
  await using hub = await httpTarget((_request, response) => void response.end('hub'))
  await using server = await httpTarget((_request, response) => void response.end('server'))
  await using proxy = await testProxy()
  await proxy.route('/', hub.url)
  await proxy.route('/user/ada', server.url)
  assert.equal((await proxy.api('POST', '/api/routes/user/ada', stopped)).status, 201)
  const at = (headers: Record<string, string>, path = '/user/ada/api/status') =>
    ask(`${proxy.url}${path}`, { headers })
  const json = await at({ accept: 'application/json' })
  assert.equal(json.status, 424)
  assert.deepEqual(JSON.parse(json.text), {
    status: 424,
    message: 'The server at this address is stopped.',
    reason: 'stopped',
  })
  assert.equal((await at({ accept: '*/*' })).status, 424)
  assert.equal((await at({ ...navigation, 'sec-fetch-dest': 'iframe' })).status, 424)
  assert.match(await exchange(proxy.port, handshake('/user/ada/x')), /^HTTP\/1.1 424 /)
  assert.equal((await at(navigation)).text, 'hub')
  assert.equal((await at({ accept: 'text/html' })).text, 'hub')
  assert.equal((await at({}, '/user/adam')).text, 'hub')
  await proxy.route('/user/ada', server.url)
  assert.equal((await at({})).text, 'server')
})

test('people who open a stopped server below a running one get to the hub', async () => {
  await using hub = await httpTarget((_request, response) => void response.end('hub'))
  await using server = await httpTarget((_request, response) => void response.end('server'))
  await using proxy = await testProxy()
  await proxy.route('/', hub.url, { hub: true })
  await proxy.route('/user/ada', server.url)
  assert.equal((await proxy.api('POST', '/api/routes/user/ada/named', stopped)).status, 201)
  const at = async (path: string) =>
    (await ask(`${proxy.url}${path}`, { headers: navigation })).text
  assert.equal(await at('/user/ada/named/lab'), 'hub')
  assert.equal(await at('/user/ada/lab'), 'server')
})

test('a server that is starting is worth another try', async () => {
  await using hub = await httpTarget((_request, response) => void response.end('hub'))
  await using server = await httpTarget((_request, response) => void response.end('server'))
  await using proxy = await testProxy()
  await proxy.route('/', hub.url)
  const starting = { tombstone: { status: 503, reason: 'starting' } }
  assert.equal((await proxy.api('POST', '/api/routes/user/ada', starting)).status, 201)
  const at = (headers: Record<string, string>) =>
    ask(`${proxy.url}/user/ada/api/status`, { headers })
  const json = await at({ accept: 'application/json' })
  assert.deepEqual([json.status, json.headers['retry-after']], [503, '3'])
  assert.deepEqual(JSON.parse(json.text), {
    status: 503,
    message: 'The server at this address is starting.',
    reason: 'starting',
  })
  const frame = await at({ ...navigation, 'sec-fetch-dest': 'iframe' })
  assert.match(frame.text, /is starting[^]*tries again by itself/)
  assert.match(
    await exchange(proxy.port, handshake('/user/ada/x')),
    /^HTTP\/1.1 503 [^]*\r\nConnection: close\r\n[^]*\r\n\r\n$/,
  )
  assert.equal((await at(navigation)).text, 'hub')
  await proxy.route('/user/ada', server.url)
  assert.equal((await at({})).text, 'server')
})

test('where there is no hub, people get the page of the error target, which learns the reason', async () => {
  await using pages = await httpTarget((request, response) => void response.end(request.url))
  await using proxy = await testProxy({ errorTarget: pages.url })
  await proxy.api('POST', '/api/routes/user/ada', { tombstone: { reason: 'crashed' } })
  const url = `${proxy.url}/user/ada/lab`
  assert.equal(
    (await ask(url, { headers: navigation })).text,
    '/424?url=%2Fuser%2Fada%2Flab&reason=crashed',
  )
  assert.match((await ask(url, { headers: { accept: 'image/png' } })).text, /has crashed/)
})

test('tombstones are listed only when asked for, and deleted as routes are', async () => {
  await using proxy = await testProxy()
  await proxy.route('/x', 'http://127.0.0.1:9', { jupyterhub: true })
  await proxy.api('POST', '/api/routes/dead', stopped)
  assert.deepEqual(await paths(proxy), ['/x'])
  assert.deepEqual(await paths(proxy, '?tombstones=1'), ['/x', '/dead'])
  assert.equal((await proxy.api('GET', '/api/routes/dead')).status, 404)
  const shown = await proxy.api('GET', '/api/routes/dead?tombstones=1')
  assert.deepEqual(await shown.json(), stopped)
  const table = { '/y': { target: 'http://127.0.0.1:9', jupyterhub: true } }
  await proxy.api('PUT', '/api/routes?only=jupyterhub', table)
  assert.deepEqual(await paths(proxy, '?tombstones=1'), ['/y', '/dead'])
  assert.equal((await proxy.api('DELETE', '/api/routes/dead')).status, 204)
  assert.equal((await proxy.api('DELETE', '/api/routes/dead')).status, 404)
  await proxy.api('POST', '/api/routes/dead', stopped)
  await proxy.api('PUT', '/api/routes', table)
  assert.deepEqual(await paths(proxy, '?tombstones=1'), ['/y'])
})

test('a tombstone that says nothing clear is refused', async () => {
  await using proxy = await testProxy()
  for (const body of [
    { tombstone: 1 },
    { tombstone: { status: 200 } },
    { tombstone: { status: '424' } },
    { tombstone: { reason: 'two words' } },
    { tombstone: {}, target: 'http://127.0.0.1:9' },
  ]) {
    assert.equal((await proxy.api('POST', '/api/routes/x', body)).status, 400)
  }
})

test('there is an end to them: the oldest go first', () => {
  const tombstones = new Tombstones()
  for (let i = 0; i <= maxTombstones; i += 1) {
    const tombstone = readTombstone(`/user/u${i}`, stopped)
    if (tombstone !== null && typeof tombstone !== 'string') tombstones.set(tombstone)
  }
  assert.equal(tombstones.size, maxTombstones)
  assert.equal(tombstones.find(['user', 'u0', 'x']), undefined)
  assert.equal(tombstones.find(['user', 'u1', 'x'])?.reason, 'stopped')
})
