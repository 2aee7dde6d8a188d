import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { openDatabase } from '../../../hub/store/database.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

/** Who calls: each has a token of their own, but for `nobody`. */
const callers = [
  'nobody',
  'expired',
  'other',
  'owner',
  'narrow',
  'list',
  'groupless',
  'admin',
] as const
type CallerName = (typeof callers)[number]

interface Call {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  /** Status by caller, in the order of `callers`. */
  readonly statuses: readonly [number, number, number, number, number, number, number, number]
}

const call = (line: string, statuses: Call['statuses'], body?: unknown): Call => {
  const [method = '', path = ''] = line.split(' ')
  return { method, path, body, statuses }
}

/**
 * Every endpoint about `ada`, or about the hub. `other` is bob, `owner` ada herself, `narrow` ada's
 * token with `read:users!user=ada` alone, `list` an admin's with `list:users!user=ada`, `groupless`
 * an admin's with `admin:users!group=none`.
 */
const table: readonly Call[] = [
  call('GET ', [200, 200, 200, 200, 200, 200, 200, 200]),
  call('GET health', [200, 200, 200, 200, 200, 200, 200, 200]),
  call('GET info', [403, 403, 403, 403, 403, 403, 403, 200]),
  call('GET user', [403, 403, 200, 200, 200, 200, 200, 200]),
  call('GET users', [403, 403, 403, 403, 403, 200, 200, 200]),
  call('POST users', [403, 403, 403, 403, 403, 403, 403, 409], { usernames: ['ada'] }),
  call('GET users/ada', [403, 403, 404, 200, 200, 200, 404, 200]),
  call('GET users/nobody', [403, 403, 404, 404, 404, 404, 404, 404]),
  call('POST users/ada', [403, 403, 403, 403, 403, 403, 404, 409]),
  call('PATCH users/ada', [403, 403, 403, 403, 403, 403, 404, 200], { name: 'ada' }),
  call('DELETE users/nobody', [403, 403, 403, 403, 403, 403, 404, 404]),
  call('POST users/ada/activity', [403, 403, 404, 200, 403, 403, 404, 200], {
    last_activity: '2026-01-01T00:00:00Z',
  }),
  call('GET users/ada/tokens', [403, 403, 404, 200, 403, 403, 403, 200]),
  call('POST users/ada/tokens', [403, 403, 403, 201, 403, 403, 403, 201], { expires_in: 60 }),
  call('POST users/nobody/tokens', [403, 403, 403, 403, 403, 403, 403, 403]),
  call('GET users/ada/tokens/a999', [403, 403, 404, 404, 403, 403, 403, 404]),
  call('DELETE users/ada/tokens/a999', [403, 403, 404, 404, 403, 403, 403, 404]),
  call('GET users/ada/server', [403, 403, 404, 200, 403, 403, 403, 200]),
  call('GET users/ada/servers/', [403, 403, 404, 200, 403, 403, 403, 200]),
  call('GET users/ada/servers/none', [403, 403, 404, 404, 403, 403, 403, 404]),
  call('POST users/ada/server', [403, 403, 404, 201, 403, 403, 403, 400]),
  call('GET users/ada/server/progress', [403, 403, 404, 200, 403, 403, 403, 200]),
  call('DELETE users/ada/server', [403, 403, 404, 204, 403, 403, 403, 204]),
  call('GET proxy', [403, 403, 403, 403, 403, 403, 403, 200]),
  call('POST proxy', [403, 403, 403, 403, 403, 403, 403, 200]),
  call('POST shutdown', [403, 403, 403, 403, 403, 403, 403, 400], { proxy: 'no' }),
  call('POST login-link', [403, 403, 403, 403, 403, 403, 403, 403]),
  call('POST database/backup', [403, 403, 403, 403, 403, 403, 403, 403]),
]

describe('the API lets each caller do what their scopes say', () => {
  let test: TestHub
  const tokens = new Map<CallerName, string>()

  before(async () => {
    test = await startTestHub({ config: { hub: { adminUsers: ['root'] } } })
    const { operator } = test
    await operator.createUsers(['ada', 'bob'])
    const make = async (
      name: CallerName,
      user: string,
      scopes?: readonly string[],
      expiresIn = 0,
    ) => {
      const made = await operator.createToken(user, { expiresIn, ...(scopes ? { scopes } : {}) })
      tokens.set(name, made.token)
    }
    await make('expired', 'root', undefined, 1)
    await make('other', 'bob')
    await make('owner', 'ada')
    await make('narrow', 'ada', ['read:users!user=ada'])
    await make('list', 'root', ['list:users!user=ada'])
    await make('groupless', 'root', ['admin:users!group=none'])
    await make('admin', 'root')
    await until(
      'the token has expired',
      async () => (await send('expired', 'GET', 'user')).status === 403,
    )
  })
  after(() => test[Symbol.asyncDispose]())

  async function send(caller: CallerName, method: string, path: string, body?: unknown) {
    const response = await fetch(`${test.origin}/hub/api/${path}`, {
      method,
      headers: { Authorization: `token ${tokens.get(caller) ?? 'none'}` },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    })
    return { status: response.status, text: await response.text() }
  }

  /** As a site would with roles of its own; the hub reads them anew for every new token. */
  async function giveRole(user: string, role: string, scopes: readonly string[]): Promise<void> {
    await using database = await openDatabase(join(test.dataDir, 'portico.sqlite'))
    const { db } = database
    await roleStore(database).define([{ name: role, description: '', scopes }])
    const id = (table: 'users' | 'roles', name: string) =>
      db.selectFrom(table).select('id').where('name', '=', name).executeTakeFirstOrThrow()
    const [{ id: user_id }, { id: role_id }] = [await id('users', user), await id('roles', role)]
    await db.insertInto('user_roles').values({ user_id, role_id, managed_by_auth: 0 }).execute()
  }

  for (const { method, path, body, statuses } of table)
    it(`${method} /${path}`, async () => {
      for (const [index, caller] of callers.entries()) {
        const answer = await send(caller, method, path, body)
        assert.equal(answer.status, statuses[index], `${caller}: ${answer.text.slice(0, 300)}`)
        if (answer.status === 403 && ['nobody', 'expired'].includes(caller) && path !== 'user')
          assert.match(answer.text, /"Missing or invalid credentials\."|"Forbidden"|no token/)
        if (answer.status === 404 && caller === 'other')
          assert.match(answer.text, /"No access to resources or resources not found"/)
      }
    })

  it('says the same of what exists and of what does not', async () => {
    for (const [caller, name] of [
      ['other', 'root'],
      ['narrow', 'root'],
      ['groupless', 'bob'],
    ] as const) {
      const there = await send(caller, 'GET', `users/${name}`)
      const absent = await send(caller, 'GET', 'users/nobody')
      assert.deepEqual(there, absent, caller)
    }
  })

  it('filters the list of users by what the token may see', async () => {
    const seen = async (caller: CallerName) =>
      JSON.parse((await send(caller, 'GET', 'users')).text) as Record<string, unknown>[]
    assert.deepEqual(
      (await seen('list')).map((user) => user['name']),
      ['ada'],
    )
    assert.deepEqual(await seen('groupless'), [])
    assert.deepEqual(
      (await seen('admin')).map((user) => user['name']),
      ['root', 'ada', 'bob'],
    )
    const [ada] = await seen('list')
    assert.deepEqual(Object.keys(ada ?? {}).toSorted(), ['admin', 'kind', 'name', 'user_info'])
  })

  it('refuses a list by a filter that does not apply', async () => {
    const { token } = await test.operator.createToken('root', {
      scopes: ['list:users', 'read:hub'],
    })
    tokens.set('list', token)
    assert.equal((await send('list', 'GET', 'users')).status, 200)
    for (const scope of ['list:users!server=ada/', 'list:users!service=x']) {
      const made = await test.operator.createToken('root', { scopes: [scope] })
      tokens.set('list', made.token)
      assert.equal((await send('list', 'GET', 'users')).status, 403, scope)
    }
  })

  it('lets nobody but an admin make, change or delete admins, whatever their scopes', async () => {
    await giveRole('bob', 'helpdesk', ['admin:users'])
    const { token } = await test.operator.createToken('bob', { scopes: ['admin:users'] })
    tokens.set('other', token)
    const attempts = [
      ['POST', 'users', { usernames: ['mallory'], admin: true }],
      ['POST', 'users/mallory', { admin: true }],
      ['PATCH', 'users/ada', { admin: true }],
      ['PATCH', 'users/bob', { admin: true }],
      ['PATCH', 'users/root', { admin: false }],
      ['PATCH', 'users/root', { name: 'toor' }],
      ['DELETE', 'users/root', undefined],
    ] as const
    for (const [method, path, body] of attempts)
      assert.equal((await send('other', method, path, body)).status, 403, `${method} ${path}`)
    assert.equal((await send('other', 'POST', 'users', { usernames: ['carl'] })).status, 201)
    assert.equal((await send('other', 'PATCH', 'users/carl', { admin: false })).status, 200)
    assert.equal((await send('other', 'DELETE', 'users/carl')).status, 204)
    assert.equal((await test.operator.user('root')).admin, true)
  })

  it('makes users only by an unfiltered scope', async () => {
    const scopes = ['admin:users!user=ada', 'admin:users!group=none', 'users', 'admin:servers']
    const { token } = await test.operator.createToken('root', { scopes })
    tokens.set('narrow', token)
    const made = await send('narrow', 'POST', 'users', { usernames: ['new'] })
    assert.equal(made.status, 403)
    assert.match(made.text, /requires any of \[admin:users\]/)
    assert.equal((await send('narrow', 'POST', 'users/new')).status, 404)
  })

  it('does not let an admin delete themself', async () => {
    assert.equal((await send('admin', 'DELETE', 'users/root')).status, 400)
  })
})
