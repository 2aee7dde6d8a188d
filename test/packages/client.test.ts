import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { type Client, ClientError, createClient } from '../../packages/client/index.ts'

interface Seen {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

type Handler = (seen: Seen, response: ServerResponse) => void

async function hubThat(t: TestContext, handle: Handler): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = []
  const server = createServer((request, response) => {
    void text(request).then((body) => {
      const { method = '', url = '', headers } = request
      seen.push({ method, url, headers, body })
      handle({ method, url, headers, body }, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

const reply = (response: ServerResponse, status: number, body?: unknown): void => {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(body === undefined ? '' : JSON.stringify(body))
}

test('sends the token and finds the API below a base url', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) => reply(response, 200, { kind: 'user' }))
  await createClient({ url: `${url}/jhub/`, token: 'abc' }).caller()
  await createClient({ url: `${url}/jhub/hub/api` }).caller()
  assert.deepEqual(
    seen.map((request) => [request.method, request.url, request.headers.authorization]),
    [
      ['GET', '/jhub/hub/api/user', 'token abc'],
      ['GET', '/jhub/hub/api/user', undefined],
    ],
  )
})

test('sends the xsrf value of the moment with cookies', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) => reply(response, 202, {}))
  let value = 'one'
  const client = createClient({ url, xsrf: () => value })
  await client.shutdown({ proxy: true })
  value = 'two'
  await client.shutdown()
  assert.deepEqual(
    seen.map((request) => [request.headers['x-xsrftoken'], request.body]),
    [
      ['one', '{"proxy":true}'],
      ['two', '{}'],
    ],
  )
})

test('names with slashes and spaces stay one path segment', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) => reply(response, 201))
  assert.equal(await createClient({ url }).startServer('a/b c', 'x?y'), 'ready')
  assert.equal(seen[0]?.url, '/hub/api/users/a%2Fb%20c/servers/x%3Fy')
})

test('tells a start that goes on from one that is done, and the same for a stop', async (t) => {
  const { url } = await hubThat(t, (_, response) => reply(response, 202))
  const client = createClient({ url })
  assert.equal(await client.startServer('ada'), 'starting')
  assert.equal(await client.stopServer('ada'), 'stopping')
})

test('follows pages until the last one', async (t) => {
  const { url, seen } = await hubThat(t, (request, response) => {
    const offset = Number(new URL(request.url, 'http://hub').searchParams.get('offset'))
    const next = offset < 4 ? { offset: offset + 2, limit: 2, url: 'http://elsewhere/' } : null
    const items = [offset, offset + 1].map((index) => ({ kind: 'user', name: `u${index}` }))
    reply(response, 200, { items, _pagination: { offset, limit: 2, total: 6, next } })
  })
  const names: string[] = []
  const users = createClient({ url }).users({ nameFilter: 'u', pageSize: 2 })
  for await (const user of users) names.push(user.name)
  assert.deepEqual(names, ['u0', 'u1', 'u2', 'u3', 'u4', 'u5'])
  assert.equal(seen[0]?.headers.accept, 'application/jupyterhub-pagination+json')
  assert.equal(seen[1]?.url, '/hub/api/users?name_filter=u&offset=2&limit=2')
})

test('asks for no further page than is read', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) =>
    reply(response, 200, {
      items: [{ kind: 'user', name: 'ada' }],
      _pagination: { offset: 0, limit: 1, total: 9, next: { offset: 1, limit: 1, url: '' } },
    }),
  )
  for await (const user of createClient({ url }).users()) {
    assert.equal(user.name, 'ada')
    break
  }
  assert.equal(seen.length, 1)
})

test('yields progress events as they come, across chunks and keep-alives', async (t) => {
  const { url } = await hubThat(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('\n\ndata: {"progress":0,"message":"Server requ')
    setImmediate(() => {
      response.write('ested"}\n\n\n\n')
      response.end('data: {"progress":100,"ready":true,"message":"é","url":"/user/ada/"}\n\n')
    })
  })
  const events: unknown[] = []
  for await (const event of createClient({ url }).progress('ada')) events.push(event)
  assert.deepEqual(events, [
    { progress: 0, message: 'Server requested' },
    { progress: 100, ready: true, message: 'é', url: '/user/ada/' },
  ])
})

test('throws the status and the words of the hub', async (t) => {
  const { url } = await hubThat(t, (_, response) =>
    reply(response, 404, { status: 404, message: 'no such user: eve' }),
  )
  await assert.rejects(createClient({ url }).user('eve'), (error) => {
    assert.ok(error instanceof ClientError)
    assert.deepEqual([error.status, error.message], [404, 'no such user: eve'])
    return true
  })
})

test('says the status when an error is no JSON or has no words', async (t) => {
  let body = '<html>'
  const { url } = await hubThat(t, (_, response) => {
    response.writeHead(502)
    response.end(body)
  })
  await assert.rejects(createClient({ url }).info(), /502 Bad Gateway/)
  body = '{"status":502,"message":null}'
  await assert.rejects(createClient({ url }).info(), /502 Bad Gateway/)
})

test('a success that is no JSON is an error', async (t) => {
  const { url } = await hubThat(t, (_, response) => response.end('<html>'))
  await assert.rejects(createClient({ url }).info(), /no JSON/)
})

test('a redirect is not followed, so that the token goes nowhere else', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) => {
    response.writeHead(302, { location: '/elsewhere' })
    response.end()
  })
  await assert.rejects(createClient({ url, token: 'abc' }).info(), { status: 0 })
  assert.equal(seen.length, 1)
})

test('gives up after its deadline, and says who does not answer', async (t) => {
  const { url } = await hubThat(t, () => {})
  const client = createClient({ url, timeout: 0.05 })
  await assert.rejects(client.info(), { status: 0, message: `${url} does not answer` })
})

test('a progress stream ends when its signal aborts', async (t) => {
  const { url } = await hubThat(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: {"progress":0,"message":"Server requested"}\n\n')
  })
  const controller = new AbortController()
  const events = createClient({ url }).progress('ada', '', { signal: controller.signal })
  assert.equal((await events.next()).done, false)
  controller.abort()
  await assert.rejects(events.next())
})

test('tells how long to wait, in seconds or until a date', async (t) => {
  let retryAfter = '44'
  const { url } = await hubThat(t, (_, response) => {
    response.writeHead(429, { 'retry-after': retryAfter })
    response.end('{"status":429,"message":"too many servers are starting"}')
  })
  const client = createClient({ url })
  await assert.rejects(client.startServer('ada'), { status: 429, retryAfter: 44 })
  retryAfter = new Date(Date.now() - 60_000).toUTCString()
  await assert.rejects(client.startServer('ada'), { status: 429, retryAfter: 0 })
  retryAfter = 'soon'
  await assert.rejects(client.startServer('ada'), { status: 429, retryAfter: null })
})

test('names that would lead to another path are refused before anything is sent', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) => reply(response, 200, {}))
  const client = createClient({ url })
  for (const name of ['..', '.', '', '\ud800'])
    await assert.rejects(client.deleteUser(name), { status: 0, message: /cannot be a name/ })
  await assert.rejects(client.stopServer('ada', '..'), /cannot be a name/)
  assert.equal(seen.length, 0)
})

test('gives up an answer that does not end', async (t) => {
  const { url } = await hubThat(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write('{"kind":')
  })
  await assert.rejects(createClient({ url, timeout: 0.05 }).caller(), { status: 0 })
})

test('gives up a stream in which nothing comes, but not one with keep-alives', async (t) => {
  let kept = 0
  const { url } = await hubThat(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const timer = setInterval(() => {
      if (kept < 10) response.write('\n\n')
      if (++kept === 10) response.write('data: {"progress":50,"message":"late"}\n\n')
    }, 100)
    response.on('close', () => clearInterval(timer))
  })
  const events = createClient({ url, timeout: 0.7 }).progress('ada')
  assert.equal((await events.next()).value?.message, 'late')
  await assert.rejects(events.next(), { status: 0 })
})

test('follows events with their ids, and goes on after one', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.end(
      ': hello\n\nid: 7-2\ndata: {"kind":"login","at":"2026-01-02T03:04:05Z","user":"ada"}\n\n',
    )
  })
  for await (const event of createClient({ url }).events({ after: '7-1' }))
    assert.deepEqual(event, { id: '7-2', kind: 'login', at: '2026-01-02T03:04:05Z', user: 'ada' })
  assert.equal(seen[0]?.headers['last-event-id'], '7-1')
})

const page = { items: [], _pagination: { offset: 0, limit: 50, total: 0, next: null } }

/** Every call with what it must send: the wire, part 2. */
const calls: readonly [call: (client: Client) => Promise<unknown>, sent: string, body?: unknown][] =
  [
    [(client) => client.version(), 'GET '],
    [(client) => client.health(), 'GET health'],
    [(client) => client.health({ ready: true }), 'GET health?ready=1'],
    [(client) => client.metrics(), 'GET metrics'],
    [(client) => client.routes().next(), 'GET proxy?offset=0'],
    [(client) => client.checkRoutes(), 'POST proxy'],
    [
      (client) => client.updateProxy({ apiUrl: 'http://proxy:8001', authToken: 'x' }),
      'PATCH proxy',
      { api_url: 'http://proxy:8001', auth_token: 'x' },
    ],
    [(client) => client.users().page({ offset: 50, limit: 10 }), 'GET users?offset=50&limit=10'],
    [
      (client) =>
        client.users({ state: 'ready', sort: '-name', includeStoppedServers: true }).page(),
      'GET users?state=ready&sort=-name&include_stopped_servers=1&offset=0',
    ],
    [
      (client) => client.user('ada', { includeStoppedServers: true }),
      'GET users/ada?include_stopped_servers=1',
    ],
    [
      (client) => client.createUsers(['a', 'b']),
      'POST users',
      { usernames: ['a', 'b'], admin: false },
    ],
    [(client) => client.createUser('a', { admin: true }), 'POST users/a', { admin: true }],
    [
      (client) => client.updateUser('a', { name: 'b', authState: { x: 1 } }),
      'PATCH users/a',
      { name: 'b', auth_state: { x: 1 } },
    ],
    [(client) => client.deleteUser('a'), 'DELETE users/a'],
    [
      (client) =>
        client.reportActivity('a', { lastActivity: new Date(0), servers: { '': new Date(1) } }),
      'POST users/a/activity',
      {
        last_activity: '1970-01-01T00:00:00.000Z',
        servers: { '': { last_activity: '1970-01-01T00:00:00.001Z' } },
      },
    ],
    [(client) => client.server('a'), 'GET users/a/server'],
    [(client) => client.server('a', 's'), 'GET users/a/servers/s'],
    [
      (client) => client.createServer('a', 's', { displayName: 'My S' }),
      'PUT users/a/servers/s',
      { display_name: 'My S' },
    ],
    [(client) => client.startServer('a'), 'POST users/a/server'],
    [
      (client) => client.startServer('a', 's', { userOptions: { cpu: 2 } }),
      'POST users/a/servers/s',
      { user_options: { cpu: 2 } },
    ],
    [
      (client) => client.updateServer('a', 's', { name: 't', userOptions: null }),
      'PATCH users/a/servers/s',
      { name: 't', user_options: null },
    ],
    [(client) => client.stopServer('a'), 'DELETE users/a/server'],
    [
      (client) => client.stopServer('a', 's', { remove: true }),
      'DELETE users/a/servers/s',
      { remove: true },
    ],
    [(client) => client.token('a', 'a1'), 'GET users/a/tokens/a1'],
    [
      (client) => client.createToken('a', { note: 'n', expiresIn: 60, scopes: ['self'] }),
      'POST users/a/tokens',
      { note: 'n', scopes: ['self'], expires_in: 60 },
    ],
    [(client) => client.revokeToken('a', 'a1'), 'DELETE users/a/tokens/a1'],
    [(client) => client.groups().page(), 'GET groups?offset=0'],
    [(client) => client.group('g'), 'GET groups/g'],
    [(client) => client.createGroup('g', { users: ['a'] }), 'POST groups/g', { users: ['a'] }],
    [(client) => client.createGroups(['g', 'h']), 'POST groups', { groups: ['g', 'h'], users: [] }],
    [(client) => client.deleteGroup('g'), 'DELETE groups/g'],
    [(client) => client.addToGroup('g', ['a']), 'POST groups/g/users', { users: ['a'] }],
    [(client) => client.removeFromGroup('g', ['a']), 'DELETE groups/g/users', { users: ['a'] }],
    [(client) => client.setGroupProperties('g', { x: 1 }), 'PUT groups/g/properties', { x: 1 }],
    [(client) => client.services(), 'GET services'],
    [(client) => client.service('s'), 'GET services/s'],
    [
      (client) => client.createService('s', { url: 'http://s', oauthNoConfirm: true }),
      'POST services/s',
      { url: 'http://s', oauth_no_confirm: true },
    ],
    [(client) => client.deleteService('s'), 'DELETE services/s'],
    [(client) => client.shares('a').page(), 'GET shares/a?offset=0'],
    [(client) => client.shares('a', '').page(), 'GET shares/a/?offset=0'],
    [(client) => client.shares('a', 's').page(), 'GET shares/a/s?offset=0'],
    [
      (client) => client.share({ owner: 'a', server: '' }, { user: 'b' }),
      'POST shares/a/',
      { user: 'b' },
    ],
    [
      (client) => client.unshare({ owner: 'a', server: 's' }, { group: 'g' }, ['x']),
      'PATCH shares/a/s',
      { group: 'g', scopes: ['x'] },
    ],
    [(client) => client.deleteShares({ owner: 'a', server: 's' }), 'DELETE shares/a/s'],
    [(client) => client.sharedWith({ user: 'b' }).page(), 'GET users/b/shared?offset=0'],
    [
      (client) => client.sharedServer({ group: 'g' }, { owner: 'a', server: '' }),
      'GET groups/g/shared/a/',
    ],
    [
      (client) => client.leaveShare({ user: 'b' }, { owner: 'a', server: 's' }),
      'DELETE users/b/shared/a/s',
    ],
    [(client) => client.shareCodes('a').page(), 'GET share-codes/a?offset=0'],
    [
      (client) => client.createShareCode({ owner: 'a', server: 's' }, { expiresIn: 60 }),
      'POST share-codes/a/s',
      { expires_in: 60 },
    ],
    [
      (client) => client.deleteShareCodes({ owner: 'a', server: 's' }, 'sc_1'),
      'DELETE share-codes/a/s?id=sc_1',
    ],
  ]

test('each call sends what the wire says', async (t) => {
  const { url, seen } = await hubThat(t, (_, response) => reply(response, 200, page))
  const client = createClient({ url })
  for (const [call, sent, body] of calls) {
    await call(client)
    const last = seen.at(-1)
    assert.equal(`${last?.method} ${last?.url.replace('/hub/api/', '')}`, sent)
    assert.deepEqual(last?.body ? JSON.parse(last.body) : undefined, body, sent)
  }
})
