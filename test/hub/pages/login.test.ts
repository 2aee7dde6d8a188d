import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { defineAuthenticator } from 'portico/authenticator'
import { z } from 'zod'
import { Browser } from '../../support/browser.ts'
import { rawSend } from '../../support/raw-http.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

async function attempt(test: TestHub, username: string, password = 'x') {
  const browser = new Browser(test.origin)
  await browser.get('/hub/login')
  return { browser, page: await browser.post('/hub/login', { username, password }) }
}

describe('the login page', () => {
  it('says so when no rule lets anybody in, and lets nobody in', async () => {
    await using test = await startTestHub({
      config: {
        hub: { adminUsers: ['boss'] },
        authenticator: { driver: 'dummy', allowAll: false },
      },
    })
    const form = await new Browser(test.origin).get('/hub/login')
    assert.match(form.text, /Nobody can log in yet/)
    for (const name of ['boss', 'ada']) assert.equal((await attempt(test, name)).page.status, 403)
  })

  it('asks for a one-time password where the config wants one, whoever checks it', async () => {
    const authenticator = { requestOtp: true, otpPrompt: 'Code <6 digits>' }
    const passwordIsCode = defineAuthenticator({
      name: 'second',
      config: z.strictObject({}),
      create: () => ({
        authenticate: ({ form: { username = '', password, otp } }) =>
          Promise.resolve(
            password === 'x' && otp === '123456'
              ? { kind: 'identified', identity: { userName: username, allowedBy: 'the test' } }
              : { kind: 'denied', reason: 'wrong' },
          ),
      }),
    })
    await using test = await startTestHub({
      config: { authenticator: { ...authenticator, driver: passwordIsCode } },
    })
    const browser = new Browser(test.origin)
    const { text } = await browser.get('/hub/login')
    assert.match(text, /<label for="otp_input">Code &lt;6 digits&gt;<\/label>/)
    assert.match(text, /name="otp" type="password"[^>]* autocomplete="one-time-code"/)
    const post = async (otp: string) =>
      (await browser.post('/hub/login', { username: 'ada', password: 'x', otp })).status
    assert.deepEqual([await post(''), await post('123456')], [403, 302])
    await using plain = await startTestHub()
    assert.doesNotMatch((await new Browser(plain.origin).get('/hub/login')).text, /otp_input/)
  })

  it('tells nobody why a login failed, and the log does', async () => {
    await using test = await startTestHub({
      config: {
        authenticator: {
          driver: 'dummy',
          password: 'right',
          allowedUsers: ['ada'],
          blockedUsers: ['out'],
          usernameMap: { countess: 'ada' },
          usernamePattern: '[a-z]+',
        },
      },
    })
    const failures = [
      ['ada', 'wrong'],
      ['stranger', 'right'],
      ['out', 'right'],
      ['x1', 'right'],
      ['', 'right'],
      ['a/b', 'right'],
    ] as const
    const texts = new Set<string>()
    for (const [name, password] of failures) {
      const { page, browser } = await attempt(test, name, password)
      assert.equal(page.status, 403, name)
      assert.equal(browser.cookie('jupyterhub-hub-login'), undefined)
      texts.add(/id="login_error"[^]*?<\/p>/.exec(page.text)?.[0] ?? '')
    }
    assert.equal(texts.size, 1)
    assert.match([...texts].join(), /Invalid username or password/)
    const log = test.logLines.join('\n')
    for (const reason of [
      'wrong password',
      'no allow rule matches',
      'blockedUsers',
      'usernamePattern',
    ])
      assert.ok(log.includes(reason), reason)
    for (const name of ['ada', ' ADA ', 'Countess', '\uff21da']) {
      const { browser, page } = await attempt(test, name, 'right')
      assert.equal(page.status, 302, name)
      const { name: found } = JSON.parse((await browser.get('/hub/api/user')).text) as {
        name: string
      }
      assert.equal(found, 'ada')
    }
  })

  it('lets a name that config blocks later out of everything', async () => {
    await using test = await startTestHub()
    const { browser } = await attempt(test, 'eve')
    const { token } = await test.operator.createToken('eve')
    const asToken = { Authorization: `token ${token}`, Cookie: '' }
    assert.equal((await browser.get('/hub/api/user', asToken)).status, 200)
    await using again = await test.restart({ blockedUsers: ['eve'] })
    assert.equal((await browser.get('/hub/api/user')).status, 403)
    assert.equal((await browser.get('/hub/api/user', asToken)).status, 403)
    assert.equal((await attempt(again, 'eve')).page.status, 403)
  })

  it('shows a name that failed shortened and escaped', async () => {
    await using test = await startTestHub({ config: { authenticator: { password: 'right' } } })
    const { page } = await attempt(test, `"><script>${'x'.repeat(200)}`)
    assert.equal(page.status, 403)
    assert.doesNotMatch(page.text, /"><script>x|x{40}/)
    const prefilled = await new Browser(test.origin).get(`/hub/login?username=${'y'.repeat(500)}`)
    assert.doesNotMatch(prefilled.text, /y{40}/)
  })

  it('answers to the public name only, when there is one', async () => {
    await using test = await startTestHub({
      config: {
        hub: { publicUrl: 'https://hub.example.org' },
        authenticator: { driver: 'dummy', allowInsecureTestAuthenticator: true, allowAll: true },
      },
    })
    const status = async (headers: readonly string[], origin = test.origin) =>
      (await rawSend(origin, '/hub/login', { headers })).status
    for (const host of ['hub.example.org', 'HUB.example.org:443'])
      assert.equal(await status([`Host: ${host}`]), 200, host)
    assert.equal(await status(['Host: front', 'X-Forwarded-Host: hub.example.org']), 200)
    for (const host of [
      'evil.test',
      '127.0.0.1',
      'hub.example.org.evil.test',
      'hub.example.org:8443',
    ])
      assert.equal(await status([`Host: ${host}`]), 400, host)
    assert.equal(await status(['Host: hub.example.org', 'X-Forwarded-Host: evil.test']), 400)
    assert.equal(
      await status([], test.hub.internalUrl),
      200,
      'servers reach the hub by its own name',
    )
    const health = await rawSend(test.origin, '/hub/health', { headers: ['Host: 10.0.0.1'] })
    assert.equal(health.status, 200)
    const own = await rawSend(test.origin, '/hub/login?next=https://hub.example.org/hub/home', {
      headers: ['Host: hub.example.org'],
    })
    assert.match(own.head, /set-cookie: _xsrf=[^\r]*; Secure/i)
  })
})
