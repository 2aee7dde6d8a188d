import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Browser } from '../../support/browser.ts'
import { startTestHub } from '../../support/start-hub.ts'

const password = 'correct horse'

describe('the pages of an authenticator', () => {
  it('take people from a link in the terminal to sign-up, approval and a new password', async () => {
    await using test = await startTestHub({
      baseUrl: '/jhub/',
      config: {
        hub: { adminUsers: ['grace'] },
        authenticator: { driver: 'native', scryptCost: 12 },
      },
    })
    const visit = () => new Browser(test.origin)
    const signUp = async (username: string, more: Record<string, string> = {}) => {
      const browser = visit()
      const form = await browser.get('/jhub/hub/signup')
      assert.match(form.text, /action="\/jhub\/hub\/signup"/)
      return browser.post('/jhub/hub/signup', {
        username,
        password,
        repeated: password,
        ...more,
      })
    }

    const { url } = await test.operator.loginLink()
    assert.match(url, /\/jhub\/hub\/signup#/)
    assert.equal((await signUp('grace', { invitation: new URL(url).hash.slice(1) })).status, 200)
    const grace = visit()
    await grace.logIn('/jhub/', 'grace', password, '/jhub/hub/home')

    assert.equal((await signUp('zoe')).status, 200)
    const zoe = visit()
    const login = await zoe.get('/jhub/hub/login')
    assert.match(login.text, /href="\/jhub\/hub\/signup">Sign up/)
    assert.doesNotMatch(login.text, /Nobody can log in/)
    const refused = await zoe.post('/jhub/hub/login', { username: 'zoe', password })
    assert.equal(refused.status, 403)
    assert.match(refused.text, /not been approved yet/)

    const list = await grace.get('/jhub/hub/signups')
    assert.match(list.text, /zoe/)
    const decision = { username: 'zoe', action: 'approve' }
    for (const stranger of [visit(), zoe]) {
      await stranger.get('/jhub/hub/login')
      assert.equal((await stranger.post('/jhub/hub/signups', decision)).status, 403)
    }
    const forged = await grace.post('/jhub/hub/signups', { ...decision, _xsrf: 'wrong' })
    assert.equal(forged.status, 403)
    const gone = await grace.get('/jhub/hub/signups?username=zoe&action=approve')
    assert.match(gone.text, /zoe/)
    assert.equal((await grace.post('/jhub/hub/signups', decision)).status, 200)
    await zoe.logIn('/jhub/', 'zoe', password, '/jhub/hub/home')
    assert.equal((await zoe.get('/jhub/hub/signups')).status, 403)

    await zoe.get('/jhub/hub/change-password')
    const next = { current: password, password: 'staple battery', repeated: 'staple battery' }
    assert.equal((await zoe.post('/jhub/hub/change-password', next)).status, 200)
    const afterwards = await zoe.get('/jhub/hub/change-password')
    assert.equal(afterwards.status, 302)
    assert.match(afterwards.headers.get('location') ?? '', /\/jhub\/hub\/login\?next=/)
    await zoe.logIn('/jhub/', 'zoe', 'staple battery', '/jhub/hub/home')
    assert.ok(!test.logLines.some((line) => /horse|battery/.test(line)))
  })
})
