import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

describe('API tokens', () => {
  let test: TestHub
  let ada = ''

  before(async () => {
    test = await startTestHub({
      config: {
        hub: { adminUsers: ['root'], tokenExpiresInMaxSeconds: 3600 },
        authenticator: { password: 'sesame', allowAll: true },
      },
    })
    await test.operator.createUsers(['ada', 'bob'])
    ada = (await test.operator.createToken('ada')).token
  })
  after(() => test[Symbol.asyncDispose]())

  async function send(token: string, method: string, path: string, body?: unknown) {
    const response = await fetch(`${test.origin}/hub/api/users/${path}`, {
      method,
      headers: { Authorization: `Bearer ${token}` },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      json: (text === '' ? null : JSON.parse(text)) as Record<string, unknown>,
    }
  }

  it('show their secret once, and are listed as JupyterHub lists them', async () => {
    const made = await send(ada, 'POST', 'ada/tokens', {
      note: 'n',
      expires_in: 60,
      scopes: ['self'],
    })
    assert.equal(made.status, 201)
    assert.equal(made.headers.get('cache-control'), 'no-store')
    const { token, ...model } = made.json
    assert.ok(String(token).length >= 43)
    assert.match(String(model['id']), /^a\d+$/)
    const listed = await send(ada, 'GET', `ada/tokens/${String(model['id'])}`)
    assert.deepEqual(listed.json, model)
    assert.deepEqual(
      { ...model, id: '', created: '', expires_at: '', scopes: [] },
      {
        user: 'ada',
        id: '',
        kind: 'api_token',
        roles: [],
        scopes: [],
        created: '',
        last_activity: null,
        expires_at: '',
        note: 'n',
        session_id: null,
        oauth_client: 'JupyterHub',
      },
    )
    const all = await send(ada, 'GET', 'ada/tokens')
    assert.ok(!JSON.stringify(all.json).includes(String(token)))
    const tokens = all.json['api_tokens'] as Record<string, string | null>[]
    const used = tokens.map((token) => token['last_activity'] ?? token['created'] ?? '')
    assert.ok(used.length >= 2)
    assert.deepEqual(used, used.toSorted(), 'those longest unused first')
  })

  it('say what they may do now, expanded', async () => {
    const body = { scopes: ['read:users:activity!user', 'access:servers!server=ada/'] }
    const made = await send(ada, 'POST', 'ada/tokens', body)
    const effective = [
      'access:servers!server=ada/',
      'read:users:activity!user=ada',
      'read:users:groups!user=ada',
      'read:users:name!user=ada',
    ]
    assert.deepEqual(made.json['scopes'], effective)
    const listed = await send(ada, 'GET', `ada/tokens/${String(made.json['id'])}`)
    assert.deepEqual(listed.json['scopes'], effective)
    const inheriting = await send(ada, 'POST', 'ada/tokens')
    assert.equal((inheriting.json['scopes'] as string[]).length, 15)
  })

  it('live no longer than the hub allows, also when none or 0 is asked for', async () => {
    for (const body of [
      undefined,
      {},
      { expires_in: null },
      { expires_in: 0 },
      { expires_in: 3600 },
    ]) {
      const { json, status } = await send(ada, 'POST', 'ada/tokens', body)
      assert.equal(status, 201)
      const seconds = (Date.parse(String(json['expires_at'])) - Date.now()) / 1000
      assert.ok(seconds > 3500 && seconds <= 3600, JSON.stringify(body))
    }
    const { status, json } = await send(ada, 'POST', 'ada/tokens', { expires_in: 3601 })
    assert.equal(status, 400)
    assert.match(String(json['message']), /must not exceed 3600/)
  })

  it('never get more than their owner has', async () => {
    for (const scope of [
      'admin:users',
      'list:users',
      'read:users!user=bob',
      'servers',
      'shutdown',
    ]) {
      const { status, json } = await send(ada, 'POST', 'ada/tokens', { scopes: [scope] })
      assert.equal(status, 400, scope)
      assert.match(String(json['message']), /Not assigning requested scopes/)
    }
    for (const scope of [
      'self',
      'inherit',
      'read:users!user',
      'servers!user=ada',
      'access:servers!server=ada/',
    ])
      assert.equal((await send(ada, 'POST', 'ada/tokens', { scopes: [scope] })).status, 201, scope)
  })

  it('get the scopes of roles at once, never roles and scopes', async () => {
    const { status, json } = await send(ada, 'POST', 'ada/tokens', { roles: ['user'] })
    assert.deepEqual([status, (json['scopes'] as string[]).length, json['roles']], [201, 15, []])
    for (const [body, message] of [
      [{ roles: ['user'], scopes: ['self'] }, /not both/],
      [{ roles: ['user', 'nothing'] }, /do not exist: nothing/],
      [{ roles: ['admin'] }, /Not assigning requested scopes/],
      [{ scopes: ['all'] }, /is "inherit" meant/],
      [{ note: ['x'] }, /note/],
      [{ expires_in: -1 }, /expires_in/],
      [{ expires_in: 1e300 }, /expires_in/],
    ] as const) {
      const refused = await send(ada, 'POST', 'ada/tokens', body)
      assert.equal(refused.status, 400, JSON.stringify(body))
      assert.match(String(refused.json['message']), message)
    }
  })

  it('are made by whoever may make them, up to what their owner has', async () => {
    const root = (await test.operator.createToken('root', { scopes: ['tokens!user=ada'] })).token
    const { status, json } = await send(root, 'POST', 'ada/tokens', {})
    assert.deepEqual(
      [status, json['user'], json['note']],
      [201, 'ada', 'Requested via api by user root'],
    )
    const excess = await send(root, 'POST', 'ada/tokens', { scopes: ['admin:users'] })
    assert.equal(excess.status, 400)
    for (const other of ['bob', 'nobody'])
      assert.equal((await send(root, 'POST', `${other}/tokens`, {})).status, 403)
  })

  it('are given for login data, to strangers, and only to those who may log in', async () => {
    const post = async (user: string, auth: unknown) => {
      const response = await fetch(`${test.origin}/hub/api/users/${user}/tokens`, {
        method: 'POST',
        headers: { Origin: 'https://elsewhere.example' },
        body: JSON.stringify({ auth, note: 'cli' }),
      })
      return { status: response.status, json: (await response.json()) as Record<string, unknown> }
    }
    const { status, json } = await post('ada', { username: 'ada', password: 'sesame' })
    assert.deepEqual([status, json['note']], [201, 'cli'])
    assert.equal((await send(String(json['token']), 'GET', 'ada')).status, 200)
    for (const [user, auth] of [
      ['bob', { username: 'ada', password: 'sesame' }],
      ['ada', { username: 'ada', password: 'wrong' }],
      ['ada', { username: ['ada'], password: 1 }],
      ['ada', {}],
      ['ada', null],
    ] as const)
      assert.equal((await post(user, auth)).status, 403, JSON.stringify([user, auth]))
  })

  it('end at once when they are revoked, and other people’s cannot be', async () => {
    const { json } = await send(ada, 'POST', 'ada/tokens', {})
    const [token, id] = [String(json['token']), String(json['id'])]
    assert.equal((await send(token, 'GET', 'ada')).status, 200)
    const bob = (await test.operator.createToken('bob')).token
    assert.equal((await send(bob, 'DELETE', `ada/tokens/${id}`)).status, 404)
    assert.equal((await send(bob, 'DELETE', `bob/tokens/${id}`)).status, 404)
    assert.equal((await send(bob, 'GET', `bob/tokens/${id}`)).status, 404)
    assert.equal((await send(token, 'GET', 'ada')).status, 200)
    assert.equal((await send(ada, 'DELETE', `ada/tokens/${id}`)).status, 204)
    assert.equal((await send(token, 'GET', 'ada')).status, 403)
    assert.equal((await send(ada, 'DELETE', `ada/tokens/${id}`)).status, 404)
  })

  it('can revoke themselves', async () => {
    const { json } = await send(ada, 'POST', 'ada/tokens', {})
    const token = String(json['token'])
    assert.equal((await send(token, 'DELETE', `ada/tokens/${String(json['id'])}`)).status, 204)
    assert.equal((await send(token, 'GET', 'ada')).status, 403)
  })

  it('end with their expiry, without anybody asking', async () => {
    const { json } = await send(ada, 'POST', 'ada/tokens', { expires_in: 1 })
    const token = String(json['token'])
    assert.equal((await send(token, 'GET', 'ada')).status, 200)
    await until('it has expired', async () => (await send(token, 'GET', 'ada')).status === 403)
    const { json: list } = await send(ada, 'GET', 'ada/tokens')
    const ids = (list['api_tokens'] as { id: string }[]).map(({ id }) => id)
    assert.ok(!ids.includes(String(json['id'])))
  })

  it('end with their owner', async () => {
    await test.operator.createUsers(['carl'])
    const { token } = await test.operator.createToken('carl')
    assert.equal((await send(token, 'GET', 'carl')).status, 200)
    await test.operator.deleteUser('carl')
    assert.equal((await send(token, 'GET', 'carl')).status, 403)
    await test.operator.createUsers(['carl'])
    assert.equal((await send(token, 'GET', 'carl')).status, 403)
  })

  it('go on under the new name when their owner is renamed', async () => {
    await test.operator.createUsers(['dora'])
    const { token } = await test.operator.createToken('dora')
    await test.operator.updateUser('dora', { name: 'dorothea' })
    assert.equal((await send(token, 'GET', 'dora')).status, 404)
    assert.equal((await send(token, 'GET', 'dorothea')).status, 200)
  })
})
