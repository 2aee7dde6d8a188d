import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { ConfigInput } from '../../hub/config.ts'
import { Browser } from '../support/browser.ts'
import { clientId, clientSecret, startFakeProvider } from '../support/fake-provider.ts'
import { logInAt, type People, startIdentityProvider } from '../support/identity-provider.ts'
import { freePorts, startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

type Options = NonNullable<ConfigInput['authenticator']>

/** A hub whose people log in at `issuer`, or at a provider of its own. */
async function hubAt(url: URL, issuer: string, options: Options = {}): Promise<TestHub> {
  return startTestHub({
    baseUrl: url.pathname,
    config: {
      hub: { bindUrl: url.origin, publicUrl: url.href },
      authenticator: {
        driver: 'oidc',
        issuer,
        clientId,
        clientSecret,
        allowAll: true,
        ...options,
      },
    },
  })
}

async function freeUrl(path = '/'): Promise<URL> {
  const [port] = await freePorts(1)
  return new URL(`http://127.0.0.1:${port}${path}`)
}

async function site(t: TestContext, people: People, options: Options = {}) {
  const url = await freeUrl('/jhub/')
  const provider = await startIdentityProvider(t, url.href, people)
  const test = await hubAt(url, provider.issuer, options)
  const home = `${test.origin}/jhub/hub/home`
  const enter = (browser: Browser, login: string) =>
    logInAt(browser, '/jhub/hub/oauth_login?next=%2Fjhub%2Fhub%2Fhome', login)
  const nameOf = async (browser: Browser): Promise<string> => {
    const { status, text } = await browser.get('/jhub/hub/api/user')
    return status === 200 ? (JSON.parse(text) as { name: string }).name : String(status)
  }
  return { provider, test, home, enter, nameOf }
}

describe('a login at an OpenID Connect provider', () => {
  it('leads from the button to the provider and back to where it began', async (t) => {
    const people = { a1: { preferred_username: 'ada', name: 'Ada L.', groups: ['staff'] } }
    const { test, home, enter, nameOf } = await site(t, people, {
      allowAll: false,
      allowedGroups: ['staff'],
    })
    await using _hub = test
    const browser = new Browser(test.origin)
    const page = await browser.get('/jhub/hub/login?next=%2Fjhub%2Fhub%2Fhome')
    const button = /href="([^"]*oauth_login[^"]*)"[^>]*>Sign in with your account/.exec(
      page.text,
    )?.[1]
    assert.equal(
      button?.replaceAll('&amp;', '&'),
      '/jhub/hub/oauth_login?next=%2Fjhub%2Fhub%2Fhome',
    )
    const end = await enter(browser, 'a1')
    assert.equal(end.url.href, home)
    assert.equal(await nameOf(browser), 'ada')
    assert.equal(
      (await browser.post('/jhub/hub/login', { username: 'ada', password: 'x' })).status,
      403,
    )
    const stranger = new Browser(test.origin)
    const refused = await enter(stranger, 'nobody')
    assert.equal(refused.status, 403)
    assert.match(refused.text, /does not let you in/)
    assert.equal(stranger.cookie('jupyterhub-hub-login'), undefined)
    const log = test.logLines.join('\n')
    assert.doesNotMatch(log, /code=|state=|eyJ/)
    assert.ok(!log.includes(clientSecret))
  })

  it('makes one account one user, whatever it calls itself', async (t) => {
    const people: People = { a1: { preferred_username: 'ada' }, e1: { preferred_username: 'eve' } }
    const { test, provider, enter, nameOf } = await site(t, people, { adminUsers: ['boss'] })
    await using _hub = test
    await test.operator.createUsers(['waiting'])
    const ada = new Browser(test.origin)
    await enter(ada, 'a1')
    // Names are theirs to change: it gives nobody another's place.
    for (const name of ['ada', 'waiting']) {
      provider.people['e1'] = { preferred_username: name }
      const eve = new Browser(test.origin)
      assert.equal((await enter(eve, 'e1')).status, 403, name)
      assert.equal(await nameOf(eve), '403')
    }
    provider.people['a1'] = { preferred_username: 'boss' }
    const again = new Browser(test.origin)
    await enter(again, 'a1')
    assert.equal(await nameOf(again), 'ada')
    assert.equal((await test.operator.user('ada')).admin, false)
    assert.match(test.logLines.join('\n'), /belongs to another account/)
    assert.match(test.logLines.join('\n'), /linkExisting/)
    // Whom the config names is the first to come by that name, and then nobody else.
    provider.people['b1'] = { preferred_username: 'boss' }
    const boss = new Browser(test.origin)
    await enter(boss, 'b1')
    assert.equal(await nameOf(boss), 'boss')
    provider.people['e1'] = { preferred_username: 'boss' }
    assert.equal((await enter(new Browser(test.origin), 'e1')).status, 403)
    await using linking = await test.restart({ linkExisting: ['waiting'] })
    provider.people['e1'] = { preferred_username: 'waiting' }
    const linked = new Browser(linking.origin)
    await enter(linked, 'e1')
    assert.equal(await nameOf(linked), 'waiting')
  })

  it('starts the server at once where nothing else was asked for, though another site has sent the browser', async (t) => {
    const provider = await startFakeProvider(t)
    provider.claims = { preferred_username: 'ada' }
    await using test = await hubAt(await freeUrl(), provider.issuer)
    const end = async (query: string) => {
      const browser = new Browser(test.origin)
      const away = await browser.get(`/hub/oauth_login${query}`)
      const answer = await fetch(away.headers.get('location') ?? '', { redirect: 'manual' })
      const headers = { 'sec-fetch-site': 'cross-site' }
      const back = await browser.get(answer.headers.get('location') ?? '', headers)
      const [, refresh] =
        /<meta http-equiv="refresh" content="0; url=([^"]*)">/.exec(back.text) ?? []
      return [back.status, refresh ?? back.headers.get('location')]
    }
    assert.deepEqual(await end(''), [200, '/hub/spawn'])
    assert.deepEqual(await end('?next=%2F'), [200, '/'])
    assert.deepEqual(await end('?next=%2Fhub%2F'), [200, '/hub/'])
    for (const next of ['/hub/spawn', '/hub/spawn/ada', '/hub/logout', '/hub/home'])
      assert.deepEqual(await end(`?next=${encodeURIComponent(next)}`), [302, next])
  })

  it('lets two tabs log in at once, each once, and only in the browser that began', async (t) => {
    const provider = await startFakeProvider(t)
    provider.claims = { preferred_username: 'ada' }
    await using test = await hubAt(await freeUrl(), provider.issuer)
    const browser = new Browser(test.origin)
    const leave = async (next: string): Promise<string> => {
      const away = await browser.get(`/hub/oauth_login?next=${encodeURIComponent(next)}`)
      assert.equal(away.status, 302)
      const answer = await fetch(away.headers.get('location') ?? '', { redirect: 'manual' })
      return answer.headers.get('location') ?? ''
    }
    const [one, two, stolen] = [
      await leave('/hub/token'),
      await leave('/hub/home'),
      await leave('/'),
    ]
    const victim = new Browser(test.origin)
    assert.match((await victim.get(stolen)).text, /OAuth state missing from cookies/)
    await victim.get('/hub/oauth_login')
    const foreign = await victim.get(stolen)
    assert.equal(foreign.status, 400)
    assert.match(foreign.text, /OAuth state mismatch/)
    const ends = [await browser.get(two), await browser.get(one)]
    assert.deepEqual(
      ends.map(({ status, headers }) => [status, headers.get('location')]),
      [
        [302, '/hub/home'],
        [302, '/hub/token'],
      ],
    )
    assert.match((await browser.get(one)).text, /OAuth state mismatch/)
    for (const [query, text] of [
      ['', /OAuth state missing from URL/],
      ['?state=', /OAuth state missing from URL/],
      ['?state=a&state=b', /more than once/],
      ['?state=unknown', /OAuth state mismatch/],
    ] as const) {
      const page = await browser.get(`/hub/oauth_callback${query}`)
      assert.equal(page.status, 400)
      assert.match(page.text, text)
    }
    const lost = new URL(await leave('/'))
    lost.searchParams.delete('code')
    lost.searchParams.set('error', 'access_denied')
    lost.searchParams.set('error_description', '<b>call 555</b>')
    const denied = await browser.get(lost.href)
    assert.equal(denied.status, 400)
    assert.match(denied.text, /OAuth error: {1,2}b call 555/)
    assert.equal(denied.headers.get('referrer-policy'), 'no-referrer')
    assert.equal((await leave('https://evil.test/')).includes('evil'), false)
    const wrong = new URL(await leave('/'))
    wrong.searchParams.set('code', 'code-of-somebody-else')
    const page = await browser.get(wrong.href)
    assert.equal(page.status, 400)
    assert.doesNotMatch(page.text, /code-of-somebody-else/)
  })

  it('keeps several providers apart, in names and on the way back', async (t) => {
    const providers = [await startFakeProvider(t), await startFakeProvider(t)]
    for (const each of providers) each.claims = { preferred_username: 'ada' }
    const url = await freeUrl()
    await using test = await startTestHub({
      config: {
        hub: { bindUrl: url.origin, publicUrl: url.href },
        authenticator: {
          driver: 'multi',
          allowAll: true,
          providers: providers.map(({ issuer }, index) => ({
            name: ['one', 'two'][index],
            driver: 'oidc',
            issuer,
            clientId,
            clientSecret,
          })),
        },
      },
    })
    const browser = new Browser(test.origin)
    const leave = async (name: string): Promise<URL> => {
      const away = await browser.get(`/hub/${name}/oauth_login?next=%2Fhub%2Fhome`)
      const answer = await fetch(away.headers.get('location') ?? '', { redirect: 'manual' })
      return new URL(answer.headers.get('location') ?? '')
    }
    const page = await browser.get('/hub/login')
    for (const name of ['one', 'two']) {
      assert.ok(page.text.includes(`href="/hub/${name}/oauth_login"`))
      const back = await leave(name)
      assert.equal(back.pathname, `/hub/${name}/oauth_callback`)
      assert.equal((await browser.get(back.href)).headers.get('location'), '/hub/home')
      const { text } = await browser.get('/hub/api/user')
      assert.equal((JSON.parse(text) as { name: string }).name, `${name}:ada`)
    }
    const mixed = await leave('one')
    mixed.pathname = '/hub/two/oauth_callback'
    assert.match((await browser.get(mixed.href)).text, /OAuth state mismatch/)
  })

  it('stops with a diagnosis when logins go round in circles', async (t) => {
    const provider = await startFakeProvider(t)
    provider.claims = { preferred_username: 'ada' }
    await using test = await hubAt(await freeUrl(), provider.issuer)
    const forgetful = new Browser(test.origin)
    const lost = { Cookie: '' }
    await forgetful.get('/hub/oauth_login')
    const kept = `portico-login-attempt=${forgetful.cookie('portico-login-attempt')}`
    const round = async () => {
      const away = await forgetful.get('/hub/oauth_login', { ...lost, Cookie: kept })
      if (away.status !== 302) return away
      const answer = await fetch(away.headers.get('location') ?? '', { redirect: 'manual' })
      return forgetful.get(answer.headers.get('location') ?? '', { Cookie: kept })
    }
    const statuses: number[] = []
    for (let rounds = 0; rounds < 8; rounds += 1) statuses.push((await round()).status)
    assert.deepEqual(statuses, [302, 302, 302, 302, 302, 400, 400, 400])
    assert.match((await round()).text, /does not send the login cookie back/)
    const other = await forgetful.get('/hub/oauth_login', {
      Cookie: `${kept}; jupyterhub-hub-login=worthless`,
    })
    assert.match(other.text, /is not accepted/)
  })

  it('ends here when it ends at the provider, and there when asked to', async (t) => {
    const people = { a1: { preferred_username: 'ada' }, g1: { preferred_username: 'grace' } }
    const options = { logoutAtProvider: true, extraAuthorizeParams: { prompt: 'login' } }
    const { test, enter, nameOf, provider } = await site(t, people, options)
    await using _hub = test
    const [ada, grace] = [new Browser(test.origin), new Browser(test.origin)]
    await enter(ada, 'a1')
    await enter(grace, 'g1')
    const left = await ada.get('/jhub/hub/logout')
    const end = new URL(left.headers.get('location') ?? '')
    assert.equal(end.origin, provider.issuer)
    assert.equal(await nameOf(ada), '403')
    // At the provider grace confirms that she leaves; the provider then tells the hub.
    assert.equal(await nameOf(grace), 'grace')
    const asked = await grace.get(`${provider.issuer}/session/end`)
    const xsrf = /name="xsrf" value="([^"]+)"/.exec(asked.text)?.[1] ?? ''
    await grace.post(`${provider.issuer}/session/end/confirm`, { xsrf, logout: 'yes' })
    await until('the hub has ended her login', async () => (await nameOf(grace)) === '403', 30_000)
  })
})
