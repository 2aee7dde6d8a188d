import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { type Database, openDatabase } from '../../../hub/store/database.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { serverStore } from '../../../hub/store/servers.ts'
import type { ListedUser } from '../../../hub/store/user-lists.ts'
import { type User, type UserQuery, userStore } from '../../../hub/store/users.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'

const now = new Date('2026-11-22T00:00:00Z')
const byId = { sort: { by: 'id', descending: false } } as const

describe('lists of users', () => {
  const folder = mkdtempSync(join(tmpdir(), 'portico-test-'))
  let database: Database
  let users: ReturnType<typeof userStore>

  before(async () => {
    database = await openDatabase(join(folder, 'test.sqlite'))
    await roleStore(database).define(defaultRoles)
    users = userStore(database)
  })
  after(async () => {
    await database[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  const all = async (query: Partial<UserQuery>, size = 7): Promise<readonly ListedUser[]> => {
    const found: ListedUser[] = []
    for (let offset = 0; ; offset += size) {
      const page = await users.page({ ...byId, ...query, offset, limit: size })
      found.push(...page.users)
      if (offset + size < page.total) continue
      assert.equal(found.length, page.total)
      return found
    }
  }

  const names = async (query: Partial<UserQuery>) => (await all(query)).map(({ name }) => name)

  it('count exactly while users come, go and are renamed', async () => {
    const parts = ['', 'a', 'AN', 'an', 'ann', '%', '_', 'é', 'zzz']
    const known = new Map<number, string>()
    const isEqual = async (): Promise<void> => {
      for (const part of parts) {
        const wanted = [...known].filter(([, name]) => name.includes(part.toLowerCase()))
        const ids = (await all({ nameContains: part })).map(({ id }) => id)
        assert.deepEqual(
          ids,
          wanted.map(([id]) => id).toSorted((a, b) => a - b),
          part,
        )
      }
      assert.equal(await users.count(), known.size)
    }
    const create = async (...wanted: readonly string[]): Promise<void> => {
      for (const { id, name } of await users.createAll(wanted, { admin: false, now }))
        known.set(id, name)
    }
    await isEqual()
    await create(
      'anna',
      'anne',
      'bob%',
      'a_b',
      'rené',
      ...Array.from({ length: 30 }, (_, i) => `u${i}`),
    )
    await isEqual()
    await create('anna', 'hannah')
    await Promise.all([create('ann1', 'ann2'), isEqual().catch(() => undefined), create('ann3')])
    await isEqual()
    for (const [id, name] of [...known].slice(0, 3)) {
      const edited = await users.edit(id, { name: `${name}-n` })
      known.set(id, edited?.name ?? '')
    }
    assert.equal(await users.edit([...known.keys()][4] ?? 0, { name: 'hannah' }), null)
    await isEqual()
    for (const id of [...known.keys()].slice(2, 20)) {
      await users.delete(id)
      known.delete(id)
    }
    await isEqual()
  })

  it('give the same pages whichever were read before, in every order, through every change', async () => {
    const orders = (['id', 'name'] as const).flatMap((by) =>
      [false, true].map((descending) => ({ by, descending })),
    )
    const isEqual = async (): Promise<void> => {
      for (const sort of orders) {
        const whole = await users.page({ sort, offset: 0, limit: 1000 })
        const ids = whole.users.map(({ id }) => id)
        assert.equal(ids.length, whole.total)
        for (const offset of [12, 3, 20, 4, 0, 16, 31, 24, 12]) {
          const page = await users.page({ sort, offset, limit: 4 })
          const wanted = ids.slice(offset, offset + 4)
          assert.deepEqual(
            page.users.map(({ id }) => id),
            wanted,
            `${sort.by} ${sort.descending} ${offset}`,
          )
        }
      }
    }
    const made = await users.createAll(
      Array.from({ length: 30 }, (_, index) => `p-${(index * 7) % 30}`),
      { admin: false, now },
    )
    await isEqual()
    await users.delete(made[4]?.id ?? 0)
    await isEqual()
    await users.edit(made[9]?.id ?? 0, { name: 'a-first' })
    await isEqual()
    await users.create('m-middle', { admin: false, now })
    await isEqual()
    await Promise.all([
      isEqual().catch(() => null),
      users.create('b-second', { admin: false, now }),
    ])
    await isEqual()
  })

  it('come in the order of names or activity, those never active at the idle end', async () => {
    const made = await users.createAll(['s-c', 's-a', 's-b', 's-d'], { admin: false, now })
    const times = [3, 1, 2].map((minute, index): [number, Date] => [
      made[index]?.id ?? 0,
      new Date(now.getTime() + minute * 60_000),
    ])
    await users.recordActivity(new Map(times))
    const sorted = (by: UserQuery['sort']['by'], descending: boolean) =>
      names({ nameContains: 's-', sort: { by, descending } })
    assert.deepEqual(await sorted('id', false), ['s-c', 's-a', 's-b', 's-d'])
    assert.deepEqual(await sorted('name', false), ['s-a', 's-b', 's-c', 's-d'])
    assert.deepEqual(await sorted('name', true), ['s-d', 's-c', 's-b', 's-a'])
    assert.deepEqual(await sorted('last_activity', false), ['s-d', 's-a', 's-b', 's-c'])
    assert.deepEqual(await sorted('last_activity', true), ['s-c', 's-b', 's-a', 's-d'])
    const earlier: [number, Date] = [made[0]?.id ?? 0, now]
    await users.recordActivity(new Map([earlier]))
    assert.equal((await sorted('last_activity', true))[0], 's-c')
  })

  it('narrow to users by the state of their servers, their names and their groups', async () => {
    const made = await users.createAll(['t-a', 't-b', 't-c'], { admin: true, now })
    const [a, b] = made
    const servers = serverStore(database)
    const begin = { name: '', displayName: null, spawner: 'x', userOptions: null }
    const start = (user: User | undefined) =>
      servers.beginStart({ ...begin, userId: user?.id ?? 0, now, deadline: now })
    const { id, generation } = await start(a)
    await start(b)
    await servers.setState(id, generation, { state: 'ready', now, deadline: null })
    const state = (wanted: NonNullable<UserQuery['state']>) =>
      names({ nameContains: 't-', state: wanted })
    assert.deepEqual(await state('active'), ['t-a', 't-b'])
    assert.deepEqual(await state('ready'), ['t-a'])
    assert.deepEqual(await state('inactive'), ['t-c'])
    const only = { users: ['T-C', 't-b', 'nobody'], groups: [] }
    assert.deepEqual(await names({ only }), ['t-b', 't-c'])
    assert.deepEqual(await names({ only, state: 'inactive' }), ['t-c'])
    const details = await users.details(made.map((user) => user.id))
    assert.equal(details.length, made.length)
    for (const { roles } of details) assert.deepEqual(roles, ['admin', 'user'])
    const owners = details.filter(({ hasServers }) => hasServers).map(({ name }) => name)
    assert.deepEqual(owners.toSorted(), ['t-a', 't-b'])
  })
})
