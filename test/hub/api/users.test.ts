import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

type Model = Record<string, unknown>

describe('users in the API', () => {
  let test: TestHub
  let root = ''
  const names = Array.from({ length: 7 }, (_, index) => `user${index}`)

  before(async () => {
    test = await startTestHub({
      config: { hub: { adminUsers: ['root'], apiPageDefaultLimit: 3, apiPageMaxLimit: 5 } },
    })
    await test.operator.createUsers(names)
    root = (await test.operator.createToken('root')).token
  })
  after(() => test[Symbol.asyncDispose]())

  async function send(
    method: string,
    path: string,
    more: { body?: unknown; token?: string; accept?: string } = {},
  ) {
    const { body, token = root, accept } = more
    const response = await fetch(`${test.origin}/hub/api/${path}`, {
      method,
      headers: {
        Authorization: `token ${token}`,
        ...(accept === undefined ? {} : { Accept: accept }),
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    })
    const text = await response.text()
    return { status: response.status, json: (text === '' ? null : JSON.parse(text)) as unknown }
  }

  const listed = async (query: string) =>
    ((await send('GET', `users${query}`)).json as Model[]).map((user) => user['name'])

  it('come in pages for clients that ask, with the address of the next one', async () => {
    const accept = 'application/json, application/jupyterhub-pagination+json'
    const first = (await send('GET', 'users?sort=name&x=1', { accept })).json as {
      items: Model[]
      _pagination: { total: number; next: { url: string; offset: number; limit: number } }
    }
    assert.equal(first.items.length, 3)
    assert.equal(first._pagination.total, 8)
    const { url, ...next } = first._pagination.next
    assert.deepEqual(next, { offset: 3, limit: 3 })
    assert.equal(url, `${test.origin}/hub/api/users?sort=name&x=1&offset=3&limit=3`)
    const last = (await send('GET', 'users?offset=6&limit=99', { accept })).json as typeof first
    assert.equal(last._pagination.next, null)
    assert.equal(last._pagination.total, 8)
  })

  it('come as a bare list otherwise, cut at the limit', async () => {
    assert.deepEqual(await listed('?sort=name'), ['root', ...names.slice(0, 4)])
    assert.deepEqual(await listed('?sort=-name&limit=2'), ['user6', 'user5'])
    assert.deepEqual(await listed('?offset=6'), names.slice(5))
    assert.deepEqual(await listed('?limit=0'), ['root'])
  })

  it('are found by a part of their name, taken literally', async () => {
    assert.deepEqual(await listed('?name_filter=SER3'), ['user3'])
    for (const part of ['%25', '_', '%5C', "'"])
      assert.deepEqual(await listed(`?name_filter=${part}`), [])
  })

  it('are found by the state of their servers', async () => {
    await test.operator.startServer('user1')
    assert.deepEqual(await listed('?state=ready'), ['user1'])
    assert.deepEqual(await listed('?state=active'), ['user1'])
    assert.ok(!(await listed('?state=inactive')).includes('user1'))
    await test.operator.stopServer('user1')
    assert.deepEqual(await listed('?state=ready'), [])
  })

  it('are made once', async () => {
    const made = await send('POST', 'users', { body: { usernames: ['New', 'new', 'user1'] } })
    assert.equal(made.status, 201)
    assert.deepEqual(
      (made.json as Model[]).map((user) => user['name']),
      ['new'],
    )
    const again = await send('POST', 'users', { body: { usernames: ['new', 'user1'] } })
    assert.equal(again.status, 409)
    assert.match(JSON.stringify(again.json), /All 2 users already exist/)
    const invalid = await send('POST', 'users', { body: { usernames: ['fine', 'a/b', '..'] } })
    assert.equal(invalid.status, 400)
    assert.match(JSON.stringify(invalid.json), /Invalid usernames: a\/b, \.\./)
    assert.equal((await send('GET', 'users/fine')).status, 404)
    await test.operator.deleteUser('new')
  })

  it('show as much as the scopes of the caller allow', async () => {
    const seen = async (...scopes: readonly string[]) => {
      const { token } = await test.operator.createToken('root', { scopes })
      const { status, json } = await send('GET', 'users/user0', { token })
      return status === 200 ? Object.keys(json as Model).toSorted() : status
    }
    assert.deepEqual(await seen('read:users:name'), ['admin', 'kind', 'name', 'user_info'])
    assert.deepEqual(await seen('read:users:groups'), ['groups', 'kind', 'name'])
    assert.deepEqual(await seen('read:users:activity'), ['kind', 'last_activity', 'name'])
    assert.deepEqual(await seen('read:roles:users'), ['admin', 'kind', 'name', 'roles'])
    assert.deepEqual(await seen('read:users'), [
      'admin',
      'created',
      'groups',
      'kind',
      'last_activity',
      'name',
      'pending',
      'roles',
      'server',
      'user_info',
    ])
    const all = await seen('inherit')
    assert.ok(Array.isArray(all) && all.includes('servers') && all.includes('auth_state'))
    assert.equal(await seen('read:users!user=user1'), 404)
    assert.equal(await seen('read:hub'), 404, 'every token may read its owner’s name')
  })

  it('keep the state of a spawner to those who may see it', async () => {
    await test.operator.startServer('user2')
    const states = async (scopes: readonly string[]) => {
      const { token } = await test.operator.createToken('root', { scopes })
      const { json } = await send('GET', 'users/user2/server', { token })
      return 'state' in (json as Model)
    }
    assert.equal(await states(['read:servers']), false)
    assert.equal(await states(['admin:server_state', 'read:servers']), true)
    await test.operator.stopServer('user2')
  })

  it('become and cease to be admins at once, also for tokens they hold', async () => {
    const { token } = await test.operator.createToken('user4')
    assert.equal((await send('GET', 'info', { token })).status, 403)
    const raised = await send('PATCH', 'users/user4', { body: { admin: true } })
    assert.equal((raised.json as Model)['admin'], true)
    assert.equal((raised.json as Model)['auth_state'], null)
    assert.equal((await send('GET', 'info', { token })).status, 200)
    await send('PATCH', 'users/user4', { body: { admin: false } })
    assert.equal((await send('GET', 'info', { token })).status, 403)
  })

  it('keep their running server through a refused rename, and lose it when deleted', async () => {
    await test.operator.startServer('user5')
    assert.equal((await send('PATCH', 'users/user5', { body: { name: 'other' } })).status, 409)
    assert.equal((await test.operator.server('user5')).ready, true)
    await test.operator.deleteUser('user5')
    const gone = await fetch(`${test.origin}/user/user5/`, { redirect: 'manual' })
    assert.notEqual(gone.status, 200)
  })

  it('record activity that has been, never what will be', async () => {
    const activity = async () =>
      ((await send('GET', 'users/user6')).json as { last_activity: string }).last_activity
    const report = (last_activity: string) =>
      send('POST', 'users/user6/activity', { body: { last_activity } })
    assert.equal((await report('2026-01-02T03:04:05.678901Z')).status, 200)
    assert.equal(await activity(), '2026-01-02T03:04:05.678Z')
    assert.equal((await report('2026-01-02T05:00:00+01:00')).status, 200)
    assert.equal(await activity(), '2026-01-02T04:00:00.000Z')
    assert.equal((await report('2025-01-01T00:00:00')).status, 200)
    assert.equal(await activity(), '2026-01-02T04:00:00.000Z', 'it only moves forward')
    const soon = new Date(Date.now() + 3_600_000).toISOString()
    assert.equal((await report(soon)).status, 400)
  })

  it('are told apart from services and operators at /user', async () => {
    const operator = (await test.operator.caller()) as unknown as Model
    assert.equal(operator['kind'], 'operator')
    const own = (await send('GET', 'user')).json as Model
    assert.equal(own['name'], 'root')
    assert.match(String(own['token_id']), /^a\d+$/)
    assert.equal(own['session_id'], null)
    const scopes = own['scopes'] as string[]
    assert.deepEqual(scopes, scopes.toSorted())
    assert.ok(scopes.includes('admin:users') && !scopes.includes('inherit'))
  })
})
