import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Browser, type Page } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

for (const baseUrl of ['/', '/jhub/'])
  describe(`the headers of every answer under ${baseUrl}`, () => {
    let test: TestHub
    let ada: Browser
    const at = (path: string) => `${baseUrl}${path}`

    before(async () => {
      test = await startTestHub({ baseUrl })
      ada = new Browser(test.origin)
      await ada.logIn(baseUrl, 'ada')
    })
    after(() => test[Symbol.asyncDispose]())

    const pages = [
      'hub/',
      'hub/login',
      'hub/home',
      'hub/nothing',
      'hub/error/503',
      'hub/spawn/nobody',
      'hub/static/style.css',
      'hub/static/nothing',
      'hub/logo',
      'hub/health',
      'user/ada/lab',
      'hub/api/oauth2/authorize',
      'hub',
      'services/x',
    ]
    const api = ['hub/api', 'hub/api/', 'hub/api/user', 'hub/api/nothing', 'hub/api/users/nobody']

    it('say what JupyterHub says and keep browsers from guessing', async () => {
      for (const path of [...pages, ...api]) {
        const { headers } = await ada.get(at(path))
        assert.equal(headers.get('x-jupyterhub-version'), '6.0.0', path)
        assert.equal(headers.get('x-content-type-options'), 'nosniff', path)
        assert.equal(headers.get('referrer-policy'), 'same-origin', path)
        assert.equal(headers.get('cross-origin-resource-policy'), 'same-origin', path)
        assert.equal(
          headers.get('access-control-allow-headers'),
          'accept, content-type, authorization',
          path,
        )
        assert.equal(headers.get('x-powered-by'), null, path)
        assert.equal(headers.get('server'), null, path)
      }
    })

    it('let no page run, frame or send anything foreign', async () => {
      for (const path of pages.filter((page) => !/static|logo|health/.test(page))) {
        const { headers } = await ada.get(at(path))
        const policy = headers.get('content-security-policy') ?? ''
        for (const rule of [
          "default-src 'none'",
          "script-src 'self'",
          "style-src 'self'",
          "base-uri 'none'",
          "frame-ancestors 'none'",
          "form-action 'self'",
          "require-trusted-types-for 'script'",
          `report-uri ${at('hub/security/csp-report')}`,
        ])
          assert.ok(policy.split('; ').includes(rule), `${path}: ${rule} in ${policy}`)
        assert.doesNotMatch(policy, /unsafe|http/)
        assert.equal(headers.get('cross-origin-opener-policy'), 'same-origin', path)
        assert.match(headers.get('permissions-policy') ?? '', /camera=\(\)/)
      }
    })

    it('give the API the policy of the wire, JSON, and no place in caches', async () => {
      for (const path of api) {
        const { headers } = await ada.get(at(path))
        assert.equal(
          headers.get('content-security-policy'),
          `frame-ancestors 'none'; report-uri ${at('hub/security/csp-report')}; default-src 'none'`,
          path,
        )
        assert.match(headers.get('content-type') ?? '', /^application\/json/, path)
        assert.equal(headers.get('cache-control'), 'no-store', path)
        const isRoot = /api\/?$/.test(path)
        assert.equal(headers.get('access-control-allow-origin'), isRoot ? '*' : null, path)
      }
    })

    it('keep pages out of caches, also redirects that depend on the login', async () => {
      for (const path of [
        'hub/login',
        'hub/home',
        'hub/nothing',
        'hub/',
        'hub/api/oauth2/authorize',
      ])
        assert.equal((await ada.get(at(path))).headers.get('cache-control'), 'no-store', path)
    })

    it('let files be kept for ever only under their version', async () => {
      const kept = async (path: string) => (await ada.get(at(path))).headers.get('cache-control')
      assert.equal(await kept('hub/static/style.css'), 'no-cache')
      assert.equal(await kept('hub/static/style.css?v=1'), 'public, max-age=31536000, immutable')
      assert.notEqual(await kept('hub/static/nothing?v=1'), 'public, max-age=31536000, immutable')
      const first = await ada.get(at('hub/static/style.css'))
      const again = await ada.get(at('hub/static/style.css'), {
        'If-None-Match': first.headers.get('etag') ?? '',
      })
      assert.equal(again.status, 304)
    })

    it('set cookies that scripts, other sites and other paths do not get', async () => {
      const eve = new Browser(test.origin)
      const form = await eve.get(at('hub/login'))
      const login = await eve.post(at('hub/login'), { username: 'eve', password: 'x' })
      const attributes = (page: Page, name: string): readonly string[] => {
        const line = (page.headers.get('set-cookie') ?? '')
          .split(/,(?=[a-z_-]+=)/i)
          .find((cookie) => cookie.startsWith(`${name}=`))
        assert.ok(line, `${name} in ${page.headers.get('set-cookie')}`)
        return line
          .split('; ')
          .slice(1)
          .map((part) => part.replace(/^Expires=.*/, 'Expires'))
          .toSorted()
      }
      const path = (place: string) => `Path=${at(place)}`
      assert.deepEqual(attributes(login, 'jupyterhub-hub-login'), [
        'Expires',
        'HttpOnly',
        'Max-Age=2592000',
        path('hub/'),
        'SameSite=Lax',
      ])
      assert.deepEqual(attributes(login, 'jupyterhub-session-id'), [
        'HttpOnly',
        path(''),
        'SameSite=Lax',
      ])
      assert.deepEqual(attributes(form, '_xsrf'), [
        'Expires',
        'Max-Age=3600',
        path('hub/'),
        'SameSite=Lax',
      ])
      assert.deepEqual(attributes(login, '_xsrf'), [path('hub/'), 'SameSite=Lax'])
      const https = await eve.get(at('hub/login'), { 'X-Forwarded-Proto': 'https', Cookie: '' })
      assert.ok(attributes(https, '_xsrf').includes('Secure'))
      const gone = await eve.get(at('hub/logout'))
      for (const name of ['jupyterhub-hub-login', 'jupyterhub-session-id', '_xsrf'])
        assert.ok(attributes(gone, name).includes('Max-Age=0'), name)
    })
  })

describe('methods and paths', () => {
  let test: TestHub
  let ada: Browser

  before(async () => {
    test = await startTestHub()
    ada = new Browser(test.origin)
    await ada.logIn('/', 'ada')
    await ada.get('/hub/home')
  })
  after(() => test[Symbol.asyncDispose]())

  it('answer HEAD like GET, without a body', async () => {
    for (const path of ['/hub/login', '/hub/api', '/hub/health', '/hub/api/health', '/hub/logo']) {
      const [get, head] = [await ada.get(path), await ada.send('HEAD', path)]
      assert.deepEqual([head.status, head.text], [get.status, ''], path)
      assert.equal(head.headers.get('content-type'), get.headers.get('content-type'))
    }
  })

  it('answer OPTIONS on the API with an empty 200 and no credentials', async () => {
    const nobody = new Browser(test.origin)
    for (const path of [
      '/hub/api',
      '/hub/api/users',
      '/hub/api/nothing',
      '/hub/api/users/x/server',
    ]) {
      const page = await nobody.send('OPTIONS', path)
      assert.deepEqual([page.status, page.text], [200, ''], path)
      assert.equal(page.headers.get('access-control-allow-origin'), null)
    }
  })

  it('answer 405 to a method that a known path does not have', async () => {
    const wrong = [
      ['DELETE', '/hub/api/users'],
      ['PUT', '/hub/api/users/ada'],
      ['POST', '/hub/api/info'],
      ['GET', '/hub/api/shutdown'],
      ['PATCH', '/hub/api/users/ada/tokens'],
      ['POST', '/hub/api'],
      ['GET', '/hub/api/oauth2/token'],
      ['DELETE', '/hub/api/user'],
      ['GET', '/hub/api/users/ada/activity'],
    ]
    for (const [method = '', path = ''] of wrong) {
      const page = await ada.api(method, path)
      assert.equal(page.status, 405, `${method} ${path}: ${page.text}`)
      const body = JSON.parse(page.text) as { status: number; message: string }
      assert.equal(body.status, 405)
      assert.equal(typeof body.message, 'string')
    }
    for (const [method, path] of [
      ['PUT', '/hub/login'],
      ['DELETE', '/hub/home'],
      ['PUT', '/hub/home'],
    ] as const) {
      const page = await ada.send(method, path)
      assert.equal(page.status, 405, `${method} ${path}`)
      assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
    }
  })

  it('answer JSON for unknown API paths and HTML elsewhere, with 404', async () => {
    for (const path of [
      '/hub/api/nothing',
      '/hub/api/users/ada/nothing',
      '/hub/api/authorizations',
    ]) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        const page = await ada.send(method, path)
        assert.equal(page.status, 404, `${method} ${path}`)
        assert.match(page.headers.get('content-type') ?? '', /^application\/json/)
      }
    }
    const page = await ada.get('/hub/nothing')
    assert.equal(page.status, 404)
    assert.match(page.headers.get('content-type') ?? '', /^text\/html/)
  })

  it('take a trailing slash, and the case of letters, for a difference', async () => {
    for (const path of ['/hub/api/users/', '/hub/api/info/', '/hub/login/', '/hub/home/'])
      assert.equal((await ada.get(path)).status, 404, path)
    for (const path of [
      '/hub/API',
      '/hub/Login',
      '/hub/api/Users/ada',
      '/hub/api/users/ada/servers',
    ])
      assert.equal((await ada.get(path)).status, 404, path)
    for (const path of ['/hub/api', '/hub/api/', '/hub/api/users/ada/servers/'])
      assert.equal((await ada.get(path)).status, 200, path)
    const server = JSON.parse((await ada.get('/hub/api/users/ada/servers/')).text) as {
      name: string
    }
    assert.equal(server.name, '')
    for (const path of ['/hub', '/HUB/']) assert.notEqual((await ada.get(path)).status, 200, path)
  })
})
