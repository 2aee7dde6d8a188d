import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { Browser } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

describe('the page for accepting a share', () => {
  let test: TestHub
  let root: CallApi
  let hubPath = ''

  before(async () => {
    test = await startTestHub({
      baseUrl: '/jhub/',
      config: {
        hub: { adminUsers: ['root'], allowNamedServers: true },
        authenticator: { allowAll: true },
      },
    })
    await test.operator.createUsers(['ada', 'bob', 'cy'])
    root = apiCaller(test, (await test.operator.createToken('root')).token)
    await root('PUT', 'users/ada/servers/lab')
    hubPath = `${test.baseUrl}hub/`
  })
  after(() => test[Symbol.asyncDispose]())

  const newCode = async (body?: unknown) =>
    String((await root('POST', 'share-codes/ada/lab', body)).json['code'])

  const loggedIn = async (name: string) => {
    const browser = new Browser(test.origin)
    await browser.logIn(test.baseUrl, name)
    return browser
  }

  it('says what is offered, and takes it up', async () => {
    const code = await newCode({ scopes: ['access:servers', 'read:servers'] })
    const address = `${hubPath}accept-share?code=${code}`
    const stranger = await new Browser(test.origin).get(address)
    assert.equal(stranger.status, 302)
    assert.match(stranger.headers.get('location') ?? '', /\/hub\/login\?next=/)
    const bob = await loggedIn('bob')
    const page = await bob.get(address)
    assert.equal(page.status, 200)
    assert.match(page.text, /<strong>ada<\/strong> offers you/)
    assert.match(page.text, /href="\/jhub\/user\/ada\/lab\/"/)
    assert.match(page.text, /not running now/)
    const accepted = await bob.post(address, { code })
    assert.equal(accepted.status, 302)
    assert.equal(accepted.headers.get('location'), '/jhub/user/ada/lab/')
    const { text } = await bob.api('GET', `${hubPath}api/user`)
    assert.match(text, /access:servers!server=ada\/lab/)
    const again = await bob.post(address, { code })
    assert.equal(again.status, 302)
    const { json } = await root('GET', 'share-codes/ada/lab')
    const [listed] = json['items'] as Record<string, unknown>[]
    assert.equal(listed?.['exchange_count'], 2)
    assert.notEqual(listed?.['last_exchanged_at'], null)
    assert.equal((await bob.get(`${hubPath}user/ada/lab/`)).status, 424)
    await root('PATCH', 'shares/ada/lab', { user: 'bob' })
    assert.equal((await bob.get(`${hubPath}user/ada/lab/`)).status, 404)
  })

  it('puts the server on the home page of whoever has it, and nobody else’s', async () => {
    await root('POST', 'shares/ada/lab', { user: 'bob' })
    const bob = await loggedIn('bob')
    const stopped = (await bob.get(`${hubPath}home`)).text
    assert.match(stopped, /Shared with you/)
    assert.match(stopped, /<strong>ada’s server “lab”<\/strong>/)
    assert.match(stopped, /Its owner can start it/)
    assert.doesNotMatch(stopped, /href="\/jhub\/user\/ada\/lab\/"/)
    await root('POST', 'groups/friends', {})
    await root('POST', 'groups/friends/users', { users: ['bob'] })
    const scopes = ['servers', 'access:servers'].map((scope) => `${scope}!server=ada/lab`)
    await root('POST', 'shares/ada/lab', { group: 'friends', scopes })
    const startable = (await bob.get(`${hubPath}home`)).text
    assert.match(startable, /href="\/jhub\/hub\/spawn\/ada\/lab"/)
    assert.equal(startable.match(/ada’s server “lab”<\/strong>/g)?.length, 1)
    await test.operator.startServer('ada', 'lab')
    const running = await until('it runs', async () => {
      const { text } = await bob.get(`${hubPath}home`)
      return text.includes('href="/jhub/user/ada/lab/"') && text
    })
    assert.match(running, /data-state="ready"/)
    assert.doesNotMatch((await (await loggedIn('cy')).get(`${hubPath}home`)).text, /Shared with/)
    await test.operator.stopServer('ada', 'lab')
    await root('DELETE', 'shares/ada/lab')
    assert.doesNotMatch((await bob.get(`${hubPath}home`)).text, /Shared with you/)
  })

  it('goes on to where it was told, within this site alone', async () => {
    const code = await newCode()
    const cy = await loggedIn('cy')
    const at = (next: string) =>
      `${hubPath}accept-share?code=${code}&next=${encodeURIComponent(next)}`
    const inside = await cy.post(at('/jhub/user/ada/lab/tree?a=1'), { code })
    assert.equal(inside.headers.get('location'), '/jhub/user/ada/lab/tree?a=1')
    for (const next of ['https://evil.example/', '//evil.example/', 'http://[::1', '/elsewhere']) {
      const outside = await cy.post(at(next), { code })
      assert.equal(outside.headers.get('location'), '/jhub/user/ada/lab/')
    }
    const attack = `/jhub/user/ada/lab/"><script>alert(1)</script>`
    const { text } = await cy.get(at(attack))
    assert.doesNotMatch(text, /<script>alert/)
  })

  it('refuses codes that are missing, unknown, expired or for one’s own server', async () => {
    const code = await newCode()
    const bob = await loggedIn('bob')
    assert.equal((await bob.get(`${hubPath}accept-share`)).status, 400)
    assert.equal((await bob.get(`${hubPath}accept-share?code=${'x'.repeat(43)}`)).status, 404)
    assert.equal((await bob.post(`${hubPath}accept-share`, {})).status, 400)
    assert.equal((await bob.post(`${hubPath}accept-share`, { code: 'nonsense' })).status, 400)
    const ada = await loggedIn('ada')
    assert.equal((await ada.get(`${hubPath}accept-share?code=${code}`)).status, 403)
    assert.equal((await ada.post(`${hubPath}accept-share`, { code })).status, 400)
    const noToken = { code, _xsrf: 'wrong' }
    assert.equal((await bob.post(`${hubPath}accept-share`, noToken)).status, 403)
    await root('DELETE', 'share-codes/ada/lab')
    assert.equal((await bob.get(`${hubPath}accept-share?code=${code}`)).status, 404)
  })
})
