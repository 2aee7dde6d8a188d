import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { quickStart } from '../../../authenticators/quick-start.ts'
import { authenticatorContext } from '../../support/authenticator-context.ts'
import { Browser } from '../../support/browser.ts'
import { rawSend } from '../../support/raw-http.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

describe('a quick start', () => {
  let test: TestHub

  before(async () => {
    test = await startTestHub({
      quickStart: true,
      config: { authenticator: { driver: 'quick-start', userName: 'me', allowedUsers: ['me'] } },
    })
  })
  after(() => test[Symbol.asyncDispose]())

  const newSecret = (): string => {
    const link = test.hub.issueLoginLink()
    assert.ok(link)
    const url = new URL(link.url)
    assert.equal(url.pathname, '/hub/quick-start')
    assert.equal(url.search, '', 'a query would be sent and logged')
    assert.ok(url.hash.length >= 44, '256 bits')
    return url.hash.slice(1)
  }

  async function attempt(fields: Record<string, string>) {
    const browser = new Browser(test.origin)
    await browser.get('/hub/login')
    const page = await browser.post('/hub/login', fields)
    return { page, browser }
  }

  it('logs in the account that started it, as an admin, by its link', async () => {
    const browser = new Browser(test.origin)
    const form = await browser.visit('/hub/quick-start')
    assert.equal(form.url.pathname, '/hub/login')
    assert.match(form.text, /data-from-fragment/)
    const page = await browser.post('/hub/login', { secret: newSecret() })
    assert.equal(page.status, 302)
    const user = JSON.parse((await browser.get('/hub/api/user')).text) as object
    assert.deepEqual({ ...user, scopes: [] }, { ...user, name: 'me', admin: true, scopes: [] })
  })

  it('takes a link once', async () => {
    const secret = newSecret()
    assert.equal((await attempt({ secret })).page.status, 302)
    const { page, browser } = await attempt({ secret })
    assert.equal(page.status, 403)
    assert.equal(browser.cookie('jupyterhub-hub-login'), undefined)
    assert.match(page.text, /used up or has expired/)
  })

  it('takes a link once when it is posted many times at once', async () => {
    const secret = newSecret()
    const pages = await Promise.all(Array.from({ length: 8 }, () => attempt({ secret })))
    assert.equal(pages.filter(({ page }) => page.status === 302).length, 1)
  })

  it('lets in nobody by a name, by nothing or by a guess', async () => {
    const guesses: Record<string, string>[] = [
      {},
      { secret: '' },
      { username: 'me', password: '' },
      { username: 'root', password: 'root' },
      { secret: newSecret().slice(0, -1) },
      { secret: `${newSecret()}x` },
      { secret: '__proto__' },
    ]
    for (const fields of guesses) {
      const { page } = await attempt(fields)
      assert.equal(page.status, 403, JSON.stringify(Object.keys(fields)))
    }
  })

  it('lets in nobody else, whatever name comes with the link', async () => {
    const { browser } = await attempt({ secret: newSecret(), username: 'mallory' })
    const { name } = JSON.parse((await browser.get('/hub/api/user')).text) as { name: string }
    assert.equal(name, 'me')
  })

  it('keeps guessing from costing memory or links: the newest twenty links work', async () => {
    const secrets = Array.from({ length: 21 }, newSecret)
    for (let round = 0; round < 30; round += 1)
      assert.equal((await attempt({ secret: `guess ${round}` })).page.status, 403)
    assert.equal((await attempt({ secret: secrets[0] ?? '' })).page.status, 403)
    assert.equal((await attempt({ secret: secrets[1] ?? '' })).page.status, 302)
    assert.equal((await attempt({ secret: secrets[20] ?? '' })).page.status, 302)
    assert.ok(test.logLines.every((line) => !secrets.some((secret) => line.includes(secret))))
  })

  it('answers to names of this machine only', async () => {
    const status = async (headers: readonly string[], origin = test.origin) =>
      (await rawSend(origin, '/hub/login', { headers })).status
    const { port } = new URL(test.origin)
    for (const host of ['127.0.0.1', 'localhost', `LOCALHOST:${port}`, `[::1]:${port}`])
      for (const origin of [test.origin, test.hub.internalUrl])
        assert.equal(await status([`Host: ${host}`], origin), 200, host)
    const foreign = [
      'evil.test',
      `evil.test:${port}`,
      '127.0.0.1.evil.test',
      'localhost.evil.test',
      '0.0.0.0',
    ]
    for (const host of [...foreign, '[::2]', '127.0.0.1@evil.test', 'localhost:80:80', ''])
      for (const origin of [test.origin, test.hub.internalUrl]) {
        assert.equal(await status([`Host: ${host}`], origin), 400, host)
        assert.equal(
          await status([`Host: ${host}`, 'X-Forwarded-Host: localhost'], origin),
          400,
          host,
        )
      }
    for (const host of foreign)
      assert.equal(await status(['Host: localhost', `X-Forwarded-Host: ${host}`]), 400, host)
    const page = await rawSend(test.origin, '/hub/login', { headers: ['Host: e"><b>.test'] })
    assert.doesNotMatch(page.body, /"><b>/)
    assert.match(page.head, /content-security-policy/i)
  })

  it('gives links to the operator only', async () => {
    const browser = new Browser(test.origin)
    await browser.get('/hub/login')
    await browser.post('/hub/login', { secret: newSecret() })
    await browser.get('/hub/home')
    assert.equal((await browser.api('POST', '/hub/api/login-link')).status, 403)
    assert.match((await test.operator.loginLink()).url, /#/)
  })
})

describe('a login link', () => {
  it('ends after ten minutes', async (context) => {
    const start = performance.now()
    let passed = 0
    context.mock.method(performance, 'now', () => start + passed)
    const authenticator = await quickStart.create(
      { userName: 'me' },
      await authenticatorContext(context),
    )
    const redeem = (secret: string) =>
      authenticator.authenticate({
        form: { secret },
        headers: {},
        peerAddress: '127.0.0.1',
        signal: AbortSignal.timeout(30_000),
      })
    const issue = () => authenticator.issueLink?.().path.split('#')[1] ?? ''
    const [early, late] = [issue(), issue()]
    passed = 599_000
    assert.equal((await redeem(early)).kind, 'identified')
    passed = 601_000
    assert.equal((await redeem(late)).kind, 'denied')
  })
})
