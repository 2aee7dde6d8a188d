import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { apiCaller } from '../support/api-caller.ts'
import { Browser } from '../support/browser.ts'
import { runCommand } from '../support/command-run.ts'
import { startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const config = {
  hub: { adminUsers: ['root'] },
  authenticator: { allowAll: true, blockedUsers: ['mallory'] },
}

const tokenOf = async (test: TestHub, name: string) =>
  apiCaller(test, (await test.operator.createToken(name)).token)

const command = (test: TestHub, line: string) =>
  runCommand(`${line} --data-dir ${test.dataDir}`, { cwd: test.dataDir })

async function mayLogIn(test: TestHub, username: string): Promise<boolean> {
  const browser = new Browser(test.origin)
  await browser.get('/hub/login')
  return (await browser.post('/hub/login', { username, password: 'x' })).status === 302
}

describe('blocking a user', { timeout: 240_000 }, () => {
  it('ends sessions, tokens and servers at once, and all comes back only by unblocking', async () => {
    let test = await startTestHub({ config })
    try {
      await test.operator.createUsers(['ada'], { admin: true })
      const root = await tokenOf(test, 'root')
      const ada = new Browser(test.origin)
      await ada.logIn('/', 'ada')
      const token = await tokenOf(test, 'ada')
      assert.equal((await token('POST', 'users/ada/server')).status, 201)
      assert.equal((await token('GET', 'user')).status, 200)

      const blocked = await root('PATCH', 'users/ada', { blocked: true })
      assert.equal(blocked.status, 200)
      assert.deepEqual([blocked.json['blocked'], blocked.json['admin']], [true, false])
      assert.equal((await token('GET', 'user')).status, 403)
      assert.equal((await ada.api('GET', '/hub/api/user')).status, 403)
      assert.deepEqual(await test.operator.tokens('ada'), [])
      await until('the server has stopped', async () => {
        const { servers = {} } = await test.operator.user('ada', { includeStoppedServers: true })
        return servers['']?.stopped !== false
      })
      assert.equal(await mayLogIn(test, 'ada'), false)
      const refused = await root('POST', 'users/ada/server')
      assert.equal(refused.status, 403)
      assert.match(refused.text, /ada is blocked/)

      test = await test.restart()
      assert.equal(await mayLogIn(test, 'ada'), false)
      const again = await tokenOf(test, 'root')
      const unblocked = await again('PATCH', 'users/ada', { blocked: false })
      assert.equal(unblocked.json['blocked'], undefined)
      assert.equal(await mayLogIn(test, 'ada'), true)
    } finally {
      await test[Symbol.asyncDispose]()
    }
  })

  it('is a command, and something that is recorded', async () => {
    await using test = await startTestHub({
      config: { ...config, hub: { ...config.hub, eventLogFile: 'events.log' } },
    })
    await test.operator.createUsers(['ada', 'bob'])
    const { out } = await command(test, 'users block ada bob')
    assert.deepEqual(out, ['ada is blocked', 'bob is blocked'])
    assert.match((await command(test, 'users show ada')).out.join('\n'), /^Blocked: +yes$/m)
    assert.deepEqual((await command(test, 'users unblock ada')).out, [
      'ada is not blocked any more',
    ])
    assert.match((await command(test, 'users show ada')).out.join('\n'), /^Blocked: +no$/m)
    const file = join(test.dataDir, 'events.log')
    await until('it is recorded', () => {
      const text = readFileSync(file, 'utf8')
      return text.includes('event:user-blocked') && text.includes('event:user-unblocked')
    })
  })

  it('is for nobody who lacks the right, for no admin by others, and not for oneself', async () => {
    await using test = await startTestHub({ config })
    await test.operator.createUsers(['ada', 'bob', 'helper'])
    const root = await tokenOf(test, 'root')
    const ada = await tokenOf(test, 'ada')
    assert.ok((await ada('PATCH', 'users/bob', { blocked: true })).status >= 403)
    const self = await root('PATCH', 'users/root', { blocked: true })
    assert.equal(self.status, 400)
    assert.match(self.text, /yourself/)
    const both = await root('PATCH', 'users/bob', { blocked: true, admin: true })
    assert.equal(both.status, 400)
    assert.equal((await root('GET', 'users/bob')).json['admin'], false)
    assert.equal((await root('PATCH', 'users/bob', { blocked: 'yes' })).status, 400)
    assert.equal((await root('PATCH', 'users/bob', { blocked: true })).status, 200)
    assert.equal((await root('PATCH', 'users/bob', { admin: true })).status, 400)
  })

  it('leaves those whom the config blocks to the config', async () => {
    await using test = await startTestHub({ config })
    await test.operator.createUsers(['mallory'])
    const root = await tokenOf(test, 'root')
    const answer = await root('PATCH', 'users/mallory', { blocked: false })
    assert.equal(answer.status, 400)
    assert.match(answer.text, /authenticator\.blockedUsers/)
    assert.equal((await root('POST', 'users/mallory/server')).status, 403)
  })
})
