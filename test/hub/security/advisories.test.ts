import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { operationsOf, readDocument } from '../../support/api-document.ts'
import { Browser } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

/**
 * Every advisory that JupyterHub has published, from outside. More of each is in the tests named with
 * it; here is what those do not reach.
 */
describe('what JupyterHub had to repair', () => {
  let test: TestHub
  let root: Browser
  let ada: Browser

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['root'],
          allowNamedServers: true,
          loadRoles: [
            { name: 'helpdesk', scopes: ['admin:users', 'users', 'shares'], users: ['hal'] },
          ],
        },
      },
    })
    await test.operator.createUsers(['ada', 'bob'])
    root = await loggedIn('root')
    ada = await loggedIn('ada')
  })
  after(() => test[Symbol.asyncDispose]())

  async function loggedIn(name: string): Promise<Browser> {
    const browser = new Browser(test.origin)
    await browser.logIn('/', name)
    return browser
  }

  const shareCode = async (): Promise<string> => {
    const made = await root.api('POST', '/hub/api/share-codes/bob/', {})
    return (JSON.parse(made.text) as { code: string }).code
  }

  /** Where a browser that is on `from` goes with this `Location`. */
  const landing = (location: string | null, from: string): URL => new URL(location ?? '', from)

  // Also: sessions.test.ts, "leads only to places of this site"; next-url.test.ts.
  it('CVE-2019-10255: no page sends a browser to another site by its next', async () => {
    await test.operator.startServer('ada')
    const hostile = ['//evil.test', '/\\evil.test', '///evil.test', 'https:evil.test']
    hostile.push('/%5Cevil.test', '/\t/evil.test', '/.//evil.test', '/hub/..//evil.test')
    hostile.push('/hub/%2e%2e//evil.test', 'https://evil.test/', `${test.origin}.evil.test/`)
    hostile.push(`//${new URL(test.origin).host}@evil.test`, '\u0000//evil.test', '/\u2028/evil')
    for (const next of hostile) {
      const query = `next=${encodeURIComponent(next)}`
      const code = await shareCode()
      const answers = [
        await ada.get(`/hub/?${query}`),
        await ada.get(`/hub/login?${query}`),
        await ada.get(`/hub/spawn?${query}`),
        await ada.get(`/hub/spawn-pending/ada?${query}`),
        await ada.get(`/hub/user/ada/lab?${query}`),
        await ada.get(`/hub/user-redirect/lab?${query}`),
        await ada.post(`/hub/accept-share?code=${code}&${query}`, { code }),
        await new Browser(test.origin).get(`/hub/home?${query}`),
        await new Browser(test.origin).get(`/hub/${next}`).catch(() => null),
        await new Browser(test.origin).get(`/user/${encodeURIComponent(next)}`),
      ]
      for (const page of answers) {
        const location = page?.headers.get('location')
        if (!page || !location) continue
        const url = landing(location, page.url.href)
        assert.equal(url.origin, test.origin, `${page.url.href}: ${location}`)
        assert.ok(!url.pathname.startsWith('//'), `${page.url.href}: ${location}`)
      }
    }
    await test.operator.stopServer('ada')
  })

  // Also: csrf.test.ts, "never passes without the token, whatever the browser says of itself".
  it('CVE-2020-36191, CVE-2026-40864: nothing is changed by a cookie without its token', async () => {
    const document = await readDocument(test.origin)
    const code = await shareCode()
    const forms = ['spawn', 'spawn/ada', `accept-share?code=${code}`, 'logout', 'login']
    const calls = operationsOf(document).filter(({ method }) => method !== 'GET')
    const names = { user: 'bob', server: 'lab', group: 'g', service: 's', owner: 'bob', name: 'x' }
    const paths = calls.map(({ method, path }) => ({
      method,
      type: 'application/json',
      path: `/hub/api${path.replaceAll(/\{(\w+)\}/g, (_all, name: keyof typeof names) => names[name] ?? 'a1')}`,
    }))
    const posts = [...forms, 'api/oauth2/authorize?client_id=x&response_type=code'].map((path) => ({
      method: 'POST',
      type: 'application/x-www-form-urlencoded',
      path: `/hub/${path}`,
    }))
    const loose = ['/hub/api/authorizations/token', '/hub/api/oauth2/token']
    for (const { method, type, path } of [...paths, ...posts])
      for (const mode of ['no-cors', 'navigate', 'cors', 'websocket'])
        for (const site of ['same-origin', 'cross-site']) {
          const body = type === 'application/json' ? '{}' : `code=${code}`
          const page = await root.send(method, path, {
            body,
            headers: {
              'Sec-Fetch-Mode': mode,
              'Sec-Fetch-Site': site,
              'Content-Type': type,
              'Content-Length': String(body.length),
            },
          })
          const what = `${method} ${path} (${mode}, ${site}): ${page.status} ${page.text.slice(0, 200)}`
          if (loose.includes(path)) assert.ok(page.status >= 400 && page.status < 500, what)
          else assert.equal(page.status, 403, what)
        }
    assert.equal((await root.get('/hub/api/user')).status, 200, 'still logged in')
    const left = []
    for await (const { name } of test.operator.users()) left.push(name)
    assert.deepEqual(left.toSorted(), ['ada', 'bob', 'hal', 'root'])
  })

  // CVE-2021-41247: oauth.test.ts, "ends with the login it came from, and with no other";
  // oauth-services.test.ts, "ends with the login: tokens and codes of the session are worth nothing".
  it('CVE-2021-41247: a logout in one window is a logout in all of that browser', async () => {
    const window = await loggedIn('bob')
    const other = window.cookieHeader('/hub/')
    assert.equal((await window.get('/hub/logout')).status, 302)
    for (const path of ['/hub/api/user', '/hub/api/users/bob', '/hub/api/users/bob/tokens'])
      assert.equal((await new Browser(test.origin).get(path, { Cookie: other })).status, 403)
    for (const path of ['/hub/home', '/hub/spawn', '/hub/user/bob/lab']) {
      const page = await new Browser(test.origin).get(path, { Cookie: other })
      assert.match(page.headers.get('location') ?? '', /^\/hub\/login\?next=/, path)
    }
  })

  // Also: csrf.test.ts, "skips foreign cookies of the same name, first or last"; sessions.test.ts,
  // "is found behind worthless cookies of its name, and lost where two are good".
  it('CVE-2024-28233: cookies that a neighbour tosses give nobody another’s login or token', async () => {
    const eve = await loggedIn('eve')
    const [own, theirs] = [ada.cookieHeader('/hub/'), eve.cookieHeader('/hub/')]
    const adas = ada.cookie('_xsrf') ?? ''
    const eves = eve.cookie('_xsrf') ?? ''
    for (const Cookie of [`${theirs}; ${own}`, `${own}; ${theirs}`])
      for (const token of [adas, eves]) {
        const page = await new Browser(test.origin).send('POST', '/hub/api/users/ada/tokens', {
          body: '{}',
          headers: { Cookie, 'X-XSRFToken': token, 'Content-Type': 'application/json' },
        })
        assert.equal(page.status, 403, page.text)
      }
    const login = new Browser(test.origin)
    await login.get('/hub/login')
    const tossed = `_xsrf=${eves}; ${login.cookieHeader('/hub/')}`
    const form = new URLSearchParams({ username: 'ada', password: 'x', _xsrf: eves })
    const page = await login.send('POST', '/hub/login', {
      body: form.toString(),
      headers: { Cookie: tossed, 'Content-Type': 'application/x-www-form-urlencoded' },
    })
    assert.equal(page.status, 403, 'a login with the token of somebody else')
  })

  // Also: authorization.test.ts, "lets nobody but an admin make, change or delete admins, whatever
  // their scopes".
  it('CVE-2024-41942: admin:users makes nobody an admin, by no way there is', async () => {
    const hal = await loggedIn('hal')
    for (const [method, path, body] of [
      ['POST', 'users', { usernames: ['mallory'], admin: true }],
      ['POST', 'users/mallory', { admin: true }],
      ['PATCH', 'users/hal', { admin: true }],
      ['PATCH', 'users/ada', { admin: true }],
      ['PATCH', 'users/root', { name: 'roots' }],
      ['PATCH', 'users/root', { admin: false }],
      ['DELETE', 'users/root', undefined],
      ['POST', 'users/root/tokens', {}],
      ['POST', 'groups/admins', { users: ['hal'] }],
      ['POST', 'services/mine', { admin: true }],
    ] as const) {
      const page = await hal.api(method, `/hub/api/${path}`, body)
      assert.equal(page.status, 403, `${method} ${path}: ${page.text}`)
    }
    const { text } = await hal.api('POST', '/hub/api/users/ada/tokens', { scopes: ['admin:users'] })
    assert.match(text, /"status":403/)
    const own = await hal.api('POST', '/hub/api/users/hal/tokens', { scopes: ['admin:servers'] })
    assert.equal(own.status, 400, own.text)
    const roles = await hal.api('POST', '/hub/api/users/hal/tokens', { roles: ['admin'] })
    assert.equal(roles.status, 400, roles.text)
    for await (const { name, admin } of test.operator.users())
      assert.equal(admin, name === 'root', name)
  })

  // Also: sessions.test.ts, "leads only to places of this site".
  it('CVE-2026-33709: an absolute next of this host is cut to one leading slash', async () => {
    for (const rest of ['//evil.test/', '///evil.test/', '//evil.test//x', '/%2f/evil.test/']) {
      const next = encodeURIComponent(`${test.origin}${rest}`)
      const page = await ada.get(`/hub/login?next=${next}`)
      const location = page.headers.get('location') ?? ''
      assert.match(location, /^\/(?![/\\])/)
      assert.equal(landing(location, `${test.origin}/hub/login`).origin, test.origin)
    }
  })

  // Also: logs.test.ts, "that is huge is cut off early and hardly logged".
  it('CVE-2026-54338: a huge name fills neither log nor answer, at login and in the API', async () => {
    const size = () => test.logLines.join('').length
    const before = size()
    for (let round = 0; round < 8; round += 1) {
      const username = 'x'.repeat(5_000_000)
      assert.equal((await root.post('/hub/login', { username, password: 'x' })).status, 413)
      const long = 'y'.repeat(900_000)
      const page = await new Browser(test.origin).send('POST', '/hub/api/users/ada/tokens', {
        body: JSON.stringify({ auth: { username: long, password: long } }),
        headers: { 'Sec-Fetch-Site': '' },
      })
      assert.ok(page.status >= 400 && page.status < 500, String(page.status))
      assert.ok(page.text.length < 1000)
    }
    assert.ok(size() - before < 16 * 1024, `${size() - before} bytes for 16 requests`)
  })

  // Also: sessions.test.ts, "shows what it was given escaped, on every page that shows it".
  it('GHSA-c4gm-pwx9-9w8j: nothing of next or of a name becomes markup', async () => {
    const evil = '"><img src=x onerror=1>'
    const next = encodeURIComponent(`/hub/home${evil}`)
    const owner = `o${evil}`
    await test.operator.createUsers([owner])
    const made = await root.api('POST', `/hub/api/share-codes/${encodeURIComponent(owner)}/`, {})
    const { code } = JSON.parse(made.text) as { code: string }
    const stranger = new Browser(test.origin)
    const pages = [
      await ada.get(`/hub/accept-share?code=${code}&next=${next}`),
      await stranger.get(`/hub/accept-share?code=${code}&next=${next}`),
      await stranger.get(`/hub/login?next=${next}&username=${encodeURIComponent(evil)}`),
      await ada.get(`/hub/spawn?next=${next}`, { 'Sec-Fetch-Site': 'cross-site' }),
      await ada.get(`/hub/spawn-pending/ada?next=${next}`),
      await root.get(`/hub/spawn-pending/${encodeURIComponent(owner)}?next=${next}`),
      await root.get(`/hub/user/${encodeURIComponent(owner)}/${encodeURIComponent(evil)}`),
    ]
    assert.deepEqual(
      pages.map(({ status }) => status),
      [200, 302, 200, 200, 200, 200, 424],
    )
    for (const page of pages) {
      assert.doesNotMatch(page.text, /<img src=x/, page.url.href)
      assert.doesNotMatch(page.text, /"\s*>\s*<img/, page.url.href)
    }
  })

  it('GHSA-69wv-m5fw-2fhp: a filtered scope makes no other users and groups', async () => {
    for (const scopes of [
      ['admin:users!user=x', 'admin:groups!group=x'],
      ['admin:users!group=x', 'admin:groups!group=y'],
      ['admin:users!user', 'admin:users!server=root/', 'admin:groups!user=root'],
    ]) {
      const { token } = await test.operator.createToken('root', { scopes })
      for (const [path, body] of [
        ['users', { usernames: ['x'] }],
        ['users', { usernames: ['y'], admin: true }],
        ['groups', { groups: ['x'] }],
        ['users/y', {}],
        ['groups/z', {}],
      ] as const) {
        const page = await new Browser(test.origin).send('POST', `/hub/api/${path}`, {
          body: JSON.stringify(body),
          headers: { Authorization: `token ${token}` },
        })
        assert.ok(
          page.status === 403 || page.status === 404,
          `${scopes.join()} ${path}: ${page.text}`,
        )
      }
    }
    const seen = await root.api('GET', '/hub/api/groups')
    assert.equal(seen.text, '[]')
  })
})
