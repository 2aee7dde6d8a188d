import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Browser } from '../../support/browser.ts'
import { type HubUnderAttack, startHubUnderAttack } from '../../support/hub-under-attack.ts'

/** Stands for every secret that a request can carry; must never be found in a log. */
const canary = 'canary0123456789abcdefcanary'

describe('what is hostile', () => {
  let test: HubUnderAttack
  let root: Browser

  before(async () => {
    test = await startHubUnderAttack()
    root = new Browser(test.origin)
    await root.logIn('/', 'root', 'pw')
  })
  after(() => test[Symbol.asyncDispose]())

  const logSize = () => test.logLines.join('\n').length

  it('that is huge is cut off early and hardly logged', async () => {
    const before = logSize()
    const big = 'x'.repeat(5_000_000)
    const page = await root.post('/hub/login', { username: big, password: 'pw' })
    assert.equal(page.status, 413)
    for (let round = 0; round < 5; round += 1) {
      const long = { username: `${'y'.repeat(20_000)}${round}`, password: 'pw' }
      const refused = await root.post('/hub/login', long)
      assert.equal(refused.status, 400)
      const almost = await root.post('/hub/login', { username: 'z'.repeat(255), password: 'no' })
      assert.equal(almost.status, 403)
      assert.ok(!almost.text.includes('z'.repeat(40)))
    }
    assert.equal(
      (await test.send('POST', '/hub/api/users', `{"usernames":["${big}"]}`)).status,
      413,
    )
    assert.ok(logSize() - before < 15 * 1024, `${logSize() - before} bytes for 12 requests`)
  })

  it('leaves no secret in any log', async () => {
    const eve = new Browser(test.origin)
    await eve.get('/hub/login')
    await eve.post(`/hub/login?next=/hub/home&code=${canary}`, {
      username: 'eve',
      password: canary,
    })
    await eve.post('/hub/login', { username: 'eve', password: 'pw', secret: canary, otp: canary })
    await eve.get(`/hub/home?token=${canary}`, { Referer: `${test.origin}/?token=${canary}` })
    await eve.get(`/hub/api/user?token=${canary}`, { Authorization: `token ${canary}` })
    await eve.get('/hub/login', { Cookie: `jupyterhub-hub-login=${canary}; _xsrf=${canary}` })
    await eve.get(`/hub/api/authorizations/token/${canary}`)
    await eve.get(`/hub/api/authorizations/cookie/jupyterhub-hub-login/${canary}`)
    await eve.get(`/hub/%zz?token=${canary}`)
    await eve.api('POST', `/hub/api/oauth2/token?client_secret=${canary}`)
    await test.send(
      'POST',
      '/hub/api/oauth2/token',
      `client_id=x&client_secret=${canary}&code=${canary}`,
    )
    await test.send(
      'POST',
      '/hub/api/users/root/tokens',
      `{"note":"${canary}", "scopes": ["${canary}"]}`,
    )
    await test.send('POST', '/hub/api/users', `{"${canary}":1`)
    const made = await test.operator.createToken('root')
    await eve.get('/hub/api/user', { Authorization: `token ${made.token}` })
    const cookies = ['jupyterhub-hub-login', 'jupyterhub-session-id', '_xsrf'].map((name) =>
      eve.cookie(name),
    )
    await test.operator.startServer('eve')
    await eve.get(`/user/eve/?token=${canary}`)
    await eve.get('/hub/logout')
    await test.operator.stopServer('eve')

    const files = readdirSync(join(test.dataDir, 'logs'), { recursive: true, withFileTypes: true })
    const written = files
      .filter((file) => file.isFile())
      .map((file) => readFileSync(join(file.parentPath, file.name), 'utf8'))
    const logs = [...test.logLines, ...written].join('\n')
    for (const secret of [canary, test.token, made.token, ...cookies])
      assert.ok(secret === undefined || !logs.includes(secret), `${secret} was logged`)
    const lines = test.logLines.map(
      (line) => JSON.parse(line) as { level: string; message: string },
    )
    assert.ok(lines.length > 20)
    const errors = lines.filter(({ level }) => level === 'error')
    assert.deepEqual(errors, [], 'nothing of all this is a mistake of the hub')
  })
})
