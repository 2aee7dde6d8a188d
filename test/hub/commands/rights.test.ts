import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { apiCaller } from '../../support/api-caller.ts'
import { type CommandRun, runCommand } from '../../support/command-run.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

describe('portico token and explain', { timeout: 120_000 }, () => {
  let test: TestHub
  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          loadGroups: { staff: ['ada'] },
          loadRoles: [{ name: 'reports', scopes: ['read:metrics'], groups: ['staff'] }],
        },
      },
    })
  })
  after(() => test[Symbol.asyncDispose]())

  const run = (line: string): Promise<CommandRun> =>
    runCommand(`${line} --data-dir ${test.dataDir}`, { cwd: test.dataDir })

  it('the secret of a new token is all that is printed', async () => {
    const { out, err } = await run('token ada --scope read:users!user=ada --note cli')
    assert.deepEqual([out.length, err], [1, []])
    const [secret = ''] = out
    const ada = apiCaller(test, secret)
    assert.equal((await ada('GET', 'users/ada')).status, 200)
    assert.equal((await ada('POST', 'users/ada/server')).status, 403)
  })

  it('an explanation is one sentence, and the exit status is the answer', async () => {
    const yes = await run('explain ada read:metrics')
    assert.deepEqual(yes.out, [
      'ada has read:metrics: the role reports of the group staff (read:metrics)',
    ])
    assert.equal(yes.status, 0)
    const no = await run('explain ada servers bob/')
    assert.deepEqual(no.out, [
      'ada lacks servers!server=bob/: no role, group or share grants it (only servers!user=ada)',
    ])
    assert.equal(no.status, 1)
    const { id } = await test.operator.createToken('ada', { scopes: ['read:users!user=ada'] })
    const token = await run(`explain ${id} servers ada --json`)
    const answer = JSON.parse(token.out.join('\n')) as Record<string, unknown>
    assert.deepEqual([answer['allowed'], answer['by_token']], [false, false])
  })

  it('without a scope, everything a user may do is listed', async () => {
    const lines = (await run('explain ada')).out
    assert.ok(lines.some((line) => /^servers!user=ada +role user$/.test(line)))
    assert.ok(lines.some((line) => /^read:metrics +role reports of group staff$/.test(line)))
  })

  it('a token is made while no hub runs, and is good in the next one', async () => {
    await test.hub.stop({ servers: false, proxy: false })
    const { out } = await run('token ada')
    await assert.rejects(run('token nobody'), /there is no user "nobody"/)
    await assert.rejects(run('token ada --scope all'), /is "inherit" meant/)
    test = await test.restart()
    assert.equal((await apiCaller(test, out[0] ?? '')('GET', 'users/ada')).status, 200)
  })
})
