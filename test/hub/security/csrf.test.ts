import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Browser } from '../../support/browser.ts'
import { rawSend } from '../../support/raw-http.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

type Headers = Record<string, string>

/** What a browser says about a request of our own page, of a neighbour's, of a stranger's, and what old browsers say. */
const senders: readonly { name: string; isOurs: boolean; headers: Headers }[] = [
  { name: 'our page', isOurs: true, headers: { 'Sec-Fetch-Site': 'same-origin' } },
  { name: 'the address bar', isOurs: true, headers: { 'Sec-Fetch-Site': 'none' } },
  { name: 'a sibling site', isOurs: false, headers: { 'Sec-Fetch-Site': 'same-site' } },
  { name: 'another site', isOurs: false, headers: { 'Sec-Fetch-Site': 'cross-site' } },
  {
    name: 'another site without CORS',
    isOurs: false,
    headers: { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' },
  },
  {
    name: 'an old browser elsewhere',
    isOurs: false,
    headers: { 'Sec-Fetch-Site': '', Origin: 'http://evil.test' },
  },
  {
    name: 'a sandboxed frame in an old browser',
    isOurs: false,
    headers: { 'Sec-Fetch-Site': '', Origin: 'null' },
  },
]
const modes = ['navigate', 'cors', 'no-cors', 'same-origin', '']

describe('a request that changes something', () => {
  let test: TestHub
  let ada: Browser
  let eve: Browser
  let own = ''

  before(async () => {
    test = await startTestHub({ config: { hub: { adminUsers: ['ada'] } } })
    ada = new Browser(test.origin)
    eve = new Browser(test.origin)
    await ada.logIn('/', 'ada')
    await eve.logIn('/', 'eve')
    own = ada.cookie('_xsrf') ?? ''
    assert.notEqual(own, '')
  })
  after(() => test[Symbol.asyncDispose]())

  /** As ada's browser; headers with an empty value are left out, and old browsers say less. */
  async function send(method: string, path: string, headers: Headers, body = '') {
    const all: Headers = {
      'Sec-Fetch-Site': 'same-origin',
      'Sec-Fetch-Mode': 'navigate',
      Cookie: ada.cookieHeader('/hub/'),
      ...headers,
      'Content-Length': String(Buffer.byteLength(body)),
    }
    const lines = Object.entries(all).flatMap(([name, value]) =>
      value === '' ? [] : [`${name}: ${value}`],
    )
    const { status, body: text } = await rawSend(test.origin, path, {
      method,
      headers: lines,
      body,
    })
    return { status, text }
  }
  const form = { 'Content-Type': 'application/x-www-form-urlencoded' }
  const json = { 'Content-Type': 'application/json' }

  it('passes with a token of this login from our own pages only', async () => {
    for (const { name, isOurs, headers } of senders) {
      const page = await send('POST', '/hub/api/users/ada/tokens', {
        'Sec-Fetch-Mode': 'cors',
        ...json,
        'X-XSRFToken': own,
        ...headers,
      })
      assert.equal(page.status, isOurs ? 201 : 403, `${name}: ${page.text}`)
    }
  })

  it('never passes without the token, whatever the browser says of itself', async () => {
    for (const { name, headers } of senders)
      for (const mode of modes)
        for (const [method, path, type] of [
          ['POST', '/hub/spawn', form],
          ['POST', '/hub/logout', form],
          ['POST', '/hub/api/oauth2/authorize?client_id=x', form],
          ['POST', '/hub/api/users/ada/tokens', json],
          ['POST', '/hub/api/users/ada/server', {}],
          ['DELETE', '/hub/api/users/eve', {}],
          ['PATCH', '/hub/api/users/eve', json],
          ['POST', '/hub/api/shutdown', json],
        ] as const) {
          const page = await send(method, path, { ...type, ...headers, 'Sec-Fetch-Mode': mode })
          assert.equal(page.status, 403, `${method} ${path} from ${name} (${mode}): ${page.text}`)
        }
    assert.equal((await ada.get('/hub/home')).status, 200)
    assert.equal((await test.operator.server('ada')).stopped, true)
  })

  it('does not pass with another login’s token, an anonymous, a forged or an empty one', async () => {
    const stranger = new Browser(test.origin)
    await stranger.get('/hub/login')
    const wrong = [eve.cookie('_xsrf'), stranger.cookie('_xsrf'), `${own}x`, own.slice(1), 'x', '']
    for (const token of wrong) {
      const header = await send('POST', '/hub/api/users/ada/tokens', {
        ...json,
        'X-XSRFToken': token ?? '',
      })
      assert.equal(header.status, 403, token)
      const field = await send('POST', '/hub/spawn', form, `_xsrf=${token}`)
      assert.equal(field.status, 403, token)
      const query = await send('DELETE', `/hub/api/users/eve?_xsrf=${token}`, {})
      assert.equal(query.status, 403, token)
    }
    const message = JSON.parse((await send('DELETE', '/hub/api/users/eve', {})).text) as {
      message: string
    }
    assert.equal(message.message, "'_xsrf' argument missing from DELETE")
  })

  it('skips foreign cookies of the same name, first or last', async () => {
    const cookies = ada.cookieHeader('/hub/')
    const foreign = [eve.cookie('_xsrf'), 'x', '2|abc', 'é%zz'].map((value) => `_xsrf=${value}`)
    const tossed = foreign.join('; ')
    for (const Cookie of [`${tossed}; ${cookies}`, `${cookies}; ${tossed}`]) {
      const accepted = await send('POST', '/hub/api/users/ada/tokens', {
        ...json,
        Cookie: Buffer.from(Cookie).toString('latin1'),
        'X-XSRFToken': own,
      })
      assert.equal(accepted.status, 201, accepted.text)
      const refused = await send('POST', '/hub/api/users/ada/tokens', {
        ...json,
        Cookie: Buffer.from(Cookie).toString('latin1'),
        'X-XSRFToken': eve.cookie('_xsrf') ?? '',
      })
      assert.equal(refused.status, 403)
    }
  })

  it('takes the token as a field, in the query or in either header', async () => {
    for (const [query, headers] of [
      [`?_xsrf=${own}`, {}],
      ['', { 'X-XSRFToken': own }],
      ['', { 'X-CSRFToken': own }],
    ] as const) {
      const page = await send('POST', `/hub/api/users/ada/tokens${query}`, { ...json, ...headers })
      assert.equal(page.status, 201)
    }
  })

  it('with a cookie needs JSON where it says what it sends', async () => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const page = await send('POST', '/hub/api/users/ada/tokens', {
        'Content-Type': type,
        'X-XSRFToken': own,
      })
      assert.equal(page.status, 403, type)
      assert.match(page.text, /Missing or invalid credentials/)
    }
    const typed = { 'Content-Type': 'text/plain;application/json', 'X-XSRFToken': own }
    assert.equal((await send('POST', '/hub/api/users/ada/tokens', typed)).status, 201)
  })

  it('by an API token needs no XSRF token and ignores the cookie', async () => {
    const { token } = await test.operator.createToken('eve')
    const headers = { Authorization: `token ${token}`, 'Sec-Fetch-Site': 'cross-site' }
    assert.equal((await send('POST', '/hub/api/users/eve/tokens', headers)).status, 201)
    assert.equal((await send('POST', '/hub/api/users/ada/tokens', headers)).status, 403)
  })

  it('by a page script must prove itself even to read', async () => {
    const read = (headers: Headers, path = '/hub/api/user') => send('GET', path, headers)
    const cors = { 'Sec-Fetch-Mode': 'cors' }
    assert.equal((await read(cors)).status, 403)
    assert.equal((await read({ ...cors, 'X-XSRFToken': own })).status, 200)
    assert.equal(
      (await read({ 'Sec-Fetch-Mode': 'no-cors', 'Sec-Fetch-Site': 'cross-site' })).status,
      403,
    )
    assert.equal((await read({ 'Sec-Fetch-Mode': 'no-cors' })).status, 200)
    assert.equal((await read({ 'Sec-Fetch-Mode': 'navigate' })).status, 200)
  })

  it('at login needs the token of the form, and says so on the form', async () => {
    const visitor = new Browser(test.origin)
    const attempt = (body: string) => visitor.send('POST', '/hub/login', { body, headers: form })
    const fields = 'username=visitor&password=x'
    assert.equal((await attempt(fields)).status, 403)
    await visitor.get('/hub/login')
    const stale = await attempt(`${fields}&_xsrf=${own}`)
    assert.equal(stale.status, 403)
    assert.match(stale.text, /invalid or expired/)
    assert.equal(visitor.cookie('jupyterhub-hub-login'), undefined)
    assert.equal(
      (await visitor.post('/hub/login', { username: 'visitor', password: 'x' })).status,
      302,
    )
  })

  it('may be a link from elsewhere only after a question', async () => {
    const crossSite = { 'Sec-Fetch-Site': 'cross-site' }
    const logout = await send('GET', '/hub/logout', crossSite)
    assert.equal(logout.status, 200)
    assert.match(logout.text, /method="post"/)
    const spawn = await send('GET', '/hub/spawn', crossSite)
    assert.equal(spawn.status, 200)
    assert.match(spawn.text, /method="post"/)
    assert.equal((await test.operator.server('ada')).stopped, true)
    assert.equal((await ada.get('/hub/home')).status, 200)
  })
})
