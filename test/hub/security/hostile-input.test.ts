import assert from 'node:assert/strict'
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http'
import { text } from 'node:stream/consumers'
import { after, before, describe, it } from 'node:test'
import {
  filledPath,
  type Operation,
  operationsOf,
  pathParameters,
  readDocument,
} from '../../support/api-document.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

interface Answer {
  readonly status: number
  readonly text: string
}

/** What stands for each parameter of a path when another part of the request is hostile. */
const usual: Readonly<Record<string, string>> = {
  user: 'ada',
  owner: 'ada',
  group: 'team',
  service: 'late',
  server: 'lab',
  name: 'lab',
  token: 'a1',
  value: 'x',
}

const nested = (open: string, close: string, depth: number) =>
  `${open.repeat(depth)}1${close.repeat(depth)}`

/** Whole bodies. None of them says what any call wants. */
const bodies: readonly (string | Buffer)[] = [
  '{',
  'nonsense',
  '[]',
  '[{}]',
  '"x"',
  '0',
  'true',
  'NaN',
  '{"a":NaN}',
  '1e999999',
  '\u0000',
  '{"\u0000":1}',
  '{"\\u0000":"\\u0000"}',
  '{"\\ud800":"\\udfff"}',
  '{"a":1,"a":2}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  '{"toString":1,"hasOwnProperty":null,"valueOf":[]}',
  '{"__proto__":{"polluted":1},"x":1}',
  Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]),
  Buffer.from('{"a":1}', 'utf16le'),
  '\uFEFF{"a":1}',
  nested('[', ']', 50_000),
  nested('{"a":', '}', 20_000),
  nested('{"a":', '}', 2990),
  `{${Array.from({ length: 4000 }, (_, index) => `"k${index}":${index}`).join(',')}}`,
  `{"a":${'9'.repeat(20_000)}}`,
]

/** JSON that may stand where something else is wanted. */
const values: readonly string[] = [
  'null',
  'true',
  '0',
  '-1',
  '1.5',
  '1e308',
  '1e999',
  '9007199254740993',
  '[]',
  '[null]',
  '[[]]',
  '["\\ud800"]',
  '["__proto__","constructor"]',
  `[${'"x",'.repeat(10_000)}"x"]`,
  '{}',
  '{"":null}',
  '{"__proto__":{"polluted":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  nested('[', ']', 2900),
  nested('{"a":', '}', 2900),
  '""',
  '" "',
  '"\\u0000"',
  '"a\\r\\nX-Evil: 1"',
  '"\\ud800"',
  '"__proto__"',
  '"../.."',
  '"%"',
  '"javascript:alert(1)"',
  '"http://["',
  '"file:///etc/passwd"',
  '"inherit!user=x"',
  `"${'x'.repeat(100_000)}"`,
]

/** One segment of a path, as it is sent. */
const segments: readonly string[] = [
  '%',
  '%zz',
  '%ff',
  '%c0%ae',
  '%ed%a0%80',
  '%00',
  '%2f',
  '..%2f..',
  '%2e%2e',
  '%5c',
  '%0d%0aX',
  '%F0%9F%92%A9',
  '%EF%BC%8F',
  '__proto__',
  'constructor',
  '%22%27%3b',
  'a9007199254740993',
  'a-1',
  'x'.repeat(5000),
]

/** Values of a parameter of the query, as they are sent. */
const arguments_: readonly string[] = [
  '',
  '-1',
  '1.5',
  'NaN',
  '1e3',
  '9'.repeat(400),
  '__proto__',
  '%',
  '%ff',
  '%ed%a0%80',
  '%00',
  '%0d%0aX',
  '[]',
  'x'.repeat(5000),
  'true',
]

/** A body that the call takes, where some field must be there. */
const complete: Readonly<Record<string, object>> = {
  'POST /users': { usernames: ['fuzz'] },
  'POST /groups': { groups: ['fuzz'] },
  'POST /groups/{group}/users': { users: ['ada'] },
  'DELETE /groups/{group}/users': { users: ['ada'] },
  'POST /shares/{user}/{server}': { user: 'bob' },
  'PATCH /shares/{user}/{server}': { user: 'bob' },
  'POST /services/{service}': { display: true },
}

/** Fields of bodies whose schema names none. */
const unnamed = ['user_options', 'display_name', 'user_options":{},"display_name', 'name']

describe('hostile input', () => {
  let test: TestHub
  let operations: readonly Operation[]
  let token = ''
  const agent = new Agent({ keepAlive: true })

  before(async () => {
    test = await startTestHub({
      config: { hub: { adminUsers: ['root'], allowNamedServers: true, activeServerLimit: 1 } },
    })
    token = (await test.operator.createToken('root')).token
    operations = operationsOf(await readDocument(test.hub.internalUrl))
    await test.operator.createUsers(['busy'])
    await test.operator.startServer('busy')
    await restore()
  })
  after(async () => {
    agent.destroy()
    await test[Symbol.asyncDispose]()
  })

  /** Straight to the hub: its proxy refuses some of this before. A stream ends with its head. */
  function send(method: string, path: string, body: string | Buffer = ''): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const url = new URL(test.hub.internalUrl)
      const request = httpRequest({
        agent,
        host: url.hostname,
        port: url.port,
        method,
        path: `/hub/api${path}`,
        headers: { Authorization: `token ${token}`, 'Content-Length': Buffer.byteLength(body) },
        signal: AbortSignal.timeout(60_000),
      })
      request.on('error', (error) =>
        reject(new Error(`${method} ${path.slice(0, 200)}: ${error.message}`)),
      )
      request.on('response', (response: IncomingMessage) => {
        const status = response.statusCode ?? 0
        if (response.headers['content-type'] !== 'text/event-stream')
          return void text(response).then((read) => resolve({ status, text: read }), reject)
        response.on('error', () => {})
        response.destroy()
        resolve({ status, text: '' })
      })
      request.end(body)
    })
  }

  /** Everything that the usual paths name is there, whatever an accepted request has done to it. */
  async function restore(): Promise<void> {
    const calls = [
      ['POST', '/users', '{"usernames":["ada","bob"]}'],
      ['POST', '/groups/team', ''],
      ['POST', '/services/late', '{"display":true}'],
      ['PUT', '/users/ada/servers/lab', '{}'],
    ] as const
    for (const [method, path, body] of calls) {
      const { status, text: read } = await send(method, path, body)
      assert.ok(status === 201 || status === 409, `${method} ${path}: ${status} ${read}`)
    }
  }

  /** Refused, or done and documented. */
  async function isHandled(one: Operation, path: string, body?: string | Buffer): Promise<void> {
    const { status, text: read } = await send(one.method, path, body)
    const shown = String(body ?? '').slice(0, 120) ?? ''
    const what = `${one.method} ${path.slice(0, 200)} ${shown}: ${status} ${read.slice(0, 300)}`
    assert.ok(status < 500, what)
    if (status >= 400) {
      const { message } = JSON.parse(read) as { message?: unknown }
      const { error } = JSON.parse(read) as { error?: unknown }
      const said = message ?? error
      assert.ok(typeof said === 'string' && said !== '' && said.length < 2100, what)
    } else {
      assert.ok(status in one.answers, what)
      if (one.method === 'DELETE' || one.method === 'PATCH') await restore()
    }
  }

  /** What would end the hub, or its tie to the proxy, is done: only what is refused may be sent there. */
  function isMeant(one: Operation, body: string | Buffer): boolean {
    const key = `${one.method} ${one.path}`
    if (key === 'PATCH /proxy') return /"auth_token":"(?!\\|a\\r)[^"]{1,}"\}$/.test(String(body))
    if (key !== 'POST /shutdown') return false
    try {
      const { __proto__: _none, ...rest } = JSON.parse(String(body)) as Record<string, unknown>
      return Object.entries(rest).every(
        ([name, value]) => ['proxy', 'servers'].includes(name) && typeof value === 'boolean',
      )
    } catch {
      return false
    }
  }

  /** Without those that say the same of a default server in another way. */
  const distinct = () => operations.filter(({ path }) => !/[^/]\/$/.test(path))

  it('in whole bodies is refused at every endpoint', async () => {
    for (const one of distinct())
      for (const body of one.body === null ? ['{', '\u0000'] : bodies)
        if (!isMeant(one, body)) await isHandled(one, filledPath(one.path, usual), body)
  })

  it('in any field of a body is refused, or is data', async () => {
    for (const one of distinct()) {
      if (one.body === null || one.body === 'form') continue
      const key = `${one.method} ${one.path}`
      const fields = Object.keys((one.body['properties'] as object | undefined) ?? {})
      for (const field of fields.length > 0 ? fields : unnamed)
        for (const value of values) {
          const rest = Object.entries(complete[key] ?? {}).filter(([name]) => name !== field)
          const fixed = rest.map(([name, known]) => `"${name}":${JSON.stringify(known)},`).join('')
          const body = `{${fixed}"${field}":${value}}`
          if (!isMeant(one, body)) await isHandled(one, filledPath(one.path, usual), body)
        }
    }
  })

  it('in a form is refused', async () => {
    const names = ['grant_type', 'code', 'redirect_uri', 'client_id', 'client_secret']
    for (const one of operations.filter(({ body }) => body === 'form'))
      for (const value of arguments_)
        for (const name of [...names, 'code_verifier'])
          for (const rest of ['', '&grant_type=authorization_code', `&${name}=again`])
            await isHandled(one, one.path, `${name}=${value}${rest}`)
  })

  it('in any part of a path is refused, or is a name', async () => {
    for (const one of operations)
      for (const parameter of pathParameters(one.path))
        for (const segment of segments) {
          const path = filledPath(one.path, { ...usual, [parameter]: segment })
          await isHandled(one, path, JSON.stringify(complete[`${one.method} ${one.path}`] ?? {}))
        }
  })

  it('in any argument of a query is refused, or is data', async () => {
    for (const one of operations) {
      if (one.path === '/shutdown') continue
      const path = filledPath(one.path, usual)
      for (const query of ['%', '%ff=%', '__proto__=1&__proto__=2', '&&==&='])
        await isHandled(one, `${path}?${query}`, '{}')
      for (const name of one.query) {
        for (const value of arguments_) await isHandled(one, `${path}?${name}=${value}`)
        await isHandled(one, `${path}?${name}=1&${name}=2`)
        await isHandled(one, `${path}?${name}[]=1&${name}[a]=2`)
      }
    }
  })

  it('that is huge is refused unread, on a connection that others then use', async () => {
    const huge = Buffer.alloc(5_000_000, '{"a":[1,2,3],')
    for (const one of operations) {
      const path = filledPath(one.path, usual)
      if (one.body === null) await isHandled(one, path, huge)
      else assert.equal((await send(one.method, path, huge)).status, 413, `${one.method} ${path}`)
    }
  })

  it('leaves the hub as it was', async () => {
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined)
    assert.equal((await send('GET', '/users/root')).status, 200)
    assert.equal((await send('GET', '/info')).status, 200)
    assert.equal((await send('POST', '/proxy')).status, 200)
    await test.operator.stopServer('busy')
    await test.operator.startServer('ada')
    await test.operator.stopServer('ada')
    const errors = test.logLines.filter((line) => /"level":"error"/.test(line))
    assert.deepEqual(errors, [], 'nothing of all this is a mistake of the hub')
  })
})
