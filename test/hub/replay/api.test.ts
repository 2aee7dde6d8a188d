import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Browser } from '../../support/browser.ts'
import { rawSend } from '../../support/raw-http.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

/**
 * What JupyterHub's own tests ask of its REST API, in our words, under an address that catches
 * mistakes of escaping, as theirs do.
 */

type Model = Record<string, unknown>

/** One request and what comes back: a status, and a pattern or the parts of a model. */
interface Case {
  readonly line: string
  readonly status: number
  readonly body?: unknown
  readonly says?: RegExp | Model
}

const at = (line: string, status: number, body?: unknown, says?: RegExp | Model): Case => ({
  line,
  status,
  ...(body === undefined ? {} : { body }),
  ...(says === undefined ? {} : { says }),
})

const mail = 'm%40ail.org'
const spaced = 'zo%C3%AB%20b'

const users: readonly Case[] = [
  at('GET /', 200, undefined, { version: '6.0.0' }),
  at('GET ', 200, undefined, { version: '6.0.0' }),
  at('GET /users/', 404),
  at('GET /nothing', 404, undefined, /"status":404/),
  at('POST /info', 405, {}, /"status":405/),
  at('POST /users', 400, 'not json', /Invalid JSON/),
  at('POST /users', 400, { usernames: [] }),
  at('POST /users', 400, {}),
  at('POST /users', 400, { usernames: ['/a', 'b/', 'fine'] }, /Invalid usernames: \/a, b\//),
  at('POST /users', 400, { usernames: ['x'], title: 'Dr' }),
  at('GET /users/fine', 404),
  at('POST /users', 201, { usernames: ['m@ail.org', 'zoë b', 'Upper'], roles: [] }),
  at('GET /users/upper', 200, undefined, { name: 'upper', admin: false, roles: ['user'] }),
  at('POST /users', 409, { usernames: ['upper', 'm@ail.org'] }, /All 2 users already exist/),
  at('POST /users', 201, { usernames: ['upper', 'second'] }, /^\[[^[]*"second"/),
  at('POST /users', 201, { usernames: ['chief'], admin: true }, /"admin":true/),
  at('GET /users/chief', 200, undefined, { admin: true, roles: ['admin', 'user'] }),
  at(`GET /users/${mail}`, 200, undefined, { name: 'm@ail.org', kind: 'user', server: null }),
  at(`GET /users/${spaced}`, 200, undefined, { name: 'zoë b', pending: null, groups: [] }),
  at('POST /users/single', 201, undefined, { name: 'single', admin: false }),
  at('POST /users/single', 409),
  at('POST /users/other', 201, { admin: true }, { admin: true }),
  at('PATCH /users/other', 200, { admin: false }, { admin: false, auth_state: null }),
  at('GET /users/other', 200, undefined, { admin: false, roles: ['user'] }),
  at('PATCH /users/other', 200, { name: 'another' }, { name: 'another' }),
  at('GET /users/other', 404),
  at('PATCH /users/another', 400, { name: 'single' }),
  at('PATCH /users/another', 400, { name: 'a/b' }),
  at('PATCH /users/another', 400, { groups: ['x'] }),
  at('PATCH /users/another', 400, { roles: ['admin'] }),
  at('PATCH /users/another', 400, { shoe: 44 }),
  at('PATCH /users/nobody', 404, { admin: true }),
  at('DELETE /users/another', 204),
  at('DELETE /users/another', 404),
  at('DELETE /users/root', 400, undefined, /yourself/),
  at('GET /users?state=active', 200, undefined, /^\[\]$/),
  at('GET /users?state=inactive&sort=-name&limit=1', 200, undefined, /"zoë b"/),
  at('GET /users?name_filter=AIL.O', 200, undefined, /^\[[^[]*"m@ail.org"/),
  at('GET /users/upper?include_stopped_servers=False', 200, undefined, { servers: {} }),
  at('GET /users/upper?include_stopped_servers', 200, undefined, /"display_name":""/),
  at('GET /users?state=&name_filter=&sort=id&limit=1', 200, undefined, /^\[\{/),
  at('GET /users?state=running', 400),
  at('GET /users?sort=created', 400),
  at('GET /users?limit=x', 400),
  at('GET /users?offset=99', 200, undefined, /^\[\]$/),
]

const groups: readonly Case[] = [
  at('GET /groups', 200, undefined, /^\[\]$/),
  at('GET /groups/runaways', 404),
  at('POST /groups/runaways', 400, { users: ['nobody-there'] }),
  at('GET /groups/runaways', 404),
  at('POST /groups/runaways', 400, { strange: [] }),
  at('POST /groups/runaways', 201, { users: ['single', 'm@ail.org'] }, { name: 'runaways' }),
  at('POST /groups/runaways', 409),
  at('POST /groups', 201, { groups: ['omega', 'alpha'], users: ['single'] }),
  at('POST /groups', 409, { groups: ['omega'] }),
  at('GET /groups?offset=1&limit=1', 200, undefined, /"omega"/),
  at('GET /groups/runaways', 200, undefined, {
    kind: 'group',
    users: ['m@ail.org', 'single'],
    properties: {},
    roles: [],
  }),
  at('GET /users/single', 200, undefined, /"groups":\["alpha","omega","runaways"\]/),
  at('POST /groups/runaways/users', 400, {}),
  at('POST /groups/runaways/users', 400, { users: 'second' }),
  at('POST /groups/runaways/users', 400, { users: ['nobody-there'] }),
  at('POST /groups/runaways/users', 200, { users: ['second', 'single'] }, /"second"/),
  at('DELETE /groups/runaways/users', 200, { users: ['single'] }, { name: 'runaways' }),
  at('GET /groups/runaways', 200, undefined, /"users":\["m@ail.org","second"\]/),
  at('PUT /groups/runaways/properties', 200, { a: [1, { b: null }] }),
  at('PUT /groups/runaways/properties', 200, { c: 1 }, { properties: { c: 1 } }),
  at('PUT /groups/runaways/properties', 400, [1]),
  at('PUT /groups/nobodies/properties', 404, {}),
  at('POST /groups/nobodies/users', 404, { users: [] }),
  at('DELETE /groups/runaways', 204),
  at('DELETE /groups/runaways', 404),
  at('GET /users/second', 200, undefined, { groups: [] }),
  at('DELETE /groups/omega', 204),
  at('DELETE /groups/alpha', 204),
]

const tokens: readonly Case[] = [
  at('GET /users/second/tokens', 200, undefined, { api_tokens: [] }),
  at('POST /users/second/tokens', 201, undefined, { note: 'Requested via api by user root' }),
  at('POST /users/second/tokens', 201, { note: '' }, { note: 'Requested via api by user root' }),
  at('POST /users/root/tokens', 201, { note: null }, { note: 'Requested via api' }),
  at('POST /users/second/tokens', 201, { username: 'second' }, { user: 'second' }),
  at('POST /users/second/tokens', 201, { note: 'mine' }, { note: 'mine', user: 'second' }),
  at('POST /users/second/tokens', 201, { expires_in: 0 }, { expires_at: null }),
  at('POST /users/second/tokens', 201, { expires_in: null }, { expires_at: null }),
  at('POST /users/second/tokens', 201, { expires_in: 60 }, /"expires_at":"\d{4}-/),
  at('POST /users/second/tokens', 201, { roles: ['token'] }, { roles: [] }),
  at('POST /users/second/tokens', 201, { roles: [] }),
  at('POST /users/second/tokens', 400, { expires_in: -1 }),
  at('POST /users/second/tokens', 400, { expires_in: '60' }),
  at('POST /users/second/tokens', 400, { roles: ['no-such-role'] }, /no-such-role/),
  at('POST /users/second/tokens', 400, { roles: ['user'], scopes: ['self'] }),
  at('POST /users/second/tokens', 400, { scopes: ['no:scope'] }, /no:scope/),
  at('POST /users/second/tokens', 400, { scopes: ['read:hub'] }, /read:hub/),
  at('POST /users/second/tokens', 400, { scopes: ['admin:users'] }, /Not assigning requested/),
  at('POST /users/second/tokens', 400, [], /./),
  at('GET /users/second/tokens/b1', 404),
  at('GET /users/second/tokens/a', 404),
  at('GET /users/second/tokens/a99999', 404),
  at('DELETE /users/second/tokens/a99999', 404),
  at('GET /users/nobody/tokens', 404),
  at('POST /users/nobody/tokens', 403),
]

const soon = (minutes: number): string => new Date(Date.now() + minutes * 60_000).toISOString()

const activity: readonly Case[] = [
  at('POST /users/second/activity', 400, {}, /./),
  at('POST /users/second/activity', 400, [], /./),
  at('POST /users/second/activity', 400, { last_activity: 'nonsense' }),
  at('POST /users/second/activity', 400, { last_activity: soon(60) }),
  at('POST /users/second/activity', 400, { servers: { '': {} } }),
  at(
    'POST /users/second/activity',
    400,
    { servers: { none: { last_activity: '2026-01-01T00:00:00Z' } } },
    /No such server 'none' for user second/,
  ),
  at('POST /users/single/activity', 400, { last_activity: null, servers: null }),
  at('POST /users/nobody/activity', 404, { last_activity: '2026-01-01T00:00:00Z' }),
  at('POST /users/single/activity', 200, { servers: { '': { last_activity: '2025-06-01' } } }),
  at('GET /users/single/server', 200, undefined, /"last_activity":"2025-06-01T00:00:00/),
  at('POST /users/second/activity', 200, { last_activity: '2025-06-01T12:00:00' }),
  at('GET /users/second', 200, undefined, /"last_activity":"2025-06-01T12:00:00(?:\.0+)?Z"/),
  at('POST /users/second/activity', 200, { last_activity: '2024-06-01T12:00:00Z' }),
  at('GET /users/second', 200, undefined, /"last_activity":"2025-06-01T12:00:00(?:\.0+)?Z"/),
  at('POST /users/second/activity', 200, { last_activity: '2025-06-02T12:00:00+02:00' }),
  at('GET /users/second', 200, undefined, /"last_activity":"2025-06-02T10:00:00(?:\.0+)?Z"/),
  at('POST /users/second/activity', 200, { last_activity: soon(58) }),
]

const others: readonly Case[] = [
  at('GET /services', 200, undefined, /^\{.*"whoami":\{"kind":"service"/),
  at('GET /services/whoami', 200, undefined, { name: 'whoami', admin: false, pid: 0 }),
  at('GET /services/nothing', 404),
  at('DELETE /services/whoami', 405, undefined, /Service whoami is not modifiable at runtime/),
  at('POST /services/made', 400, {}),
  at('POST /services/made', 400, { timeout: 1 }),
  at('POST /services/made', 400, { command: ['x'] }, /Can not create managed service/),
  at('POST /services/made', 400, { oauth_client_id: 'made' }),
  at('POST /services/whoami', 409, { display: false }),
  at('POST /services/made', 201, { info: { a: 1 } }, { name: 'made', info: { a: 1 } }),
  at('POST /services/made', 409, { info: {} }),
  at('DELETE /services/made', 200, undefined, /^$/),
  at('DELETE /services/made', 404),
  at('POST /shutdown', 400, { proxy: 'nope' }),
  at('POST /shutdown', 400, { servers: 'nope' }),
  at('POST /shutdown', 400, 'random'),
  at('GET /proxy', 200, undefined, /^\{"\/@\/space%20word\/":\{"routespec":/),
  at('PATCH /proxy', 400, [1]),
  at('PATCH /proxy', 400, undefined),
  at('GET /authorizations/cookie/jupyterhub-hub-login/nope', 404),
  at('GET /authorizations/cookie/jupyterhub-hub-login', 404),
  at('GET /authorizations/token/nope', 404),
  at('POST /authorizations/token', 404, {}, /users\/NAME\/tokens/),
]

describe("JupyterHub's tests of its API", () => {
  let test: TestHub
  let root: string
  let api: string

  before(async () => {
    test = await startTestHub({
      baseUrl: '/@/space%20word/',
      config: {
        hub: { adminUsers: ['root'], allowNamedServers: true },
        services: [{ name: 'whoami', apiToken: 'token-of-the-service-whoami' }],
      },
    })
    root = (await test.operator.createToken('root')).token
    api = `${test.origin}/@/space%20word/hub/api`
  })
  after(() => test[Symbol.asyncDispose]())

  async function send(line: string, body?: unknown, headers: Record<string, string> = {}) {
    const [method = '', path = ''] = line.split(' ')
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = await fetch(`${api}${path}`, {
      method,
      headers: { Authorization: `token ${root}`, ...headers },
      ...(body === undefined ? {} : { body: text }),
      signal: AbortSignal.timeout(60_000),
    })
    return { answer, status: answer.status, text: await answer.text() }
  }

  /** As their helper does: whatever comes back has the policy, and JSON where it has anything. */
  async function holds({ line, status, body, says }: Case): Promise<void> {
    const { answer, status: got, text } = await send(line, body)
    const what = `${line} ${JSON.stringify(body) ?? ''}: ${got} ${text.slice(0, 500)}`
    assert.equal(got, status, what)
    const policy = answer.headers.get('content-security-policy') ?? ''
    assert.match(policy, /frame-ancestors 'none'/)
    assert.match(policy, /\/hub\/security\/csp-report/)
    assert.doesNotMatch(policy, /http/)
    if (text !== '') assert.equal(answer.headers.get('content-type'), 'application/json', what)
    if (status >= 400) {
      const { status: told, message } = JSON.parse(text) as Model
      assert.equal(told, status)
      assert.equal(typeof message, 'string')
    }
    if (says instanceof RegExp) assert.match(text, says, what)
    else if (says) {
      const model = JSON.parse(text) as Model
      assert.deepEqual({ ...model, ...says }, model, what)
    }
  }

  for (const [what, cases] of Object.entries({ users, groups, tokens, activity, others }))
    it(`about ${what}`, async () => {
      for (const one of cases) await holds(one)
    })

  it('about credentials', async () => {
    const path = 'GET /user'
    const as = async (Authorization: string) =>
      (await send(path, undefined, { Authorization })).status
    for (const scheme of ['token', 'Token', 'bearer', 'Bearer', 'BEARER'])
      assert.equal(await as(`${scheme} ${root}`), 200, scheme)
    for (const other of [
      `Basic ${root}`,
      root,
      `token ${root} x`,
      'token',
      'token x',
      `tok ${root}`,
    ])
      assert.equal(await as(other), 403, other)
    const browser = new Browser(test.origin)
    await browser.logIn(test.baseUrl, 'cookie')
    const both = await browser.get(`${test.baseUrl}hub/api/user`, { Authorization: 'token wrong' })
    assert.equal((JSON.parse(both.text) as Model)['name'], 'cookie', 'falls through to the cookie')
    const { answer, text } = await send(path, undefined, {
      Authorization: 'token token-of-the-service-whoami',
    })
    assert.equal(answer.status, 200)
    const service = JSON.parse(text) as Model
    assert.deepEqual(
      [
        service['kind'],
        service['name'],
        service['admin'],
        service['session_id'],
        service['scopes'],
      ],
      ['service', 'whoami', false, null, []],
    )
    assert.match(String(service['token_id']), /^a\d+$/)
    const self = JSON.parse((await send(path)).text) as Model
    assert.deepEqual([self['kind'], self['name'], self['session_id']], ['user', 'root', null])
    assert.ok((self['scopes'] as string[]).includes('admin:users'))
    const scopes = self['scopes'] as string[]
    assert.deepEqual(scopes, scopes.toSorted(), 'sorted')
  })

  it('about credentials of others', async () => {
    const browser = new Browser(test.origin)
    await browser.logIn(test.baseUrl, 'cookie')
    const path = `${test.baseUrl}hub/api/authorizations`
    const body = browser.cookie('jupyterhub-hub-login') ?? ''
    const ask = async (what: string, text = '') => {
      const headers = [`Authorization: token ${root}`, `Content-Length: ${text.length}`]
      const answer = await rawSend(test.origin, `${path}/${what}`, { headers, body: text })
      return (JSON.parse(answer.body) as Model)['name']
    }
    const name = 'cookie/jupyterhub-hub-login'
    assert.equal(await ask(`${name}/${encodeURIComponent(body)}`), 'cookie')
    assert.equal(await ask(name, body), 'cookie', 'the value as the body')
    assert.equal(await ask('token/token-of-the-service-whoami'), 'whoami')
    const made = await send('POST /services/reader', { api_token: 'token-of-the-reader' })
    assert.equal(made.status, 201)
    const { text } = await send('GET /authorizations/token/token-of-the-reader')
    assert.deepEqual((JSON.parse(text) as Model)['roles'], [], 'what the asking may see of it')
  })

  it('about posts of a browser', async () => {
    const browser = new Browser(test.origin)
    await browser.logIn(test.baseUrl, 'root')
    const path = `${test.baseUrl}hub/api/users/second/tokens`
    const token = browser.cookie('_xsrf') ?? ''
    const wrong = { 'X-XSRFToken': 'wrong', 'Content-Type': 'application/json' }
    const refused = await browser.send('POST', path, { body: '{}', headers: wrong })
    assert.match(refused.text, /XSRF cookie does not match POST argument/)
    for (const [type, status] of [
      ['application/json', 201],
      ['application/json; charset=utf-8', 201],
      ['text/plain;application/json', 201],
      ['', 201],
      ['text/plain', 403],
      ['application/x-www-form-urlencoded', 403],
      ['text/plain; x-application/json', 403],
    ] as const) {
      const page = await browser.send('POST', path, {
        body: '{}',
        headers: {
          'X-XSRFToken': token,
          'Content-Length': '2',
          ...(type === '' ? {} : { 'Content-Type': type }),
        },
      })
      assert.equal(page.status, status, `${type}: ${page.text}`)
    }
  })

  it('about pages of a list', async () => {
    const page = async (query: string, accept = 'application/jupyterhub-pagination+json') => {
      const { text } = await send(`GET /users${query}`, undefined, { Accept: accept })
      return JSON.parse(text) as { items?: Model[]; _pagination?: Model }
    }
    const first = await page('?limit=2&sort=name&name_filter=e&_xsrf=kept')
    assert.equal(first.items?.length, 2)
    const { next, ...place } = first._pagination as { next: { url: string; offset: number } }
    assert.equal(next.offset, 2)
    assert.deepEqual(Object.keys(place).toSorted(), ['limit', 'offset', 'total'])
    const url = new URL(next.url)
    assert.equal(url.origin, test.origin)
    assert.equal(url.pathname, '/@/space%20word/hub/api/users')
    assert.equal(url.searchParams.get('_xsrf'), 'kept')
    assert.equal(url.searchParams.get('name_filter'), 'e')
    const seen = first.items?.map(({ name }) => String(name)) ?? []
    for (let at_: string | undefined = next.url; at_ !== undefined;) {
      const more = await page(new URL(at_).search)
      seen.push(...(more.items?.map(({ name }) => String(name)) ?? []))
      at_ = (more._pagination as { next: { url: string } | null }).next?.url
    }
    assert.equal(seen.length, Number((first._pagination as { total: number }).total))
    assert.deepEqual(seen, seen.toSorted())
    for (const accept of [
      'text/html, application/JupyterHub-Pagination+json',
      '*/*,application/jupyterhub-pagination+json',
    ])
      assert.ok((await page('', accept))._pagination, accept)
    for (const accept of ['application/json', 'application/jupyterhub-pagination+json;q=1'])
      assert.ok(Array.isArray(await page('', accept)), accept)
    assert.equal((await page('?limit=-2&offset=-1')).items?.length, 2)
    assert.equal((await page('?limit=0'))._pagination?.['limit'], 1)
    assert.equal((await page('?limit=9999'))._pagination?.['limit'], 200)
  })

  it('about what a token is used for', async () => {
    const made = await send('POST /users/single/tokens', {})
    const { token, id } = JSON.parse(made.text) as { token: string; id: string }
    const shown = async (path: string) =>
      (JSON.parse((await send(`GET ${path}`)).text) as Model)['last_activity']
    assert.equal(await shown(`/users/single/tokens/${id}`), null)
    const before = await shown('/users/single')
    await send('GET /user', undefined, { Authorization: `token ${token}` })
    const used = await shown(`/users/single/tokens/${id}`)
    assert.match(String(used), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/)
    assert.notEqual(await shown('/users/single'), before)
  })

  it('about CORS, OPTIONS and ETags', async () => {
    const options = await fetch(`${api}/users`, { method: 'OPTIONS' })
    assert.deepEqual([options.status, await options.text()], [200, ''])
    assert.match(options.headers.get('access-control-allow-headers') ?? '', /authorization/)
    assert.equal(options.headers.get('access-control-allow-origin'), null)
    const first = await send('GET /users/second')
    const etag = first.answer.headers.get('etag') ?? ''
    assert.match(etag, /^"[0-9a-f]+"$/)
    for (const held of [etag, `W/${etag}`, `"other", W/${etag}`, '*']) {
      const again = await send('GET /users/second', undefined, { 'If-None-Match': held })
      assert.deepEqual([again.status, again.text], [304, ''], held)
    }
    const other = await send('GET /users/second', undefined, { 'If-None-Match': '"other", W/"x"' })
    assert.equal(other.status, 200)
  })
})
