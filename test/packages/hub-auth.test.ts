import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it, type TestContext } from 'node:test'
import { HubError } from '../../packages/core/errors.ts'
import { HubAuth, hubAuthFromEnv } from '../../packages/hub-auth/index.ts'
import { Browser, HubStandIn, serverEnvironment } from '../support/hub-stand-in.ts'

/** A service of a few lines on hub-auth, as a stranger would write it. */
async function startService(auth: HubAuth): Promise<Server> {
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { callbackUrl, servicePrefix } = auth.config
    const path = request.url ?? ''
    const go = (to: { location: string; cookies: readonly string[] }): void => {
      const headers = { location: to.location, 'set-cookie': [...to.cookies] }
      response.writeHead(302, headers).end()
    }
    if (path.startsWith(callbackUrl)) return go(await auth.finishLogin(request))
    if (path === `${servicePrefix}logout`) return go(auth.logout(request))
    const caller = await auth.caller(request)
    if (caller === null) return go(auth.startLogin(request))
    response.writeHead(auth.allows(caller.user) ? 200 : 403)
    response.end(`${caller.user.name} by ${caller.via}`)
  }
  const listener = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      const code = error instanceof HubError ? error.code : 'bug'
      response.writeHead(code === 'unavailable' ? 503 : 400).end(`${code}: ${String(error)}`)
    })
  })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  return listener
}

describe('hub-auth', () => {
  let hub: HubStandIn
  let auth: HubAuth
  let service: Server

  before(async () => {
    hub = await HubStandIn.start()
    auth = new HubAuth(hubAuthFromEnv(serverEnvironment(hub, 'ada')))
    service = await startService(auth)
    hub.routes.set('/user/ada/', (service.address() as AddressInfo).port)
  })

  after(async () => {
    service.close()
    service.closeAllConnections()
    await hub[Symbol.asyncDispose]()
  })

  async function loggedIn(user = 'ada'): Promise<Browser> {
    const browser = new Browser(hub.url)
    await browser.fetch(`/hub/login?user=${user}`)
    await browser.open('/user/ada/')
    return browser
  }

  /** The callback URL of a login that is about to be completed. */
  async function callbackOf(browser: Browser, path = '/user/ada/'): Promise<string> {
    const authorize = (await browser.fetch(path)).headers.get('location') ?? ''
    return (await browser.fetch(authorize)).headers.get('location') ?? ''
  }

  it('logs a browser in and returns it to the page it wanted', async () => {
    const browser = new Browser(hub.url)
    await browser.fetch('/hub/login?user=ada')
    const callback = await browser.fetch(await callbackOf(browser, '/user/ada/x%20y?a=1&b=%2F'))
    assert.equal(callback.headers.get('location'), '/user/ada/x%20y?a=1&b=%2F')
    const page = await browser.fetch('/user/ada/')
    assert.equal(await page.text(), 'ada by cookie')
  })

  it('asks the hub with S256 and never shows token or verifier', async () => {
    const browser = await loggedIn()
    const reply = await new Browser(hub.url).fetch('/user/ada/')
    const url = new URL(reply.headers.get('location') ?? '', hub.url)
    assert.equal(url.pathname, '/hub/api/oauth2/authorize')
    assert.equal(url.searchParams.get('code_challenge_method'), 'S256')
    assert.equal(url.searchParams.get('redirect_uri'), '/user/ada/oauth_callback')
    assert.match(url.searchParams.get('code_challenge') ?? '', /^[\w-]{43}$/)
    const login = [...browser.jar.values()].find(({ name }) => name === 'jupyterhub-user-ada')
    assert.ok(login)
    assert.ok(!login.value.includes(auth.config.apiToken))
  })

  it('sets cookies that are HttpOnly, Lax, below its own prefix, and Secure over https', async () => {
    const plain = auth.startLogin({ url: '/user/ada/', headers: {} })
    assert.match(
      plain.cookies[0] ?? '',
      /; Path=\/user\/ada\/; HttpOnly; SameSite=Lax; Max-Age=600$/,
    )
    const headers = { 'x-forwarded-proto': 'https' }
    const secure = auth.startLogin({ url: '/user/ada/', headers })
    assert.match(secure.cookies[0] ?? '', /; Secure/)
  })

  it('completes each login once, in its own browser only', async () => {
    const browser = new Browser(hub.url)
    await browser.fetch('/hub/login?user=ada')
    const url = await callbackOf(browser)
    const jar = new Map(browser.jar)
    const stranger = await new Browser(hub.url).fetch(url)
    assert.equal(stranger.status, 400)
    assert.match(await stranger.text(), /another browser/)
    assert.equal((await browser.fetch(url)).status, 302)
    for (const [key, kept] of jar) browser.jar.set(key, kept)
    const again = await browser.fetch(url)
    assert.equal(again.status, 400)
    assert.match(await again.text(), /already completed/)
  })

  it('lets two tabs log in at the same time', async () => {
    const browser = new Browser(hub.url)
    await browser.fetch('/hub/login?user=ada')
    const urls = [
      await callbackOf(browser, '/user/ada/1'),
      await callbackOf(browser, '/user/ada/2'),
    ]
    for (const [at, url] of urls.entries()) {
      const reply = await browser.fetch(url)
      assert.equal(reply.headers.get('location'), `/user/ada/${at + 1}`)
    }
  })

  it('keeps the number of unfinished logins in a browser bounded', async () => {
    const browser = new Browser(hub.url)
    for (let count = 0; count < 20; count++) await browser.fetch('/user/ada/')
    const attempts = [...browser.jar.values()].filter(({ name }) => name.includes('-oauth-state-'))
    assert.ok(attempts.length <= 8, String(attempts.length))
  })

  for (const [what, change] of [
    ['a doubled code', (url: string) => `${url}&code=x`],
    ['a doubled state', (url: string) => `${url}&state=x`],
    ['no state', (url: string) => url.replace(/&state=[^&]*/, '')],
    ['a changed state', (url: string) => url.replace(/state=..../, 'state=AAAA')],
    ['no code', (url: string) => url.replace(/code=[^&]*&/, '')],
    ['a code of someone else', (url: string) => url.replace(/code=[^&]*/, 'code=other')],
  ] as const) {
    it(`refuses a callback with ${what}`, async () => {
      const browser = new Browser(hub.url)
      await browser.fetch('/hub/login?user=ada')
      const reply = await browser.fetch(change(await callbackOf(browser)))
      assert.equal(reply.status, 400)
      assert.match(await reply.text(), /^invalid_request: /)
    })
  }

  for (const next of [
    '//evil.example/',
    'https://evil.example/',
    '/user/adam/',
    '/user/ada/\\x',
    '',
  ]) {
    it(`returns to its own prefix rather than to ${JSON.stringify(next)}`, async () => {
      const browser = new Browser(hub.url)
      await browser.fetch('/hub/login?user=ada')
      const headers = { cookie: browser.cookiesFor('/user/ada/') }
      const { location, cookies } = auth.startLogin({ url: '/user/ada/', headers }, next)
      const answer = await browser.fetch(location)
      const session = browser.cookiesFor('/user/ada/')
      const url = answer.headers.get('location') ?? ''
      const cookie = `${session}; ${cookies[0]?.split(';')[0] ?? ''}`
      const done = await auth.finishLogin({ url, headers: { cookie } })
      assert.equal(done.location, '/user/ada/')
    })
  }

  it('takes tokens from the header, whatever the scheme’s case', async () => {
    const token = hub.issueToken('ada', ['access:servers!server=ada/'])
    for (const scheme of ['token', 'Bearer', 'TOKEN']) {
      const headers = { authorization: `${scheme} ${token}` }
      const caller = await auth.caller({ url: '/', headers })
      assert.deepEqual([caller?.user.name, caller?.via], ['ada', 'header'])
    }
    const basic = await auth.caller({ url: '/', headers: { authorization: `Basic ${token}` } })
    assert.equal(basic, null)
  })

  for (const [scopes, allowed] of [
    [['access:servers'], true],
    [['access:servers!user=ada'], true],
    [['access:servers!server=ada/'], true],
    [['access:servers!server=ada/other'], false],
    [['access:servers!user=adam'], false],
    [['access:servers!group=all'], false],
    [['read:users'], false],
    [[], false],
  ] as const) {
    it(`${allowed ? 'lets in' : 'keeps out'} who holds ${JSON.stringify(scopes)}`, async () => {
      const user = await auth.userForToken(hub.issueToken('someone', scopes))
      assert.ok(user)
      assert.equal(auth.allows(user), allowed)
    })
  }

  it('ignores cookies that others planted under its name', async () => {
    const browser = await loggedIn()
    const mine = browser.cookiesFor('/user/ada/')
    const cookie = `jupyterhub-user-ada=planted; ${mine}`
    const caller = await auth.caller({ url: '/user/ada/', headers: { cookie } })
    assert.equal(caller?.user.name, 'ada')
  })

  it('ignores a login of another browser session', async () => {
    const browser = await loggedIn()
    const cookie = browser.cookiesFor('/user/ada/').replace(/session-id=\w+/, 'session-id=other')
    assert.equal(await auth.caller({ url: '/user/ada/', headers: { cookie } }), null)
  })

  it('asks the hub once for many requests', async () => {
    const token = hub.issueToken('ada', [])
    const asked = hub.lookups
    await Promise.all(Array.from({ length: 20 }, () => auth.userForToken(token)))
    await auth.userForToken(token)
    assert.equal(hub.lookups, asked + 1)
  })

  it('asks again after ten seconds, so that a logout at the hub ends access', async (context) => {
    const token = hub.issueToken('ada', [], 'session-1')
    assert.ok(await auth.userForToken(token, 'session-1'))
    hub.logOut('session-1')
    assert.ok(await auth.userForToken(token, 'session-1'))
    movePerformanceClock(context, 10_001)
    assert.equal(await auth.userForToken(token, 'session-1'), null)
  })

  it('keeps who is in while the hub is down for minutes, and lets nobody new in', async (context) => {
    const token = hub.issueToken('ada', [])
    const unseen = hub.issueToken('ada', [])
    await auth.userForToken(token)
    hub.down = true
    try {
      movePerformanceClock(context, 60_000)
      assert.equal((await auth.userForToken(token))?.name, 'ada')
      await assert.rejects(auth.userForToken(unseen), { code: 'unavailable' })
      context.mock.restoreAll()
      movePerformanceClock(context, 301_000)
      await assert.rejects(auth.userForToken(token), { code: 'unavailable' })
    } finally {
      hub.down = false
    }
  })

  it('forgets the login at logout and leads to the hub’s', async () => {
    const browser = await loggedIn()
    const reply = await browser.fetch('/user/ada/logout')
    assert.equal(reply.headers.get('location'), '/hub/logout')
    assert.equal((await browser.fetch('/user/ada/')).status, 302)
  })

  it('keeps the login when another site asks for the logout', async () => {
    const browser = await loggedIn()
    const headers = { 'sec-fetch-site': 'cross-site' }
    const reply = await browser.fetch('/user/ada/logout', { headers })
    assert.equal(reply.headers.get('location'), '/hub/logout')
    assert.equal((await browser.fetch('/user/ada/')).status, 200)
  })

  it('names every missing variable at once', () => {
    assert.throws(() => hubAuthFromEnv({ JUPYTERHUB_API_URL: 'ftp://x' }), {
      code: 'invalid_request',
      message:
        /API_URL is not a URL; .*API_TOKEN is not set; .*CLIENT_ID is not set; .*SERVICE_PREFIX is not set; .*ACCESS_SCOPES/,
    })
  })
})

/** Moves the monotonic clock; the mock ends with the test. */
function movePerformanceClock(context: TestContext, by: number): void {
  const start = performance.now()
  context.mock.method(performance, 'now', () => start + by)
}
