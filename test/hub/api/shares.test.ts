import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

type Model = Record<string, unknown>

const sharing = ['shares!user', 'read:users:name', 'read:groups:name', 'read:groups:shares']

describe('shares in the API', () => {
  let test: TestHub
  let root: CallApi
  let ada: CallApi
  let bob: CallApi

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['root'],
          allowNamedServers: true,
          loadGroups: { team: ['bob', 'cy'] },
          loadRoles: [{ name: 'sharer', scopes: sharing, users: ['ada'] }],
        },
      },
    })
    await test.operator
      .createUsers(['ada', 'bob', 'cy', 'dan', 'eve', 'old'])
      .catch(() => undefined)
    root = await callerFor('root')
    ada = await callerFor('ada')
    bob = await callerFor('bob')
    await root('PUT', 'users/ada/servers/lab')
  })
  after(() => test[Symbol.asyncDispose]())

  const callerFor = async (name: string) =>
    apiCaller(test, (await test.operator.createToken(name)).token)

  const scopesOf = async (call: CallApi) => (await call('GET', 'user')).json['scopes'] as string[]

  const items = ({ json }: { readonly json: Model }) => json['items'] as Model[]

  it('give access to a server, and tell whom and what', async () => {
    const { status, json } = await ada('POST', 'shares/ada/lab', { user: 'bob' })
    assert.equal(status, 200)
    const { created_at: created, ...rest } = json
    assert.match(String(created), /^\d{4}-.*Z$/)
    assert.deepEqual(rest, {
      server: {
        user: { name: 'ada' },
        name: 'lab',
        url: '/user/ada/lab/',
        full_url: null,
        ready: false,
      },
      scopes: ['access:servers!server=ada/lab'],
      user: { name: 'bob' },
      group: null,
      kind: 'user',
    })
    assert.ok((await scopesOf(bob)).includes('access:servers!server=ada/lab'))
    assert.ok(!(await scopesOf(bob)).includes('access:servers!server=ada/'))
  })

  it('grow with each grant, expand like other scopes, and shrink again', async () => {
    const scopes = ['servers!server=ada/lab']
    const refused = await ada('POST', 'shares/ada/lab', { user: 'bob', scopes: ['proxy'] })
    assert.equal(refused.status, 403)
    const more = await ada('POST', 'shares/ada/lab', { user: 'bob', scopes })
    assert.deepEqual(more.json['scopes'], ['access:servers!server=ada/lab', ...scopes])
    assert.ok((await scopesOf(bob)).includes('start:servers!server=ada/lab'))
    assert.equal((await bob('GET', 'users/ada/servers/lab')).status, 200)
    const less = await ada('PATCH', 'shares/ada/lab', { user: 'bob', scopes })
    assert.deepEqual(less.json['scopes'], ['access:servers!server=ada/lab'])
    assert.equal((await bob('GET', 'users/ada/servers/lab')).status, 404)
    const none = await ada('PATCH', 'shares/ada/lab', { user: 'bob' })
    assert.equal(none.status, 200)
    assert.deepEqual(none.json, {})
    assert.ok(!(await scopesOf(bob)).includes('access:servers!server=ada/lab'))
    assert.deepEqual((await ada('PATCH', 'shares/ada/lab', { user: 'bob' })).json, {})
    assert.deepEqual((await ada('PATCH', 'shares/ada/lab', { user: 'nobody' })).json, {})
  })

  it('are made by clients that write down what they leave out', async () => {
    const body = { user: 'bob', group: null, scopes: null }
    const { json } = await ada('POST', 'shares/ada/lab', body)
    assert.deepEqual(json['scopes'], ['access:servers!server=ada/lab'])
    const code = await ada('POST', 'share-codes/ada/lab', { scopes: [] })
    assert.deepEqual(code.json['scopes'], ['access:servers!server=ada/lab'])
    assert.deepEqual((await ada('PATCH', 'shares/ada/lab', body)).json, {})
    await ada('DELETE', 'share-codes/ada/lab')
  })

  it('to a group count for its members, and come in pages', async () => {
    assert.equal((await ada('POST', 'shares/ada/lab', { group: 'team' })).json['kind'], 'group')
    await ada('POST', 'shares/ada/', { user: 'bob' })
    assert.ok((await scopesOf(bob)).includes('access:servers!server=ada/lab'))
    assert.ok((await scopesOf(bob)).includes('access:servers!server=ada/'))
    const all = await bob('GET', 'users/bob/shared')
    assert.deepEqual(
      items(all).map((share) => share['kind']),
      ['group', 'user'],
    )
    assert.equal((all.json['_pagination'] as Model)['total'], 2)
    const first = await ada('GET', 'shares/ada?limit=1')
    assert.equal(items(first).length, 1)
    const next = (first.json['_pagination'] as Model)['next'] as Model
    assert.equal(next['offset'], 1)
    assert.equal(items(await ada('GET', 'shares/ada/lab')).length, 1)
    assert.equal(items(await ada('GET', 'shares/ada/')).length, 1)
    assert.equal(items(await ada('GET', 'groups/team/shared')).length, 1)
    assert.equal((await ada('GET', 'groups/team/shared/ada/lab')).status, 200)
    assert.equal((await bob('GET', 'users/bob/shared/ada/lab')).status, 404)
    assert.equal((await bob('GET', 'users/bob/shared/ada/')).status, 200)
  })

  it('are left by whom they were made to', async () => {
    await ada('POST', 'shares/ada/lab', { user: 'bob' })
    assert.equal((await bob('DELETE', 'users/bob/shared/ada/lab')).status, 204)
    assert.equal((await bob('DELETE', 'users/bob/shared/ada/lab')).status, 404)
    assert.equal((await bob('DELETE', 'groups/team/shared/ada/lab')).status, 403)
    assert.equal((await root('DELETE', 'groups/team/shared/ada/lab')).status, 204)
    assert.ok(!(await scopesOf(bob)).includes('access:servers!server=ada/lab'))
  })

  const refused: readonly (readonly [body: unknown, status: number])[] = [
    [{}, 400],
    [[], 400],
    ['x', 400],
    [{ user: 'bob', group: 'team' }, 400],
    [{ user: 'bob', more: 1 }, 400],
    [{ user: 3 }, 400],
    [{ user: 'nobody' }, 400],
    [{ group: 'none' }, 400],
    [{ user: 'ada' }, 400],
    [{ user: 'bob', scopes: 'access:servers' }, 400],
    [{ user: null, group: null }, 400],
    [{ user: 'bob', scopes: ['no:such'] }, 400],
    [{ user: 'bob', scopes: ['self'] }, 400],
    [{ user: 'bob', scopes: ['access:servers!user=ada'] }, 400],
    [{ user: 'bob', scopes: ['access:servers!server=ada/other'] }, 400],
    [{ user: 'bob', scopes: ['admin:users'] }, 403],
  ]
  for (const [body, wanted] of refused)
    it(`are not made by ${JSON.stringify(body)}`, async () => {
      assert.equal((await ada('POST', 'shares/ada/lab', body)).status, wanted)
    })

  it('are made by those alone who may share, know whom, and have what they share', async () => {
    assert.equal((await bob('POST', 'shares/bob/', { user: 'ada' })).status, 403)
    assert.equal((await ada('POST', 'shares/bob/', { user: 'cy' })).status, 404)
    assert.equal((await ada('POST', 'shares/ada/none', { user: 'cy' })).status, 404)
    for (const method of ['POST', 'PATCH', 'DELETE'])
      assert.equal((await root(method, 'shares/ada', { user: 'cy' })).status, 405)
    const { json } = await root('POST', 'users/ada/tokens', { scopes: ['shares!server=ada/lab'] })
    const narrow = apiCaller(test, String(json['token']))
    const unknown = await narrow('POST', 'shares/ada/lab', { user: 'bob' })
    assert.equal(unknown.status, 403)
    assert.match(unknown.text, /read:users:name!user=bob/)
    assert.equal((await narrow('GET', 'shares/ada')).status, 404)
  })

  it('end with the server, and follow it when it or its owner is renamed', async () => {
    const old = apiCaller(test, (await test.operator.createToken('root')).token)
    await old('PUT', 'users/old/servers/x')
    await old('POST', 'shares/old/x', { user: 'bob' })
    await old('PATCH', 'users/old/servers/x', { name: 'y' })
    assert.ok((await scopesOf(bob)).includes('access:servers!server=old/y'))
    assert.ok(!(await scopesOf(bob)).includes('access:servers!server=old/x'))
    await old('PATCH', 'users/old', { name: 'newer' })
    assert.ok((await scopesOf(bob)).includes('access:servers!server=newer/y'))
    await old('DELETE', 'users/newer/servers/y', { remove: true })
    await old('PUT', 'users/newer/servers/y')
    assert.ok(!(await scopesOf(bob)).includes('access:servers!server=newer/y'))
    await old('POST', 'shares/newer/y', { user: 'dan' })
    const dan = await callerFor('dan')
    assert.ok((await scopesOf(dan)).includes('access:servers!server=newer/y'))
    await old('DELETE', 'users/newer')
    assert.ok(!(await scopesOf(dan)).includes('access:servers!server=newer/y'))
  })

  describe('by code', () => {
    it('are offered for a while, listed without the code, and deleted', async () => {
      const { status, json } = await ada('POST', 'share-codes/ada/lab')
      assert.equal(status, 200)
      const code = String(json['code'])
      assert.match(code, /^[\w-]{43}$/)
      assert.equal(json['accept_url'], `/hub/accept-share?code=${code}`)
      assert.equal(json['full_accept_url'], null)
      assert.match(String(json['id']), /^sc_\d+$/)
      assert.equal(json['exchange_count'], 0)
      assert.equal(json['last_exchanged_at'], null)
      const life = Date.parse(String(json['expires_at'])) - Date.parse(String(json['created_at']))
      assert.equal(life, 86_400_000)
      const [listed] = items(await ada('GET', 'share-codes/ada/lab'))
      assert.equal(listed?.['id'], json['id'])
      assert.ok(!('code' in (listed ?? {})))
      assert.equal(items(await ada('GET', 'share-codes/ada')).length, 1)
      assert.equal((await ada('DELETE', `share-codes/ada/lab?code=${code}`)).status, 204)
      assert.equal((await ada('DELETE', `share-codes/ada/lab?code=${code}`)).status, 404)
      const second = await ada('POST', 'share-codes/ada/lab', { expires_in: 60 })
      const id = String(second.json['id'])
      assert.equal((await ada('DELETE', `share-codes/ada/?id=${id}`)).status, 404)
      assert.equal((await ada('DELETE', `share-codes/ada/lab?id=${id}`)).status, 204)
      assert.equal((await ada('DELETE', 'share-codes/ada/lab?id=1')).status, 404)
      await ada('POST', 'share-codes/ada/lab')
      assert.equal((await ada('DELETE', 'share-codes/ada/lab')).status, 204)
      assert.deepEqual(items(await ada('GET', 'share-codes/ada')), [])
    })

    for (const body of [
      { expires_in: 59 },
      { expires_in: 31_536_001 },
      { expires_in: '60' },
      { expires_in: null },
      { scopes: ['no:such'] },
      { user: 'bob' },
    ])
      it(`are not offered by ${JSON.stringify(body)}`, async () => {
        assert.equal((await ada('POST', 'share-codes/ada/lab', body)).status, 400)
      })
  })
})
