import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HubProcess } from '../support/hub-process.ts'
import { until } from '../support/until.ts'

const deadline = 60_000

describe('a hub that is killed', () => {
  it('has removed, made or renamed a server wholly or not at all', async () => {
    await using test = await HubProcess.started({
      flags: ['--stubborn'],
      hub: 'allowNamedServers: true, slowStopTimeout: 0.1,',
      spawner: 'interruptTimeout: 2, termTimeout: 2,',
    })
    await test.operator.createUsers(['ada'])
    await test.operator.startServer('ada', 'doomed')
    await test.operator.createServer('ada', 'old', {
      displayName: 'Shown',
      userOptions: { a: 1 },
    })
    const [pid = 0] = test.serverPids()
    const token = test.tokenOf(pid)
    assert.equal(await test.operator.stopServer('ada', 'doomed', { remove: true }), 'stopping')
    const edits = ['new', 'newer', 'newest'].map((name, index) =>
      test.operator.updateServer('ada', ['old', 'new', 'newer'][index] ?? '', { name }),
    )
    await Promise.race(edits.map((edit) => edit.catch(() => {})))
    await test.end('SIGKILL')
    await Promise.allSettled(edits)
    await test.start()
    const servers = test.query<{ name: string; display_name: string; user_options: string }>(
      `SELECT name, display_name, user_options FROM servers WHERE name LIKE 'new%' OR name = 'old'`,
    )
    assert.equal(servers.length, 1)
    assert.equal(servers[0]?.display_name, 'Shown')
    assert.equal(servers[0]?.user_options, '{"a":1}')
    await until(
      'the doomed one is gone',
      () => test.query(`SELECT id FROM servers WHERE name = 'doomed'`).length === 0,
      deadline,
    )
    assert.deepEqual(test.serverPids(), [])
    assert.equal(await test.statusWith(token), 403)
  })
})
