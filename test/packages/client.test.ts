import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { ClientError, createClient } from '../../packages/client/index.ts'

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
