import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { Browser, type Page } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const apiToken = 'token-of-a-service-made-at-run-time'

describe('services at run time', () => {
  let test: TestHub
  /** Secrets of tokens by what their holder may do. */
  const tokens = new Map<string, string>()

  before(async () => {
    test = await startTestHub({
      config: {
        hub: { adminUsers: ['boss'] },
        services: [{ name: 'fixed', apiToken: 'token-of-the-fixed-service' }],
      },
    })
    await test.operator.createUsers(['ada'])
    const scopes = {
      admin: ['inherit'],
      manager: ['admin:services'],
      reader: ['list:services', 'read:services!service=fixed'],
      narrow: ['list:services!service=fixed'],
      roles: ['read:roles:services'],
    }
    for (const [name, wanted] of Object.entries(scopes))
      tokens.set(name, (await test.operator.createToken('boss', { scopes: wanted })).token)
    tokens.set('stranger', (await test.operator.createToken('ada')).token)
  })
  after(() => test[Symbol.asyncDispose]())

  const call = (holder: string, method: string, path: string, body?: unknown): Promise<Page> =>
    new Browser(test.origin).send(method, `/hub/api/${path}`, {
      headers: { Authorization: `token ${tokens.get(holder) ?? ''}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
  const model = async (holder: string, path: string) =>
    JSON.parse((await call(holder, 'GET', path)).text) as Record<string, unknown>

  it('are made with what JupyterHub takes, and their token works at once', async () => {
    const made = await call('manager', 'POST', 'services/late', {
      oauth_client_id: 'service-late-client',
      api_token: apiToken,
      oauth_redirect_uri: 'http://127.0.0.1:5555/oauth_callback-from-api',
      oauth_no_confirm: true,
      oauth_client_allowed_scopes: ['inherit'],
      info: { foo: 'bar' },
    })
    assert.equal(made.status, 201, made.text)
    assert.deepEqual(JSON.parse(made.text), {
      kind: 'service',
      name: 'late',
      admin: false,
      url: null,
      prefix: '',
      command: [],
      pid: 0,
      info: { foo: 'bar' },
      display: true,
      roles: [],
    })
    tokens.set('late', apiToken)
    assert.equal((await model('late', 'user'))['name'], 'late')
  })

  it('are there again after a restart of the hub, with the same token', async () => {
    test = await test.restart()
    assert.equal((await model('manager', 'services/late'))['name'], 'late')
    assert.equal((await model('late', 'user'))['name'], 'late')
  })

  it('are served when they have a url, as soon as they answer, and not after they are deleted', async () => {
    const server = createServer((req, res) => res.end(`at ${req.url}`)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const url = `http://127.0.0.1:${port}`
    try {
      const made = await call('manager', 'POST', 'services/web', { url, api_token: 'x'.repeat(20) })
      assert.equal(made.status, 201, made.text)
      const page = await new Browser(test.origin).get('/services/web/page')
      assert.equal(page.text, 'at /services/web/page')
      assert.equal((await call('manager', 'DELETE', 'services/web')).status, 200)
      assert.equal((await new Browser(test.origin).get('/services/web/page')).status, 302)
      assert.equal((await call('manager', 'GET', 'services/web')).status, 404)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })

  it('get nothing that their maker does not have', async () => {
    const refused: readonly [object, RegExp][] = [
      [{ admin: true }, /Not assigning requested scopes/],
      [{ oauth_client_allowed_scopes: ['admin:users'] }, /Not assigning requested scopes/],
      [{ oauth_client_allowed_scopes: ['nonsense'] }, /unknown scopes/],
      [{ command: ['sh'] }, /Can not create managed service/],
      [{ api_token: 'token-of-the-fixed-service' }, /belongs to somebody else/],
      [{ oauth_client_id: 'service-late-client', oauth_redirect_uri: '/x' }, /another service/],
      [{ oauth_redirect_uri: 'http://example.org/back' }, /https/],
      [{ url: 'http://169.254.169.254/' }, /link-local/],
      [{ url: test.hub.internalUrl }, /is the hub/],
      [{}, /./],
      [{ timeout: 5 }, /timeout/],
      [{ info: 'text' }, /info/],
    ]
    for (const [body, message] of refused) {
      const answer = await call('manager', 'POST', 'services/new', body)
      assert.equal(answer.status, 400, JSON.stringify(body))
      assert.match((JSON.parse(answer.text) as { message: string }).message, message)
    }
    assert.equal((await call('manager', 'GET', 'services/new')).status, 404)
    const odd = await call('manager', 'POST', 'services/a%20b', { info: {} })
    assert.equal(odd.status, 400)
    const admin = await call('admin', 'POST', 'services/chief', { admin: true, info: {} })
    assert.equal(admin.status, 201, admin.text)
    assert.deepEqual((await model('admin', 'services/chief'))['roles'], ['admin'])
  })

  it('do not take the name of another, and leave those of the config alone', async () => {
    for (const name of ['late', 'fixed']) {
      const answer = await call('manager', 'POST', `services/${name}`, { info: {} })
      assert.equal(answer.status, 409)
    }
    const refused = await call('manager', 'DELETE', 'services/fixed')
    assert.equal(refused.status, 405)
    assert.match(refused.text, /Service fixed is not modifiable at runtime/)
    assert.equal((await call('manager', 'DELETE', 'services/nobody')).status, 404)
  })

  it('show as much of themselves as the scopes of the caller reach', async () => {
    assert.deepEqual(Object.keys(await model('admin', 'services')).toSorted(), [
      'chief',
      'fixed',
      'late',
    ])
    const read = await model('reader', 'services')
    assert.deepEqual(read['late'], { kind: 'service', name: 'late', admin: false })
    assert.equal((read['fixed'] as { pid: number }).pid, 0)
    assert.deepEqual(Object.keys(await model('narrow', 'services')), ['fixed'])
    assert.deepEqual(await model('roles', 'services/fixed'), {
      kind: 'service',
      name: 'fixed',
      admin: false,
      roles: [],
    })
    for (const [path, status] of [
      ['services', 403],
      ['services/fixed', 403],
    ] as const)
      assert.equal((await call('stranger', 'GET', path)).status, status)
    assert.equal((await call('narrow', 'GET', 'services/late')).status, 404)
    assert.equal((await call('stranger', 'POST', 'services/x', { info: {} })).status, 403)
  })

  it('are deleted with their token', async () => {
    const deleted = await call('manager', 'DELETE', 'services/late')
    assert.deepEqual([deleted.status, deleted.text], [200, ''])
    assert.equal((await call('late', 'GET', 'user')).status, 403)
  })
})
