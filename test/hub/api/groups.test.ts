import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

describe('groups', () => {
  let test: TestHub
  let boss: CallApi
  let as: (user: string, scopes?: readonly string[]) => Promise<CallApi>

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['boss'],
          loadGroups: { staff: ['ada'] },
          loadRoles: [
            { name: 'grouper', scopes: ['admin:groups!group=staff'], users: ['bob'] },
            {
              name: 'peers',
              scopes: ['read:users!group=staff', 'start:servers!group=staff'],
              users: ['eve'],
            },
            { name: 'reports', scopes: ['read:metrics'], groups: ['analysts'] },
          ],
        },
      },
    })
    as = async (user, scopes) => {
      const wanted = scopes ? { scopes } : {}
      return apiCaller(test, (await test.operator.createToken(user, wanted)).token)
    }
    boss = await as('boss')
  })
  after(() => test[Symbol.asyncDispose]())

  it('come with members, properties and roles', async () => {
    const { status, json } = await boss('GET', 'groups/staff')
    assert.equal(status, 200)
    assert.deepEqual(json, {
      kind: 'group',
      name: 'staff',
      users: ['ada'],
      properties: {},
      roles: [],
    })
    assert.deepEqual((await boss('GET', 'groups/analysts')).json['roles'], ['reports'])
    assert.equal((await boss('GET', 'groups/none')).status, 404)
  })

  it('are made one by one or several at once, and never twice', async () => {
    const made = await boss('POST', 'groups', { groups: ['g1', 'g2'], users: ['ada', 'bob'] })
    assert.equal(made.status, 201)
    assert.deepEqual((JSON.parse(made.text) as { users: string[] }[])[1]?.users, ['ada', 'bob'])
    assert.equal((await boss('POST', 'groups/g3')).status, 201)
    assert.equal((await boss('POST', 'groups/g3', { users: ['ada'] })).status, 409)
    assert.equal((await boss('POST', 'groups', { groups: ['g4', 'g1'] })).status, 409)
    assert.equal((await boss('GET', 'groups/g4')).status, 404)
    for (const body of [{}, { groups: 'g5' }, { groups: ['g5'], users: ['nobody'] }, [], 1])
      assert.equal((await boss('POST', 'groups', body)).status, 400, JSON.stringify(body))
    assert.equal((await boss('DELETE', 'groups/g3')).status, 204)
    assert.equal((await boss('DELETE', 'groups/g3')).status, 404)
  })

  it('gain and lose members, who gain and lose their roles at the next request', async () => {
    const ada = await as('ada')
    const allowed = async () => (await ada('GET', 'user')).json['scopes'] as string[]
    assert.ok(!(await allowed()).includes('read:metrics'))
    const grown = await boss('POST', 'groups/analysts/users', { users: ['ada', 'ada'] })
    assert.deepEqual(grown.json['users'], ['ada'])
    assert.ok((await allowed()).includes('read:metrics'))
    const shrunk = await boss('DELETE', 'groups/analysts/users', { users: ['ada', 'bob'] })
    assert.deepEqual(shrunk.json['users'], [])
    assert.ok(!(await allowed()).includes('read:metrics'))
    assert.equal((await boss('POST', 'groups/analysts/users', {})).status, 400)
    assert.equal((await boss('POST', 'groups/analysts/users', { users: ['nobody'] })).status, 400)
    assert.equal((await boss('DELETE', 'groups/analysts/users')).status, 400)
  })

  it('have properties that a body replaces', async () => {
    const put = await boss('PUT', 'groups/g1/properties', { quota: { cpu: 2 } })
    assert.deepEqual([put.status, put.json['properties']], [200, { quota: { cpu: 2 } }])
    await boss('PUT', 'groups/g1/properties', {})
    assert.deepEqual((await boss('GET', 'groups/g1')).json['properties'], {})
    for (const body of [[], 'x', undefined])
      assert.equal((await boss('PUT', 'groups/g1/properties', body)).status, 400)
  })

  it('are for those who hold a scope on them, and on nothing else', async () => {
    const bob = await as('bob')
    assert.equal((await bob('POST', 'groups/staff/users', { users: ['eve'] })).status, 200)
    assert.equal((await bob('DELETE', 'groups/staff/users', { users: ['eve'] })).status, 200)
    assert.equal((await bob('POST', 'groups/analysts/users', { users: ['bob'] })).status, 404)
    const other = await bob('POST', 'groups', { groups: ['g9'] })
    assert.equal(other.status, 403)
    assert.match(String(other.json['message']), /requires any of \[admin:groups\]$/)
    const listed = await bob('GET', 'groups')
    assert.deepEqual(
      (JSON.parse(listed.text) as { name: string }[]).map(({ name }) => name),
      ['staff'],
    )
    assert.equal((await (await as('ada'))('GET', 'groups')).status, 403)
  })

  it('count in pages what the caller may see', async () => {
    const token = (await test.operator.createToken('bob')).token
    const response = await fetch(`${test.origin}/hub/api/groups?limit=1`, {
      headers: {
        Authorization: `token ${token}`,
        Accept: 'application/jupyterhub-pagination+json',
      },
    })
    const { items, _pagination: page } = (await response.json()) as {
      items: unknown[]
      _pagination: { total: number; next: unknown }
    }
    assert.deepEqual([items.length, page.total, page.next], [1, 1, null])
  })

  it('show names alone to those who may see no more', async () => {
    const names = await as('boss', ['list:groups'])
    const [first] = JSON.parse((await names('GET', 'groups')).text) as object[]
    assert.deepEqual(first, { kind: 'group', name: 'staff' })
  })

  it('open their members to those whose scopes name them, also through a token', async () => {
    const eve = await as('eve')
    assert.equal((await eve('GET', 'users/ada')).status, 200)
    assert.equal((await eve('GET', 'users/bob')).status, 404)
    const narrow = await as('eve', ['read:users!user=ada'])
    assert.equal((await narrow('GET', 'users/ada')).json['name'], 'ada')
    await boss('DELETE', 'groups/staff/users', { users: ['ada'] })
    assert.equal((await narrow('GET', 'users/ada')).status, 404)
    assert.equal((await eve('GET', 'users/ada')).status, 404)
    await boss('POST', 'groups/staff/users', { users: ['ada'] })
    assert.equal((await narrow('GET', 'users/ada')).status, 200)
  })

  it('take their roles along when they go', async () => {
    await boss('POST', 'groups/analysts/users', { users: ['bob'] })
    const bob = await as('bob')
    const scopes = async () => (await bob('GET', 'user')).json['scopes'] as string[]
    assert.ok((await scopes()).includes('read:metrics'))
    await boss('DELETE', 'groups/analysts')
    assert.ok(!(await scopes()).includes('read:metrics'))
  })
})
