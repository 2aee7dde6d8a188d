import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import {
  type ApiDocument,
  type Operation,
  operationsOf,
  pathParameters,
  readDocument,
} from '../../support/api-document.ts'
import { departures, resolved } from '../../support/json-schema.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const page = 'application/jupyterhub-pagination+json'

/** One call of the walk: what is sent, and the status that comes back. */
interface Step {
  readonly line: string
  readonly status: number
  readonly body?: unknown
  readonly accept?: string
}

const step = (line: string, status: number, body?: unknown, accept?: string): Step => ({
  line,
  status,
  ...(body === undefined ? {} : { body }),
  ...(accept === undefined ? {} : { accept }),
})

/** Through every call of the API, in an order in which each one does what it is for. */
const walk: readonly Step[] = [
  step('GET /', 200),
  step('GET /health?ready', 200),
  step('GET /info', 200),
  step('GET /user', 200),
  step('GET /openapi.json', 200),
  step('GET /metrics', 200),
  step('POST /users', 201, { usernames: ['ada', 'bob', 'cy'] }),
  step('POST /users/dan', 201, { admin: true }),
  step('PATCH /users/cy', 200, { name: 'cyd', admin: false }),
  step('GET /users', 200),
  step('GET /users?include_stopped_servers&sort=-last_activity&name_filter=a', 200),
  step('GET /users?limit=2', 200, undefined, page),
  step('GET /users/ada', 200),
  step('GET /users/ada?explain', 200),
  step('GET /explain?user=ada&scope=read:users&target=user=ada', 200),
  step('GET /explain?user=ada&scope=read:hub', 200),
  step('GET /explain/login?user=ada', 200),
  step('PUT /users/ada/servers/lab', 201, { display_name: 'Lab', user_options: { a: [1] } }),
  step('PUT /users/ada/server', 409),
  step('PUT /users/ada/servers/', 409),
  step('PATCH /users/ada/servers/lab', 200, { display_name: null, name: 'den' }),
  step('PATCH /users/ada/server', 200, { user_options: { b: null } }),
  step('PATCH /users/ada/servers/', 200, { user_options: { b: 2 } }),
  step('POST /users/ada/server', 201),
  step('POST /users/bob/servers/', 201, { legacy: 'options' }),
  step('POST /users/ada/servers/den', 201, {}),
  step('GET /users/ada/server', 200),
  step('GET /users/ada/servers/', 200),
  step('GET /users/ada/servers/den', 200),
  step('GET /users/ada/server/progress', 200),
  step('GET /users/ada/servers/den/progress', 200),
  step('GET /users/ada/servers//progress', 200),
  step('GET /users?state=ready', 200),
  step('GET /users/ada?include_stopped_servers=1', 200),
  step('POST /users/ada/activity', 200, { last_activity: '2026-01-01T00:00:00Z' }),
  step('POST /users/ada/admin-access', 403),
  step('GET /proxy', 200),
  step('GET /proxy?limit=1', 200, undefined, page),
  step('POST /proxy', 200),
  step('PATCH /proxy', 200, {}),
  step('POST /users/ada/tokens', 201, { note: 'one', expires_in: 60, scopes: ['read:users!user'] }),
  step('POST /users/ada/tokens', 201),
  step('GET /users/ada/tokens', 200),
  step('GET /users/ada/tokens/TOKEN', 200),
  step('GET /explain?token=TOKEN&scope=read:users&target=user=ada', 200),
  step('GET /authorizations/token/SECRET', 200),
  step('DELETE /users/ada/tokens/TOKEN', 204),
  step('POST /groups', 201, { groups: ['red', 'blue'], users: ['ada'] }),
  step('POST /groups/green', 201),
  step('GET /groups', 200),
  step('GET /groups?limit=1', 200, undefined, page),
  step('GET /groups/red', 200),
  step('PUT /groups/red/properties', 200, { size: { cpu: 1 } }),
  step('POST /groups/red/users', 200, { users: ['bob'] }),
  step('DELETE /groups/red/users', 200, { users: ['ada'] }),
  step('POST /services/late', 201, { info: { a: 1 }, oauth_client_allowed_scopes: ['self'] }),
  step('GET /services', 200),
  step('GET /services/late', 200),
  step('GET /services/fixed', 200),
  step('DELETE /services/late', 200),
  ...(['', 'den'] as const).flatMap((name) => [
    step(`POST /shares/ada/${name}`, 200, { user: 'bob', scopes: ['servers', 'access:servers'] }),
    step(`POST /shares/ada/${name}`, 200, { group: 'blue' }),
    step(`GET /shares/ada/${name}`, 200),
    step(`GET /users/bob/shared/ada/${name}`, 200),
    step(`GET /groups/blue/shared/ada/${name}`, 200),
    step(`PATCH /shares/ada/${name}`, 200, {
      user: 'bob',
      scopes: [`servers!server=ada/${name}`],
    }),
    step(`PATCH /shares/ada/${name}`, 200, { user: 'nobody' }),
    step(`POST /share-codes/ada/${name}`, 200),
    step(`POST /share-codes/ada/${name}`, 200, { expires_in: 60 }),
    step(`GET /share-codes/ada/${name}`, 200),
    step('GET /shares/ada?limit=1', 200),
    step('GET /share-codes/ada', 200),
    step('GET /users/bob/shared', 200),
    step('GET /groups/blue/shared', 200),
    step(`DELETE /users/bob/shared/ada/${name}`, 204),
    step(`DELETE /groups/blue/shared/ada/${name}`, 204),
    step(`DELETE /share-codes/ada/${name}?id=sc_1`, name === '' ? 204 : 404),
    step(`DELETE /share-codes/ada/${name}`, 204),
    step(`DELETE /shares/ada/${name}`, 204),
  ]),
  step('GET /authorizations/token/none', 404),
  step('GET /authorizations/cookie/jupyterhub-hub-login/x', 404),
  step('GET /authorizations/cookie/jupyterhub-hub-login', 404),
  step('POST /authorizations/token', 404),
  step('POST /oauth2/token', 401),
  step('DELETE /users/ada/server', 204),
  step('DELETE /users/bob/servers/', 204),
  step('DELETE /users/ada/servers/den', 204, { remove: true }),
  step('DELETE /groups/green', 204),
  step('DELETE /users/dan', 204),
  step('GET /events', 200),
]

/** For the hub's socket alone, or for its end. */
const notWalked = ['POST /login-link', 'POST /database/backup', 'POST /shutdown']

describe("the API's document", () => {
  let test: TestHub
  let document: ApiDocument
  let operations: readonly Operation[]
  let token = ''

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['root'],
          allowNamedServers: true,
          loadRoles: [{ name: 'reading', scopes: ['read:users'], services: ['fixed'] }],
        },
        services: [{ name: 'fixed', apiToken: 'token-of-the-fixed-service', info: { of: 'x' } }],
      },
    })
    token = (await test.operator.createToken('root')).token
    document = await readDocument(test.origin)
    operations = operationsOf(document)
  })
  after(() => test[Symbol.asyncDispose]())

  /** The operation that a path means: one with more literal segments before one with fewer. */
  function operationOf(method: string, path: string): Operation {
    const parts = path.split('/')
    const [found] = operations
      .filter((one) => {
        const wanted = one.path.split('/')
        return (
          one.method === method &&
          wanted.length === parts.length &&
          wanted.every(
            (part, index) => part === parts[index] || (part.startsWith('{') && parts[index] !== ''),
          )
        )
      })
      .toSorted((one, other) => pathParameters(one.path).length - pathParameters(other.path).length)
    assert.ok(found, `${method} ${path} is not documented`)
    return found
  }

  async function take({ line, status, body, accept }: Step, secret: string) {
    const [method = '', target = ''] = line.split(' ')
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(), 60_000)
    const answer = await fetch(`${test.origin}/hub/api${target}`, {
      method,
      headers: { Authorization: `token ${secret}`, ...(accept ? { Accept: accept } : {}) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: abort.signal,
    })
    const type = answer.headers.get('content-type') ?? ''
    const text = type === 'text/event-stream' ? '' : await answer.text()
    clearTimeout(timer)
    abort.abort()
    assert.equal(answer.status, status, `${line}: ${text.slice(0, 500)}`)
    const json = type.startsWith('application/json') && text !== '' ? JSON.parse(text) : undefined
    return { json: json as unknown, one: operationOf(method, target.split('?')[0] ?? '') }
  }

  /** Says nothing but what the document says of this call. */
  async function conforms(one: Step, secret = token): Promise<{ json: unknown; key: string }> {
    const { json, one: operation } = await take(one, secret)
    const schema = operation.answers[one.status] ?? null
    const isError = one.status >= 400
    if (schema) assert.notEqual(json, undefined, `${one.line} has no JSON`)
    if (json !== undefined) {
      const wanted = schema ?? (isError ? operation.answers['default'] : null)
      assert.ok(wanted, `${one.line}: no JSON is documented for ${one.status}`)
      if (operation.body !== 'form')
        assert.deepEqual(departures(wanted, json, document), [], one.line)
    } else assert.ok(isError || one.status in operation.answers, `${one.line}: ${one.status}`)
    return { json, key: `${operation.method} ${operation.path}` }
  }

  it('is OpenAPI 3.1', () => {
    assert.match(document.openapi, /^3\.1\.\d$/)
    const ids = new Set<string>()
    for (const [path, methods] of Object.entries(document.paths)) {
      assert.match(path, /^\/(?:[a-z0-9.-]+|\{\w+\}|\/(?!\/)|(?<=servers)\/)*\/?$/)
      for (const [method, one] of Object.entries(methods)) {
        const what = `${method} ${path}`
        assert.match(method, /^(?:get|put|post|delete|options|head|patch|trace)$/)
        assert.match(one.operationId, /^[a-z][a-z0-9_]*$/, what)
        assert.ok(!ids.has(one.operationId), `${what}: ${one.operationId} is not unique`)
        ids.add(one.operationId)
        const declared = one.parameters.filter((parameter) => parameter.in === 'path')
        assert.deepEqual(
          declared.map(({ name }) => name),
          pathParameters(path),
          what,
        )
        assert.ok(
          declared.every(({ required }) => required),
          what,
        )
        const named = one.parameters.map((parameter) => `${parameter.in} ${parameter.name}`)
        assert.equal(new Set(named).size, named.length, what)
        for (const [status, { description }] of Object.entries(one.responses)) {
          assert.match(status, /^(?:default|[1-5]\d\d)$/, what)
          assert.ok(description.length > 0, `${what} ${status}`)
        }
      }
    }
    for (const [, reference = ''] of JSON.stringify(document).matchAll(/"\$ref":"([^"]*)"/g))
      assert.ok(resolved(document, reference), `${reference} is nowhere`)
  })

  it('puts each call under what it is about, once', () => {
    const tags = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).flatMap((one) => one.tags),
    )
    const known = 'authorizations groups hub oauth2 proxy services servers shares tokens users'
    assert.deepEqual([...new Set(tags)].toSorted(), known.split(' ').toSorted())
  })

  it('says which parts of a query must be there', () => {
    const needed = (path: string) =>
      document.paths[path]?.['get']?.parameters
        .filter(({ required }) => required)
        .map(({ name }) => name)
    assert.deepEqual(needed('/explain'), ['scope'])
    assert.deepEqual(needed('/users'), [])
  })

  it('describes what every call answers', { timeout: 180_000 }, async () => {
    const walked = new Set<string>()
    let tokenId = ''
    let secret = ''
    for (const one of walk) {
      const line = one.line.replace('TOKEN', tokenId).replace('SECRET', secret)
      const { json, key } = await conforms({ ...one, line })
      walked.add(key)
      if (key !== 'POST /users/{user}/tokens') continue
      ;({ id: tokenId, token: secret } = json as { id: string; token: string })
    }
    const missed = operations
      .map(({ method, path }) => `${method} ${path}`)
      .filter((key) => !walked.has(key) && !notWalked.includes(key))
    assert.deepEqual(missed, [])
  })

  it('describes what those see who may see less', async () => {
    for (const scopes of [
      ['list:users', 'list:groups', 'list:services'],
      ['list:users', 'read:servers', 'read:roles:users', 'read:roles:groups'],
      ['list:users', 'read:users:activity', 'admin:server_state', 'admin:auth_state'],
      ['list:users!user=bob', 'read:services!service=fixed', 'list:services!service=fixed'],
    ]) {
      const { token: narrow } = await test.operator.createToken('root', { scopes })
      await conforms(step('GET /users?include_stopped_servers=1', 200), narrow)
      await conforms(step('GET /user', 200), narrow)
      if (scopes.includes('list:groups')) await conforms(step('GET /groups', 200), narrow)
      if (scopes.some((scope) => scope.startsWith('list:services')))
        await conforms(step('GET /services', 200), narrow)
    }
    await conforms(step('GET /user', 200), 'token-of-the-fixed-service')
  })
})
