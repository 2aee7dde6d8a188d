import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

describe('an explanation', () => {
  let test: TestHub
  let boss: CallApi

  before(async () => {
    test = await startTestHub({
      config: {
        services: [{ name: 'culler', apiToken: 'the-token-of-the-culler' }],
        hub: {
          adminUsers: ['boss'],
          loadGroups: { staff: ['ada'] },
          loadRoles: [
            { name: 'cull', scopes: ['read:hub'], services: ['culler'] },
            { name: 'reports', scopes: ['read:metrics', 'list:users'], groups: ['staff'] },
          ],
        },
      },
    })
    boss = apiCaller(test, (await test.operator.createToken('boss')).token)
  })
  after(() => test[Symbol.asyncDispose]())

  const ask = async (query: Record<string, string>, by = boss) =>
    by('GET', `explain?${new URLSearchParams(query).toString()}`)

  it('names the role, and the group that has it', async () => {
    const { json } = await ask({ user: 'ada', scope: 'read:users:name', target: 'user=bob' })
    assert.equal(json['allowed'], true)
    assert.deepEqual(json['because'], [
      { kind: 'role', name: 'reports', group: 'staff', scope: 'list:users' },
    ])
    assert.match(String(json['message']), /the role reports of the group staff \(list:users\)/)
    const own = await ask({ user: 'ada', scope: 'servers', target: 'server=ada/lab' })
    assert.deepEqual(own.json['because'], [
      { kind: 'role', name: 'user', group: null, scope: 'self' },
    ])
  })

  it('says what is missing', async () => {
    const { json } = await ask({ user: 'ada', scope: 'servers!user=boss' })
    assert.deepEqual([json['allowed'], json['because']], [false, []])
    assert.equal(
      json['message'],
      'ada lacks servers!user=boss: no role, group or share grants it (only servers!user=ada)',
    )
  })

  it('tells what a token lacks from what its owner lacks', async () => {
    const scopes = ['read:users!user=ada']
    const { id } = await test.operator.createToken('ada', { scopes })
    const { json } = await ask({ token: id, scope: 'servers', target: 'ada/' })
    assert.deepEqual([json['allowed'], json['by_token']], [false, false])
    assert.match(
      String(json['message']),
      /^token a\d+ of ada lacks .*: the token itself has only read:users!user=ada$/,
    )
    const read = await ask({ token: id, scope: 'read:users', target: 'ada' })
    assert.equal(read.json['allowed'], true)
    const all = await test.operator.createToken('ada')
    const inherited = await ask({ token: all.id, scope: 'read:metrics' })
    assert.deepEqual([inherited.json['allowed'], inherited.json['by_token']], [true, null])
  })

  it('is given to admins and to oneself alone', async () => {
    const ada = apiCaller(test, (await test.operator.createToken('ada')).token)
    assert.equal((await ask({ user: 'ada', scope: 'servers' }, ada)).status, 200)
    for (const user of ['boss', 'nobody'])
      assert.equal((await ask({ user, scope: 'servers' }, ada)).status, 403)
    assert.equal((await ada('GET', 'users/boss?explain')).status, 403)
    const token = await test.operator.createToken('ada', { scopes: ['users:activity!user=ada'] })
    const narrow = apiCaller(test, token.token)
    assert.equal((await ask({ user: 'ada', scope: 'servers' }, narrow)).status, 403)
  })

  it('shows tokens only to those who may read them', async () => {
    const { token } = await test.operator.createToken('boss', { scopes: ['admin:users'] })
    const helpdesk = apiCaller(test, token)
    const { id } = await test.operator.createToken('ada')
    assert.equal((await ask({ user: 'ada', scope: 'servers' }, helpdesk)).status, 200)
    assert.equal((await ask({ token: id, scope: 'servers' }, helpdesk)).status, 403)
    assert.deepEqual((await helpdesk('GET', 'users/ada?explain')).json['tokens'], [])
  })

  it('is given about services by their tokens', async () => {
    const culler = apiCaller(test, 'the-token-of-the-culler')
    assert.equal((await culler('GET', 'info')).status, 200)
    const { json } = await culler('GET', 'user')
    assert.deepEqual([json['kind'], json['name']], ['service', 'culler'])
    const token = String(json['token_id'])
    const { because } = (await ask({ token, scope: 'read:hub' })).json
    assert.deepEqual(because, [{ kind: 'role', name: 'cull', group: null, scope: 'read:hub' }])
    assert.equal((await ask({ token, scope: 'servers' })).json['allowed'], false)
    assert.equal((await ask({ token, scope: 'read:hub' }, culler)).status, 403)
  })

  it('refuses what is no question', async () => {
    for (const query of [
      { scope: 'servers' },
      { user: 'ada', token: 'a1', scope: 'servers' },
      { user: 'ada' },
      { user: 'ada', scope: 'server' },
      { user: 'ada', scope: 'servers', target: 'name=ada' },
    ])
      assert.equal((await ask(query as Record<string, string>)).status, 400, JSON.stringify(query))
    assert.equal((await ask({ token: 'a999', scope: 'servers' })).status, 404)
  })

  it('of a whole user has every scope with what grants it', async () => {
    const { json } = await boss('GET', 'users/ada?explain')
    const scopes = json['scopes'] as Record<string, { name: string }[]>
    assert.deepEqual(
      scopes['read:metrics']?.map(({ name }) => name),
      ['reports'],
    )
    assert.deepEqual(
      scopes['servers!user=ada']?.map(({ name }) => name),
      ['user'],
    )
    const tokens = json['tokens'] as { requested: string[] }[]
    assert.ok(tokens.some(({ requested }) => requested.includes('inherit')))
  })
})
