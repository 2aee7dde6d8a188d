import assert from 'node:assert/strict'
import { unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { singleUser, startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

/** Nothing is kept for the operator: what they see is what there is. */
describe('a user model that was read before', () => {
  let test: TestHub
  let token = ''
  let unready = ''

  before(async () => {
    unready = join(tmpdir(), `portico-unready-${process.pid}`)
    test = await startTestHub({
      config: { hub: { adminUsers: ['root'], allowNamedServers: true, activityResolution: 0 } },
      cmd: singleUser(`--unready-while=${unready}`),
    })
    token = (await test.operator.createToken('root')).token
    await test.operator.createUsers(['ada'])
  })
  after(() => test[Symbol.asyncDispose]())

  const read = async (path: string): Promise<unknown> => {
    const response = await fetch(`${test.hub.internalUrl}/hub/api/${path}`, {
      headers: { Authorization: `token ${token}` },
    })
    assert.equal(response.status, 200, path)
    return response.json()
  }

  const same = async (name: string, what: string): Promise<void> => {
    for (let round = 0; round < 2; round += 1) {
      const single = await read(`users/${name}?include_stopped_servers=1`)
      const [listed] = (await read(
        `users?name_filter=${name}&include_stopped_servers=1`,
      )) as unknown[]
      const users = test.operator.users({ nameFilter: name, includeStoppedServers: true })
      let truth: unknown = null
      for await (const user of users) truth ??= user
      assert.deepEqual(single, truth, `${what}, by itself`)
      assert.deepEqual(listed, truth, `${what}, in the list`)
    }
  }

  const state = async (server = '') =>
    (await test.operator.user('ada').then(({ servers }) => servers))?.[server]

  it('is never older than the last change', async () => {
    const { operator } = test
    await same('ada', 'new')
    await operator.createGroup('g1')
    await operator.addToGroup('g1', ['ada'])
    await same('ada', 'in a group')
    await operator.removeFromGroup('g1', ['ada'])
    await same('ada', 'out of the group')
    await operator.addToGroup('g1', ['ada'])
    await operator.deleteGroup('g1')
    await same('ada', 'after the group')
    await operator.updateUser('ada', { admin: true })
    await same('ada', 'an admin')
    await operator.updateUser('ada', { admin: false })
    await same('ada', 'no admin any more')
    await operator.reportActivity('ada', { lastActivity: new Date('2026-01-02T03:04:05Z') })
    await same('ada', 'active')
  })

  it('shows each state of a server while it lasts', async () => {
    const { operator } = test
    writeFileSync(unready, '')
    const starting = operator.startServer('ada')
    await until('its process is noted', async () => ((await state())?.state ?? null) !== null)
    assert.equal((await state())?.pending, 'spawn')
    await same('ada', 'starting')
    unlinkSync(unready)
    await starting
    await until('it is ready', async () => (await state())?.ready === true)
    await same('ada', 'ready')
    const at = new Date()
    await operator.reportActivity('ada', { servers: { '': at } })
    await same('ada', 'ready and active')
    await operator.stopServer('ada')
    await until('it is stopped', async () => (await state()) === undefined)
    await same('ada', 'stopped')
    await operator.createServer('ada', 'lab', { displayName: 'The lab' })
    await same('ada', 'with a named server')
    await operator.updateServer('ada', 'lab', { name: 'lab2' })
    await same('ada', 'with a renamed server')
    await operator.stopServer('ada', 'lab2', { remove: true })
    await same('ada', 'without it')
  })

  it('goes with the name of its user', async () => {
    const { operator } = test
    await operator.createUsers(['bea'])
    await same('bea', 'new')
    await operator.updateUser('bea', { name: 'zoe' })
    await same('zoe', 'renamed')
    const gone = await fetch(`${test.hub.internalUrl}/hub/api/users/bea`, {
      headers: { Authorization: `token ${token}` },
    })
    assert.equal(gone.status, 404)
    await operator.deleteUser('zoe')
    await operator.createUsers(['zoe'])
    await same('zoe', 'another one of the same name')
  })
})
