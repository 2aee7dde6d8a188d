import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import {
  expandScopes,
  intersectScopes,
  isScope,
  type ScopeOwner,
} from '../../../packages/core/scopes.ts'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const sorted = (scopes: Iterable<string>): readonly string[] => [...scopes].toSorted()

/** Raw scopes of somebody, and what comes of them (JupyterHub's tests of expansion). */
const expansions: readonly (readonly [ScopeOwner, readonly string[], readonly string[]])[] = [
  [{}, [], []],
  [{}, ['list:groups'], ['list:groups', 'read:groups:name']],
  [{}, ['read:servers!user'], []],
  [
    { userName: 'ada' },
    ['read:servers!user'],
    ['read:servers!user=ada', 'read:users:name!user=ada'],
  ],
  [{ userName: 'ada' }, ['tokens!group=g', 'read:tokens'], ['read:tokens', 'tokens!group=g']],
  [
    {},
    ['read:users'],
    ['read:users', 'read:users:activity', 'read:users:groups', 'read:users:name'],
  ],
  [
    {},
    ['users:activity!user=ada', 'read:users:activity!user=bob'],
    ['read:users:activity!user=ada', 'read:users:activity!user=bob', 'users:activity!user=ada'],
  ],
  [
    {},
    ['servers!server=ada/'],
    [
      'delete:servers!server=ada/',
      'read:servers!server=ada/',
      'servers!server=ada/',
      'start:servers!server=ada/',
    ],
  ],
  [{ server: 'ada/lab' }, ['access:servers!server'], ['access:servers!server=ada/lab']],
  [{ userName: 'ada' }, ['access:servers!server'], []],
  [{ serviceName: 'grader' }, ['access:services!service'], ['access:services!service=grader']],
  [{ serviceName: 'grader' }, ['self', 'users:activity!user'], []],
  [{ userName: 'ada' }, ['no:such', 'list:users!nonsense=x', 'users!'], []],
  [
    {},
    ['admin:servers!user=ada', 'admin:servers'],
    [
      'admin:server_state',
      'admin:servers',
      'delete:servers',
      'read:servers',
      'read:users:name',
      'servers',
      'start:servers',
    ],
  ],
]

const groupsOf = (user: string): readonly string[] => (user === 'in-g1' ? ['g1'] : [])

/** Two expanded sets and what both allow (JupyterHub's tests of intersection). */
const intersections: readonly (readonly [
  left: readonly string[],
  right: readonly string[],
  both: readonly string[],
])[] = [
  [['read:users'], ['read:users'], ['read:users']],
  [['read:users'], ['read:users!user=x'], ['read:users!user=x']],
  [['read:users!user=x'], ['read:users!user=y'], []],
  [
    ['read:users!user=x', 'read:users!user=y'],
    ['read:users!user=y', 'read:users!user=z'],
    ['read:users!user=y'],
  ],
  [['read:users!group=a'], ['read:users!group=b'], []],
  [['read:users!group=a'], ['read:users!group=a', 'read:users!user=x'], ['read:users!group=a']],
  [['servers!user=x'], ['servers!server=x/y'], ['servers!server=x/y']],
  [['servers!server=x/y'], ['servers!user=y'], []],
  [['servers!server=x/'], ['servers!server=x/y'], []],
  [['servers!user=in-g1'], ['servers!group=g1'], ['servers!user=in-g1']],
  [['servers!server=in-g1/s'], ['servers!group=g1'], ['servers!server=in-g1/s']],
  [['servers!user=out'], ['servers!group=g1'], []],
  [['read:users', 'tokens'], ['tokens!user=x', 'read:hub'], ['tokens!user=x']],
  [['read:users!user=x'], ['read:users:name!user=x'], []],
]

/** What each scope on ada lets its holder see of her (JupyterHub's tests of models). */
const models: readonly (readonly [scopes: readonly string[], keys: string | null])[] = [
  [['read:users:name!user=ada'], 'admin kind name user_info'],
  [['read:users:groups!user=ada'], 'groups kind name'],
  [['read:users:activity!user=ada'], 'kind last_activity name'],
  [['read:roles:users!user=ada'], 'admin kind name roles'],
  [['read:servers!user=ada'], 'admin kind name servers user_info'],
  [['read:servers!server=ada/'], null],
  [['read:servers!server=ada/', 'read:users:groups!user=ada'], 'groups kind name servers'],
  [['read:servers!server=ada/none'], null],
  [
    ['read:users!user=ada'],
    'admin created groups kind last_activity name pending roles server user_info',
  ],
  [
    ['admin:users!group=team'],
    'admin auth_state created groups kind last_activity name pending roles server user_info',
  ],
  [['read:users:name!group=other'], null],
  [['read:users:name!user=bob'], null],
]

describe("JupyterHub's tests of scopes", () => {
  let test: TestHub
  let root: CallApi

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['root'],
          allowNamedServers: true,
          loadGroups: { team: ['ada'], other: ['bob'] },
          loadRoles: [
            { name: 'self-only', scopes: ['read:users!user'], services: ['grader'] },
            {
              name: 'team-lead',
              scopes: ['servers!group=team', 'list:users!group=team'],
              users: ['lea'],
            },
          ],
        },
        services: [{ name: 'grader', apiToken: 'token-of-the-service-grader' }],
      },
    })
    await test.operator.startServer('ada')
    root = apiCaller(test, (await test.operator.createToken('root')).token)
  })
  after(() => test[Symbol.asyncDispose]())

  const callerWith = async (user: string, scopes: readonly string[]) =>
    apiCaller(test, (await test.operator.createToken(user, { scopes })).token)

  for (const [owner, raw, expanded] of expansions)
    it(`expand ${JSON.stringify(raw)} of ${JSON.stringify(owner)}`, () => {
      assert.deepEqual(sorted(expandScopes(raw, owner)), expanded)
    })

  for (const [left, right, both] of intersections)
    it(`allow both ${JSON.stringify(left)} and ${JSON.stringify(right)}`, () => {
      const found = intersectScopes(new Set(left), new Set(right), groupsOf)
      assert.deepEqual(sorted(found), sorted(both))
    })

  it('know which texts are scopes', () => {
    for (const scope of [
      'users',
      'users!user=a',
      'servers!server=a/b',
      'servers!server=a/',
      'users!user',
    ])
      assert.ok(isScope(scope), scope)
    for (const scope of [
      '',
      'user',
      'users!',
      'users!a=b',
      'servers!server=a',
      'users!group',
      'all',
    ])
      assert.ok(!isScope(scope), scope)
  })

  for (const [scopes, keys] of models)
    it(`show of a user by ${scopes.join()}: ${keys ?? 'nothing'}`, async () => {
      const call = await callerWith('root', scopes)
      const { status, json } = await call('GET', 'users/ada')
      assert.equal(status, keys === null ? 404 : 200)
      if (keys !== null) assert.equal(Object.keys(json).toSorted().join(' '), keys)
    })

  it('leave a user with no share in a list where nothing of them may be seen', async () => {
    const names = async (call: CallApi, query = '') => {
      const { text } = await call('GET', `users${query}`)
      return (JSON.parse(text) as { name: string }[]).map(({ name }) => name)
    }
    const team = await callerWith('root', ['list:users!group=team'])
    assert.deepEqual(await names(team), ['ada'])
    const both = await callerWith('root', ['list:users!group=team', 'list:users!user=bob'])
    assert.deepEqual((await names(both)).toSorted(), ['ada', 'bob'])
    const lea = await callerWith('lea', ['inherit'])
    assert.deepEqual(await names(lea), ['ada'])
    assert.equal((await lea('GET', 'users/ada/server')).json['ready'], true)
    assert.equal((await lea('GET', 'users/bob/server')).status, 404)
    assert.equal((await lea('DELETE', 'users/bob')).status, 403)
  })

  it('follow the groups of users at once', async () => {
    const lea = await callerWith('lea', ['inherit'])
    assert.equal((await lea('GET', 'users/bob/server')).status, 404)
    assert.equal((await root('POST', 'groups/team/users', { users: ['bob'] })).status, 200)
    assert.equal((await lea('GET', 'users/bob/server')).status, 200)
    assert.equal((await root('DELETE', 'groups/team/users', { users: ['bob'] })).status, 200)
    assert.equal((await lea('GET', 'users/bob/server')).status, 404)
  })

  it('give a service nothing by a filter that stands for a user', async () => {
    const grader = apiCaller(test, 'token-of-the-service-grader')
    assert.deepEqual((await grader('GET', 'user')).json['scopes'], [])
    assert.equal((await grader('GET', 'users/ada')).status, 403)
    assert.equal((await grader('GET', 'services/grader')).status, 403)
  })

  it('make of a token’s scopes what its owner has, also when that shrinks', async () => {
    const call = await callerWith('root', ['read:users', 'servers!user=ada'])
    const own = ['read:users', 'read:users:activity', 'read:users:groups', 'read:users:name']
    const scopes = (await call('GET', 'user')).json['scopes'] as string[]
    assert.deepEqual(
      scopes.filter((scope) => !scope.includes('!')),
      own,
    )
    assert.ok(scopes.includes('start:servers!user=ada'))
    await root('POST', 'users/temp', { admin: true })
    const temp = await callerWith('temp', ['read:hub', 'read:users!user=temp'])
    assert.equal((await temp('GET', 'info')).status, 200)
    assert.equal((await root('PATCH', 'users/temp', { admin: false })).status, 200)
    assert.equal((await temp('GET', 'info')).status, 403)
    assert.equal((await temp('GET', 'users/temp')).status, 200)
  })

  it('show the state of a server to those alone who may see it', async () => {
    const plain = await callerWith('root', ['read:servers!user=ada'])
    const { json } = await plain('GET', 'users/ada/server')
    assert.ok(!('state' in json))
    const admin = await callerWith('root', ['read:servers!user=ada', 'admin:server_state!user=ada'])
    const full = await admin('GET', 'users/ada/server')
    assert.ok('state' in full.json)
    const { json: user } = await admin('GET', 'users/ada')
    const servers = user['servers'] as Record<string, Record<string, unknown>>
    assert.ok('state' in (servers[''] ?? {}))
  })
})
