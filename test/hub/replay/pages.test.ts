import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Browser } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const base = '/@/space%20word/'
const hub = `${base}hub/`

/** What JupyterHub's own tests ask of its pages, as far as the wire shows it, in our words. */
describe("JupyterHub's tests of its pages", () => {
  let test: TestHub
  let ada: Browser
  let root: Browser
  let root_token = ''
  const stranger = () => new Browser(test.origin)

  before(async () => {
    test = await startTestHub({
      baseUrl: base,
      config: { hub: { adminUsers: ['root'], allowNamedServers: true } },
    })
    await test.operator.createUsers(['ada', 'bob'])
    ada = await loggedIn('ada')
    root = await loggedIn('root')
    root_token = (await test.operator.createToken('root')).token
  })
  after(() => test[Symbol.asyncDispose]())

  async function loggedIn(name: string): Promise<Browser> {
    const browser = stranger()
    await browser.logIn(base, name)
    return browser
  }

  const location = (page: { readonly headers: Headers }) => page.headers.get('location') ?? ''
  const login = (next: string) => `${hub}login?next=${encodeURIComponent(next)}`

  it('send strangers to the login page, and back to where they wanted to go', async () => {
    for (const path of ['', 'home', 'token', 'spawn', 'spawn-pending/ada', 'user/ada/x'])
      assert.equal(location(await stranger().get(hub + path)), login(hub + path), path)
    for (const path of ['spawn?opt-a=b', 'accept-share?code=x', 'user-redirect/tree/x?y=z'])
      assert.equal(location(await stranger().get(hub + path)), login(hub + path), path)
    const cookieless = await stranger().get(`${hub}home`, { Authorization: `token ${root_token}` })
    assert.equal(location(cookieless), login(`${hub}home`), 'a token opens no page')
  })

  it('lead from outside the hub into it', async () => {
    for (const [from, to] of [
      [base, hub],
      [`${base}x/y?z=1`, `${hub}x/y?z=1`],
      [`${base}user/ada/lab?x`, `${hub}user/ada/lab?x`],
      [`${base}hub`, hub],
    ] as const)
      assert.equal(location(await stranger().get(from)), to, from)
    assert.equal((await stranger().get(`${hub}nothing/here`)).status, 404)
    assert.equal((await stranger().get(`${hub}login/`)).status, 404)
  })

  it('take a next at the root of the hub as at the login', async () => {
    const next = `${base}user/ada/test.ipynb`
    const page = await ada.get(`${hub}?next=${encodeURIComponent(next)}&a=5`)
    assert.equal(location(page), next)
    assert.equal(location(await ada.get(`${hub}?xyz=5`)), `${hub}spawn?xyz=5`)
    const stranded = await stranger().get(`${hub}?xyz=5`)
    assert.equal(location(stranded), `${hub}login?next=${encodeURIComponent(`${hub}?xyz=5`)}`)
  })

  const defaults: readonly (readonly [next: string, more: string, to: string])[] = [
    ['', '', `${hub}spawn`],
    ['', 'left=1&right=2', `${hub}spawn?left=1&right=2`],
    [`${hub}admin`, '', `${hub}admin`],
    [`${hub}admin?a=1&b=2#c`, 'left=1', `${hub}admin?a=1&b=2#c`],
    [`${base}user/other`, '', `${base}user/other`],
    ['relative/path', '', `${hub}spawn`],
    ['https://other.test', '', `${hub}spawn`],
    ['ftp://other.test', '', `${hub}spawn`],
    ['//other.test', 'keep=yes', `${hub}spawn?keep=yes`],
    ['///other.test/triple', '', `${hub}spawn`],
    ['\\\\other.test/backslashes', '', `${hub}spawn`],
  ]

  it('go after a login to next, or to the default with what else was asked', async () => {
    for (const [next, more, to] of defaults) {
      const query = [next === '' ? '' : `next=${encodeURIComponent(next)}`, more]
      const address = `${hub}login?${query.filter((part) => part !== '').join('&')}`
      assert.equal(location(await ada.get(address)), to, address)
      const fresh = stranger()
      await fresh.get(address)
      const page = await fresh.post(address, { username: 'bob', password: 'x' })
      assert.equal(location(page), to, `after the form: ${address}`)
    }
  })

  it('take a user name with blanks around it, and no wrong password', async () => {
    const browser = stranger()
    const form = await browser.get(`${hub}login?username=preset`)
    for (const part of ['name="_xsrf"', 'name="username"', 'name="password"', 'value="preset"'])
      assert.ok(form.text.includes(part), part)
    assert.match(form.text, new RegExp(`action="${hub}login"`))
    const page = await browser.post(`${hub}login`, { username: '  ada  ', password: 'x' })
    assert.equal(page.status, 302)
    const { text } = await browser.api('GET', `${hub}api/user`)
    assert.equal((JSON.parse(text) as { name: string }).name, 'ada')
    const wrong = stranger()
    await wrong.get(`${hub}login`)
    const refused = await wrong.post(`${hub}login`, { username: '', password: 'x' })
    assert.equal(refused.status, 403)
    assert.match(refused.text, /Invalid username or password/)
  })

  it('say of a server that does not run that it does not, without starting it', async () => {
    for (const path of ['', '/', '/lab', '/lab?x=1']) {
      const page = await ada.get(`${hub}user/ada${path}`)
      assert.equal(page.status, 424, path)
      const next = encodeURIComponent(`${base}user/ada${path}`)
      assert.ok(page.text.includes(`${hub}spawn/ada?next=${next}`), `${path}: ${page.text}`)
    }
    for (const [path, headers] of [
      ['/api/status', {}],
      ['/api/contents/x?y=1', { Accept: '*/*' }],
      ['/x', { Accept: 'application/json' }],
    ] as const) {
      const page = await ada.get(`${hub}user/ada${path}`, headers)
      assert.equal(page.status, 424, path)
      assert.equal(page.headers.get('content-type'), 'application/json')
      const { message } = JSON.parse(page.text) as { message: string }
      assert.ok(message.includes(` /user/ada${path.split('?')[0]}`), message)
      assert.ok(message.includes(`${test.origin}${hub}spawn/ada`), message)
    }
    assert.equal((await test.operator.server('ada')).stopped, true)
  })

  it('show nobody the server of somebody else', async () => {
    for (const path of ['user/bob', 'user/bob/lab', 'user/nobody', 'user/nobody/api/x'])
      assert.equal((await ada.get(hub + path)).status, 404, path)
    for (const path of ['spawn/bob', 'spawn-pending/bob', 'spawn/nobody', 'spawn-pending/nobody'])
      assert.equal((await ada.get(hub + path)).status, 404, path)
    assert.equal((await root.get(`${hub}user/bob/lab`)).status, 424)
    assert.equal((await root.get(`${hub}spawn-pending/bob`)).status, 200)
    assert.equal((await root.get(`${hub}spawn-pending/nobody`)).status, 404)
    assert.equal((await root.get(`${hub}spawn-pending/bob/none`)).status, 404)
    const { token } = await test.operator.createToken('root', {
      scopes: ['access:servers!server=ada/'],
    })
    const as = { Authorization: `token ${token}`, Cookie: '' }
    assert.equal((await stranger().get(`${hub}user/ada/api/x`, as)).status, 424, 'a token counts')
    assert.equal((await stranger().get(`${hub}user/bob/api/x`, as)).status, 404)
  })

  it('start a server from its page, and lead to it', async () => {
    const page = await ada.get(
      `${hub}spawn/ada/lab-1?next=${encodeURIComponent(`${base}user/ada/lab-1/tree?x=1`)}`,
    )
    assert.equal(page.status, 302)
    const at = await ada.visit(location(page))
    assert.equal(`${at.url.pathname}${at.url.search}`, `${base}user/ada/lab-1/tree?x=1`)
    const pending = await ada.get(`${hub}spawn-pending/ada/lab-1`)
    assert.equal(location(pending), `${base}user/ada/lab-1/`)
    const again = await ada.get(`${hub}spawn/ada/lab-1`)
    assert.equal(location(again), `${base}user/ada/lab-1/`)
    const posted = await ada.post(`${hub}spawn/ada/lab-1`)
    assert.equal(posted.status, 400)
    const redirected = await ada.get(`${hub}user/ada/lab-1/x?a=b`)
    assert.equal(location(redirected), `${base}user/ada/lab-1/x?a=b&redirects=1`)
    await test.operator.stopServer('ada', 'lab-1')
    const after_ = await ada.get(`${hub}user/ada/lab-1/x`)
    assert.equal(after_.status, 424)
    assert.ok(after_.text.includes(`${hub}spawn/ada/lab-1`))
  })

  it('take options of a start from its form, and from its address', async () => {
    const posted = await ada.post(`${hub}spawn/ada/form`, { size: 'big' })
    assert.equal(posted.status, 302, posted.text.slice(0, 300))
    const form = await test.operator.server('ada', 'form')
    assert.deepEqual(form.user_options, { size: ['big'] })
    await test.operator.stopServer('ada', 'form')
    assert.equal((await ada.get(`${hub}spawn/ada/query?size=small`)).status, 302)
    const query = await test.operator.server('ada', 'query')
    assert.deepEqual(query.user_options, { size: ['small'] })
    await test.operator.stopServer('ada', 'query')
  })

  it('lead from user-redirect to the server of whoever asks', async () => {
    for (const [path, next] of [
      ['user-redirect', `${base}user/ada/`],
      ['user-redirect/', `${base}user/ada/`],
      ['user-redirect/tree/top?x=1', `${base}user/ada/tree/top?x=1`],
    ] as const)
      assert.equal(
        location(await ada.get(hub + path)),
        `${hub}spawn/ada?next=${encodeURIComponent(next)}`,
      )
  })

  it('answer for the proxy, for health, for metrics and for what is no page', async () => {
    for (const code of [404, 503, 599]) {
      const page = await stranger().get(`${hub}error/${code}?url=${encodeURIComponent('/x')}`)
      assert.equal(page.status, 200, String(code))
      assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
    }
    const health = await stranger().get(`${hub}health`)
    assert.deepEqual([health.status, health.text], [200, ''])
    assert.equal((await ada.get(`${hub}metrics`)).status, 403)
    assert.equal((await root.get(`${hub}metrics`)).status, 200)
    const byToken = { Authorization: `token ${root_token}` }
    assert.equal((await stranger().get(`${hub}metrics`, byToken)).status, 200)
    const refused = await stranger().get(`${hub}metrics`)
    assert.equal(refused.status, 403)
    assert.match(refused.text, /read:metrics/)
    assert.equal((await stranger().get(`${hub}logo`)).status, 200)
  })

  it('end at logout what one login has given, and no other', async () => {
    const [one, two] = [await loggedIn('bob'), await loggedIn('bob')]
    assert.equal(location(await one.get(`${hub}logout`)), `${hub}login`)
    assert.equal(location(await one.get(`${hub}home`)), login(`${hub}home`))
    assert.equal((await two.get(`${hub}home`)).status, 200)
  })

  it('every one of them lets nobody frame it', async () => {
    for (const path of ['login', 'home', 'token', 'nothing', 'user/ada/x', 'error/503'])
      assert.match(
        (await ada.get(hub + path)).headers.get('content-security-policy') ?? '',
        /frame-ancestors 'none'/,
        path,
      )
  })
})
