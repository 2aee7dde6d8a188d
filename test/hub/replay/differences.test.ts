import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { operationsOf, readDocument } from '../../support/api-document.ts'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { Browser } from '../../support/browser.ts'
import { rawSend } from '../../support/raw-http.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

/**
 * Where JupyterHub's published description, its messages and its mistakes are not what they seem:
 * texts that clients match, calls that the description lacks, and requests that it answers with 500.
 * What is not here is in the tests of the same folder, and in test/hub/security.
 */
describe('where JupyterHub is not what its description says', () => {
  let test: TestHub
  let root: CallApi
  let token = ''

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['root'],
          allowNamedServers: true,
          namedServerLimitPerUser: 1,
          tokenExpiresInMaxSeconds: 500,
        },
      },
    })
    await test.operator.createUsers(['ada', 'bob'])
    token = (await test.operator.createToken('root')).token
    root = apiCaller(test, token)
  })
  after(() => test[Symbol.asyncDispose]())

  const texts: readonly (readonly [string, string, unknown, number, RegExp])[] = [
    ['POST', 'users/ada/tokens', { expires_in: 501 }, 400, /must not exceed 500/],
    ['POST', 'users/ada/tokens', { scopes: ['proxy'] }, 400, /Not assigning requested scopes/],
    ['POST', 'users', { usernames: ['a/', '/b'] }, 400, /Invalid usernames: a\/, \/b/],
    ['POST', 'services/x', { command: ['true'] }, 400, /Can not create managed service/],
    ['PUT', 'users/ada/servers/Bad%20Name', {}, 400, /Invalid server_name:/],
    ['POST', 'users/ada/servers/a--b', {}, 400, /Invalid server_name:/],
    ['PUT', 'users/ada/servers/one', {}, 201, /"one"/],
    ['PUT', 'users/ada/servers/two', {}, 400, /already has the maximum of 1 named servers/],
    ['PATCH', 'users/ada/servers/none', { name: 'x' }, 404, /No such server.*(?:ada|none)/],
    ['POST', 'users/ada/servers/two', {}, 400, /already has the maximum of 1 named servers/],
    [
      'POST',
      'users/ada/activity',
      { servers: { gone: { last_activity: '2026-01-01' } } },
      400,
      /No such server 'gone' for user ada/,
    ],
    ['DELETE', 'users/ada/servers/', { remove: true }, 400, /./],
    ['GET', 'groups/none', undefined, 404, /./],
  ]

  for (const [method, path, body, status, text] of texts)
    it(`${method} ${path} ${JSON.stringify(body) ?? ''} says ${text.source}`, async () => {
      const answer = await root(method, path, body)
      assert.equal(answer.status, status, answer.text)
      assert.match(answer.text, text)
    })

  it('no life of a token goes past the limit, whatever is asked for', async () => {
    for (const body of [{}, { expires_in: 0 }, { expires_in: null }, { expires_in: 500 }]) {
      const { json } = await root('POST', 'users/ada/tokens', body)
      const life = Date.parse(String(json['expires_at'])) - Date.parse(String(json['created']))
      assert.ok(life > 490_000 && life <= 501_000, `${JSON.stringify(body)}: ${life} ms`)
    }
  })

  it('has the calls that the description lacks', async () => {
    const known = operationsOf(await readDocument(test.origin)).map(
      ({ method, path }) => `${method} ${path}`,
    )
    for (const call of [
      'GET /users/{user}/server',
      'PUT /users/{user}/server',
      'PATCH /users/{user}/server',
      'GET /users/{user}/server/progress',
      'GET /users/{user}/servers/{server}/progress',
      'POST /users/{user}/admin-access',
      'POST /groups',
      'POST /services/{service}',
      'DELETE /services/{service}',
      'GET /health',
      'GET /metrics',
    ])
      assert.ok(known.includes(call), call)
    const health = await fetch(`${test.origin}/hub/api/health`)
    assert.deepEqual([health.status, await health.text()], [200, ''])
    assert.match(health.headers.get('content-type') ?? '', /^text\/html/)
  })

  it('takes the address of a proxy by the names that count, and no others', async () => {
    const ignored = { ip: '10.0.0.1', port: 1, protocol: 'https' }
    assert.equal((await root('PATCH', 'proxy', ignored)).status, 200)
    assert.equal((await root('POST', 'proxy')).status, 200, 'still the same proxy')
    for (const api_url of ['10.0.0.1', 'ftp://10.0.0.1', 'file:///x', 'javascript:x', '', 1, null])
      assert.equal((await root('PATCH', 'proxy', { api_url })).status, 400, String(api_url))
    for (const auth_token of ['', 'a b', 'a\r\nb', 'é', 1, null])
      assert.equal((await root('PATCH', 'proxy', { auth_token })).status, 400, String(auth_token))
    assert.equal((await root('POST', 'proxy')).status, 200)
  })

  it('starts a server by start:servers alone, and knows no scope for its state but one', async () => {
    const with_ = async (scope: string) =>
      apiCaller(test, (await test.operator.createToken('root', { scopes: [scope] })).token)
    const starter = await with_('start:servers!user=bob')
    assert.equal((await starter('POST', 'users/bob/server')).status, 201)
    assert.equal((await starter('DELETE', 'users/bob/server')).status, 403)
    const stopper = await with_('delete:servers!user=bob')
    assert.equal((await stopper('DELETE', 'users/bob/server')).status, 204)
    const wrong = await root('POST', 'users/root/tokens', { scopes: ['admin:users:server_state'] })
    assert.equal(wrong.status, 400)
    const right = await root('POST', 'users/root/tokens', { scopes: ['admin:server_state'] })
    assert.equal(right.status, 201)
  })

  it('answers nothing with 500 that JupyterHub does', async () => {
    const cases: readonly (readonly [string, string, string])[] = [
      ['POST', 'users', '{"usernames":[1]}'],
      ['POST', 'users', '{"usernames":[null]}'],
      ['POST', 'users', '{"usernames":"abc"}'],
      ['POST', 'users', '{"usernames":["x"],"admin":NaN}'],
      ['PATCH', 'users/ada', '{"name":"\\ud800"}'],
      ['PATCH', 'users/ada', '{"groups":["x"]}'],
      ['PATCH', 'users/ada/servers/one', '{"name":"a\\u0000"}'],
      ['PATCH', 'users/ada/servers/one', '{"nonsense":1}'],
      ['DELETE', 'users/ada/server', 'true'],
      ['DELETE', 'users/ada/server', '"x"'],
      ['DELETE', 'users/ada/server', '[null]'],
      ['GET', 'users?offset=99999999999999999999999999', ''],
      ['GET', 'groups?offset=99999999999999999999999999', ''],
      ['POST', 'users/ada/tokens', '{"note":["x"]}'],
      ['POST', 'shares/ada/one', '{"user":"bob","scopes":["no:such"]}'],
      ['POST', 'share-codes/ada/one', '{"scopes":["no:such"]}'],
      ['POST', 'services/x', '{"oauth_client_allowed_scopes":["no:such"]}'],
      ['POST', 'oauth2/token?client_id=x&client_secret=y', ''],
      ['GET', 'users/%', ''],
      ['GET', 'users/%zz', ''],
      ['GET', 'users/%ff', ''],
    ]
    for (const [method, path, body] of cases) {
      const answer = await rawSend(test.origin, `/hub/api/${path}`, {
        method,
        body,
        headers: [`Authorization: token ${token}`, `Content-Length: ${Buffer.byteLength(body)}`],
      })
      assert.equal(answer.status, 400, `${method} ${path} ${body}: ${answer.body}`)
    }
    const browser = new Browser(test.origin)
    const page = await browser.logIn('/', 'ada', 'x', 'http://[::1')
    assert.equal(page.headers.get('location'), '/hub/spawn')
  })

  it('deletes a user with a running named server, and stops it first', async () => {
    assert.equal((await root('POST', 'users/bob/servers/named')).status, 201)
    assert.equal((await root('DELETE', 'users/bob')).status, 204)
    assert.equal((await root('GET', 'users/bob')).status, 404)
    const { text } = await root('GET', 'proxy')
    assert.doesNotMatch(text, /\/user\/bob\//)
  })

  it('lets a service with a filtered scope make tokens, as it may read and revoke them', async () => {
    const { token: narrow } = await test.operator.createToken('root', {
      scopes: ['tokens!user=ada'],
    })
    const call = apiCaller(test, narrow)
    const made = await call('POST', 'users/ada/tokens', {})
    assert.equal(made.status, 201)
    assert.equal((await call('GET', 'users/ada/tokens')).status, 200)
    assert.equal((await call('DELETE', `users/ada/tokens/${String(made.json['id'])}`)).status, 204)
    assert.equal((await call('POST', 'users/root/tokens', {})).status, 403)
  })

  it('counts in a list of groups only what the caller may see', async () => {
    await root('POST', 'groups', { groups: ['g1', 'g2', 'g3'] })
    const { token: narrow } = await test.operator.createToken('root', {
      scopes: ['list:groups!group=g2'],
    })
    const answer = await fetch(`${test.origin}/hub/api/groups`, {
      headers: {
        Authorization: `token ${narrow}`,
        Accept: 'application/jupyterhub-pagination+json',
      },
    })
    const { items, _pagination: place } = (await answer.json()) as {
      items: { name: string }[]
      _pagination: { total: number }
    }
    assert.deepEqual([items.map(({ name }) => name), place.total], [['g2'], 1])
  })
})
