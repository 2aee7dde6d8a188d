import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { signValue } from '../../../hub/domain/signed-values.ts'
import { Browser, type Page } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const loginCookie = 'jupyterhub-hub-login'

describe('a login', () => {
  let test: TestHub

  before(async () => {
    test = await startTestHub()
  })
  after(() => test[Symbol.asyncDispose]())

  async function loggedIn(name: string): Promise<Browser> {
    const browser = new Browser(test.origin)
    await browser.logIn('/', name)
    return browser
  }

  /** Whom the hub takes these cookies for; null when it sends them to the login page. */
  async function owner(cookie: string): Promise<string | null> {
    const page = await new Browser(test.origin).get('/hub/api/user', { Cookie: cookie })
    return page.status === 200 ? (JSON.parse(page.text) as { name: string }).name : null
  }

  it('makes new ids, whatever ids were planted before it', async () => {
    const planted = '0123456789abcdef0123456789abcdef'
    const victim = new Browser(test.origin)
    await victim.get('/hub/login')
    const anonymous = victim.cookie('_xsrf') ?? ''
    const login = await victim.send('POST', '/hub/login', {
      body: new URLSearchParams({ username: 'vera', password: 'x', _xsrf: anonymous }).toString(),
      headers: {
        'Content-Type': 'application/x-www-form-urlencoded',
        Cookie: `jupyterhub-session-id=${planted}; _xsrf=${anonymous}`,
      },
    })
    assert.equal(login.status, 302)
    assert.match(victim.cookie('jupyterhub-session-id') ?? '', /^[0-9a-f]{32}$/)
    assert.notEqual(victim.cookie('jupyterhub-session-id'), planted)
    assert.notEqual(victim.cookie('_xsrf'), anonymous)
    assert.equal(await owner(`jupyterhub-session-id=${planted}`), null)
  })

  it('gives a browser that has lost its session id the same one again, on the next page', async () => {
    const browser = await loggedIn('hugo')
    const name = 'jupyterhub-session-id'
    const id = browser.cookie(name)
    const others = browser.cookieHeader('/hub/').replace(/;? ?jupyterhub-session-id=\w+/, '')
    const page = await new Browser(test.origin).get('/hub/token', { Cookie: others })
    const found = page.headers.getSetCookie().filter((cookie) => cookie.startsWith(name))
    assert.equal(found.length, 1)
    assert.match(found[0] ?? '', new RegExp(`^${name}=${id}; Path=/; SameSite=Lax; HttpOnly$`))
    assert.deepEqual((await browser.get('/hub/token')).headers.getSetCookie(), [])
  })

  it('ends the login that this browser had before', async () => {
    const browser = await loggedIn('first')
    const before = browser.cookieHeader('/hub/')
    const id = browser.cookie('jupyterhub-session-id')
    const form = { username: 'second', password: 'x' }
    assert.equal((await browser.post('/hub/login', form)).status, 302)
    assert.notEqual(browser.cookie('jupyterhub-session-id'), id)
    assert.equal(await owner(browser.cookieHeader('/hub/')), 'second')
    assert.equal(await owner(before), null)
  })

  it('ends at logout, also for a copy of its cookies, and no other login of the user does', async () => {
    const [laptop, phone] = [await loggedIn('olga'), await loggedIn('olga')]
    const copy = laptop.cookieHeader('/hub/')
    assert.equal(await owner(copy), 'olga')
    assert.equal((await laptop.get('/hub/logout')).status, 302)
    assert.equal(laptop.cookie(loginCookie), undefined)
    assert.equal(await owner(copy), null)
    assert.equal(await owner(phone.cookieHeader('/hub/')), 'olga')
    const anonymous = await laptop.get('/hub/logout')
    assert.equal(anonymous.status, 302, 'a second logout is nothing special')
  })

  it('ends when the user is deleted or renamed', async () => {
    for (const end of [
      () => test.operator.deleteUser('gone'),
      () => test.operator.updateUser('gone', { name: 'came' }),
    ]) {
      const browser = await loggedIn('gone')
      const copy = browser.cookieHeader('/hub/')
      await end()
      assert.equal(await owner(copy), null)
    }
  })

  it('needs the hub’s signature, its name and its age', async () => {
    const browser = await loggedIn('sig')
    const value = browser.cookie(loginCookie)?.replaceAll('"', '') ?? ''
    assert.equal(await owner(`${loginCookie}="${value}"`), 'sig')
    assert.equal(await owner(`${loginCookie}=${value}`), 'sig', 'quotes do not matter')
    const secret = Buffer.from(
      /\|\d+:([^|]*)\|[0-9a-f]+$/.exec(value)?.[1] ?? '',
      'base64',
    ).toString()
    const now = new Date()
    const forged = [
      signValue(Buffer.alloc(32), loginCookie, secret, now),
      signValue(Buffer.alloc(0), loginCookie, secret, now),
      value.replace(/.$/, (last) => (last === '0' ? '1' : '0')),
      value.replace('2|1:0', '1|1:0'),
      value.toUpperCase(),
      secret,
      Buffer.from('sig').toString('base64'),
      '2|1:0|',
      '',
      'x'.repeat(6000),
    ]
    for (const cookie of forged) assert.equal(await owner(`${loginCookie}=${cookie}`), null)
    assert.equal(await owner(`_xsrf=${value}; jupyterhub-session-id=${value}`), null)
    assert.equal(await owner(`__Host-${loginCookie}=${value}`), null)
    assert.equal(await owner(`${loginCookie}=${browser.cookie('_xsrf')}`), null)
  })

  it('is found behind worthless cookies of its name, and lost where two are good', async () => {
    const [ada, eve] = [await loggedIn('ada'), await loggedIn('eve')]
    const [good, tossed] = [ada, eve].map((one) => `${loginCookie}=${one.cookie(loginCookie)}`)
    const worthless = `${loginCookie}=x; ${loginCookie}="2|1:0|"; ${loginCookie}=`
    assert.equal(await owner(`${worthless}; ${good}`), 'ada')
    assert.equal(await owner(`${good}; ${worthless}`), 'ada')
    assert.equal(await owner(`${good}; ${good}`), 'ada')
    assert.equal(await owner(`${tossed}; ${good}`), null)
    assert.equal(await owner(`${good}; ${tossed}`), null)
  })

  it('survives a restart of the hub, and forgeries of a stolen database do not work', async () => {
    await using other = await startTestHub()
    const browser = new Browser(other.origin)
    await browser.logIn('/', 'rita')
    await using again = await other.restart()
    const page = await browser.get('/hub/api/user')
    assert.equal(page.status, 200)
    assert.equal(again.origin, other.origin)
  })

  it('is not there for scripts on other paths: servers get no login cookie', async () => {
    const ada = await loggedIn('ada')
    await test.operator.startServer('ada')
    const received = async (Cookie: string): Promise<readonly string[]> => {
      const page = await ada.get('/user/ada/env', { Cookie })
      return Object.keys((JSON.parse(page.text) as { headers: object }).headers)
    }
    assert.ok((await received(ada.cookieHeader('/hub/'))).includes('cookie'))
    const only = await received(`${loginCookie}=${ada.cookie(loginCookie)}`)
    assert.ok(!only.includes('cookie'))
  })

  it('leads only to places of this site', async () => {
    const hostile = [
      '//evil.test',
      '/\\evil.test',
      '///evil.test',
      'https:evil.test',
      '/%5Cevil.test',
    ]
    hostile.push('/\t/evil.test', '/.//evil.test', `${test.origin}//evil.test/`, 'http://[::1')
    hostile.push(
      'javascript:alert(1)',
      `${test.origin}@evil.test`,
      '/hub/home\r\nX: y',
      '%2F%2Fevil.test',
    )
    const browser = await loggedIn('nina')
    for (const next of hostile) {
      const query = `?next=${encodeURIComponent(next)}`
      const pages: Page[] = [await browser.get(`/hub/login${query}`)]
      const fresh = new Browser(test.origin)
      pages.push(await fresh.logIn('/', 'nina', 'x', next))
      for (const page of pages) {
        assert.equal(page.status, 302, next)
        const location = new URL(page.headers.get('location') ?? '', `${test.origin}/hub/login`)
        assert.equal(location.origin, test.origin, next)
        assert.ok(!location.pathname.startsWith('//'), next)
      }
    }
    const own = await browser.get(
      `/hub/login?next=${encodeURIComponent(`${test.origin}//evil.test/`)}`,
    )
    assert.equal(own.headers.get('location'), '/evil.test/')
    const twice = await browser.get('/hub/login?next=/hub/home&next=//evil.test')
    assert.equal(twice.headers.get('location'), '/hub/spawn')
  })

  it('shows what it was given escaped, on every page that shows it', async () => {
    const next = '/hub/home"><img/src=x/onerror=alert(1)>'
    const query = `next=${encodeURIComponent(next)}`
    const nosy = await loggedIn('nosy')
    const pages = [
      await new Browser(test.origin).get(
        `/hub/login?${query}&username=${encodeURIComponent('"><b>')}`,
      ),
      await nosy.get(`/hub/spawn?${query}`, { 'Sec-Fetch-Site': 'cross-site' }),
      await nosy.get(`/hub/spawn-pending/nosy?${query}`),
      await nosy.get(`/hub/user/nosy/lab?x="><img/src=x>`),
      await nosy.get(`/hub/error/503?url=${encodeURIComponent(next)}`),
      await nosy.get('/hub/nothing/"><img/src=x>'),
    ]
    for (const page of pages) {
      assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
      assert.doesNotMatch(page.text, /<img\/src|"><b>/, page.url.href)
    }
  })
})
