import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type HubUnderAttack, startHubUnderAttack } from '../../support/hub-under-attack.ts'

describe('a bad body', () => {
  let test: HubUnderAttack

  before(async () => {
    test = await startHubUnderAttack()
  })
  after(() => test[Symbol.asyncDispose]())

  it('that is no JSON object is a 400 that says so', async () => {
    const deep = (open: string, close: string, depth: number) =>
      open.repeat(depth) + close.repeat(depth)
    const everywhere = [
      '{',
      'nonsense',
      '[]',
      '"x"',
      '1',
      'true',
      'NaN',
      '{"a":NaN}',
      '{"a":1,}',
      "{'a':1}",
    ]
    everywhere.push(
      deep('[', ']', 400_000),
      deep('{"a":', '}', 100_000),
      '\u0000',
      '\uFEFF{',
      '[null]',
    )
    const calls = [
      ['POST', 'users'],
      ['POST', 'users/new'],
      ['PATCH', 'users/root'],
      ['POST', 'shutdown'],
    ]
    calls.push(
      ['POST', 'users/root/tokens'],
      ['POST', 'users/root/activity'],
      ['DELETE', 'users/root/server'],
    )
    calls.push(['POST', 'users/root/server'])
    for (const [method = '', path = ''] of calls)
      for (const body of everywhere) {
        const answer = await test.send(method, `/hub/api/${path}`, body)
        assert.equal(answer.status, 400, `${method} ${path} ${body.slice(0, 50)}: ${answer.body}`)
        const { message } = JSON.parse(answer.body) as { message: string }
        assert.ok(message.length > 5 && message.length < 2000)
      }
  })

  it('of the wrong type is a 400', async () => {
    const cases: Record<string, readonly unknown[]> = {
      'POST users': [
        { usernames: 'abc' },
        { usernames: [1] },
        { usernames: [null] },
        { usernames: [['a']] },
        { usernames: [] },
        { usernames: {} },
        { usernames: ['x'], admin: 'yes' },
        { usernames: ['x'], nonsense: 1 },
        {},
      ],
      'POST users/new': [{ admin: 1 }, { nonsense: true }],
      'PATCH users/root': [
        { name: 1 },
        { name: ['x'] },
        { admin: 'true' },
        { admin: null },
        { x: 1 },
      ],
      'POST users/root/tokens': [
        { note: ['x'] },
        { note: 'x'.repeat(5000) },
        { expires_in: 'soon' },
        { expires_in: -1 },
        { expires_in: 1.5 },
        { expires_in: 1e300 },
        { expires_in: 9_007_199_254_740_991 },
        { expires_in: 8_640_000_000_000 },
        { scopes: 'inherit' },
        { scopes: [1] },
        { scopes: ['no:such'] },
        { scopes: ['servers!'] },
        { scopes: ['all'] },
      ],
      'POST users/root/activity': [
        {},
        { last_activity: 'yesterday' },
        { last_activity: 1 },
        { last_activity: '2999-01-01T00:00:00Z' },
        { last_activity: '+275760-09-14' },
        { servers: { '': {} } },
        { servers: { nothing: { last_activity: '2026-01-01T00:00:00Z' } } },
        { servers: { '': { last_activity: null } } },
        { servers: [] },
        {
          last_activity: '2026-01-01T00:00:00Z',
          servers: { constructor: { last_activity: '2026' } },
        },
      ],
      'POST users/root/server': [{ user_options: [] }, { user_options: 'x' }, { user_options: 1 }],
      'DELETE users/root/server': [{ remove: true }],
      'POST shutdown': [{ proxy: 1 }, { servers: 'no' }, { now: true }],
    }
    for (const [call, bodies] of Object.entries(cases))
      for (const body of bodies) {
        const [method = '', path = ''] = call.split(' ')
        const answer = await test.send(method, `/hub/api/${path}`, JSON.stringify(body))
        assert.equal(
          answer.status,
          400,
          `${call} ${JSON.stringify(body).slice(0, 99)}: ${answer.body}`,
        )
      }
    for (const { expires_at } of await test.operator.tokens('root')) assert.equal(expires_at, null)
  })

  it('does not reach prototypes', async () => {
    const body = '{"usernames":["pro"],"__proto__":{"admin":true}}'
    assert.equal((await test.send('POST', '/hub/api/users', body)).status, 201)
    assert.equal((await test.operator.user('pro')).admin, false)
    const nested = '{"user_options":{"__proto__":{"a":1},"constructor":{"prototype":{"b":2}}}}'
    await test.send('POST', '/hub/api/users/pro/server', nested)
    assert.equal(({} as Record<string, unknown>)['a'], undefined)
    assert.equal(({} as Record<string, unknown>)['b'], undefined)
    await test.operator.deleteUser('pro')
  })

  it('in options of a server is kept as data, however deep', async () => {
    await test.operator.createUsers(['opt'])
    for (const depth of [50, 2000, 20_000, 150_000]) {
      const body = `{"user_options":{"a":${'['.repeat(depth)}${']'.repeat(depth)}}}`
      const { status } = await test.send('POST', '/hub/api/users/opt/server', body)
      assert.ok(status === 201 || (status === 400 && depth > 2000), `${depth}: ${status}`)
      await test.operator.stopServer('opt')
    }
    await test.operator.deleteUser('opt')
  })
})
