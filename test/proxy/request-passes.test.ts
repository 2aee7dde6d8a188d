import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Forwarding, forwardedHeaders, relayedHeaders } from '../../proxy/request-passes.ts'

const plain: Forwarding = {
  method: 'GET',
  isUpgrade: false,
  framing: { kind: 'none' },
  peer: '127.0.0.1',
  isTrustedPeer: true,
  isSecure: false,
  toHub: false,
}

interface Passed {
  readonly [name: string]: string
}

function pass(
  headers: Passed | readonly string[],
  forwarding: Partial<Forwarding> = {},
  rules: Partial<Parameters<typeof forwardedHeaders>[2]> = {},
): Passed {
  const raw = Array.isArray(headers) ? headers : Object.entries(headers).flat()
  const passed = forwardedHeaders(
    ['Host', 'hub.test:8000', ...raw],
    { ...plain, ...forwarding },
    { xForward: true, customHeaders: [], onUntrusted: () => {}, ...rules },
  )
  const found: Record<string, string> = {}
  for (let i = 0; i < passed.length; i += 2) {
    const name = passed[i]?.toLowerCase() ?? ''
    found[name] = name in found ? `${found[name]} + ${passed[i + 1]}` : (passed[i + 1] ?? '')
  }
  return found
}

test('drops what belongs to the connection, and what Connection names', () => {
  const passed = pass({
    Connection: 'keep-alive, X-Secret,content-length, host',
    'Keep-Alive': 'timeout=5',
    'Proxy-Connection': 'keep-alive',
    'Proxy-Authorization': 'Basic eA==',
    TE: 'trailers',
    Upgrade: 'h2c',
    Expect: '100-continue',
    'X-Secret': '1',
    'X-Kept': '2',
  })
  assert.deepEqual(Object.keys(passed).toSorted(), [
    'host',
    'x-forwarded-for',
    'x-forwarded-host',
    'x-forwarded-port',
    'x-forwarded-proto',
    'x-kept',
  ])
})

test('says who asked, when nobody has said it before', () => {
  const passed = pass({})
  assert.equal(passed['x-forwarded-for'], '127.0.0.1')
  assert.equal(passed['x-forwarded-proto'], 'http')
  assert.equal(passed['x-forwarded-host'], 'hub.test:8000')
  assert.equal(passed['x-forwarded-port'], '8000')
  assert.equal(pass({}, { isUpgrade: true, isSecure: true })['x-forwarded-proto'], 'wss')
})

const claims = {
  'X-Forwarded-For': '203.0.113.9',
  'x-forwarded-proto': 'https,http',
  'X-Forwarded-Host': 'public.test',
  'X-Forwarded-Port': '443',
  'X-Forwarded-Prefix': '/x',
  'X-Real-IP': '203.0.113.9',
  'X-Scheme': 'https',
  Forwarded: 'for=203.0.113.9',
}

test('believes a trusted peer: appends to For, keeps the first of the others', () => {
  const passed = pass(claims)
  assert.equal(passed['x-forwarded-for'], '203.0.113.9,127.0.0.1')
  assert.equal(passed['x-forwarded-proto'], 'https')
  assert.equal(passed['x-forwarded-host'], 'public.test')
  assert.equal(passed['x-forwarded-port'], '443')
  assert.equal(passed['x-real-ip'], '203.0.113.9')
  assert.equal(passed['forwarded'], 'for=203.0.113.9, for=127.0.0.1;proto=http')
})

test('replaces what anybody else claims, and says so', () => {
  const untrusted: (string | null)[] = []
  const onUntrusted = (peer: string | null) => void untrusted.push(peer)
  const passed = pass(claims, { peer: '198.51.100.7', isTrustedPeer: false }, { onUntrusted })
  assert.equal(passed['x-forwarded-for'], '198.51.100.7')
  assert.equal(passed['x-forwarded-proto'], 'http')
  assert.equal(passed['x-forwarded-host'], 'hub.test:8000')
  assert.equal(passed['x-forwarded-port'], '8000')
  for (const gone of ['x-real-ip', 'x-scheme', 'forwarded', 'x-forwarded-prefix']) {
    assert.ok(!(gone in passed), gone)
  }
  assert.deepEqual(untrusted, ['198.51.100.7'])
})

test('names nobody behind a unix socket', () => {
  assert.ok(!('x-forwarded-for' in pass({}, { peer: null })))
})

test('adds no forwarding headers when told so', () => {
  assert.deepEqual(pass({}, {}, { xForward: false }), { host: 'hub.test:8000' })
})

const cookies =
  'a=1; jupyterhub-hub-login="secret"; _xsrf=2;__Host-jupyterhub-hub-login=secret; jupyterhub-session-id=3'

test("drops exactly the hub's login cookie on the way to a server", () => {
  assert.equal(pass({ Cookie: cookies })['cookie'], 'a=1; _xsrf=2; jupyterhub-session-id=3')
  const others = 'jupyterhub-hub-login2=x; xjupyterhub-hub-login=y; jupyterhub-user-ada=z'
  assert.equal(pass({ Cookie: others })['cookie'], others)
  assert.ok(!('cookie' in pass({ Cookie: 'jupyterhub-hub-login=secret' })))
  const twice = pass(['Cookie', 'jupyterhub-hub-login=secret', 'cookie', 'b=1'])
  assert.equal(twice['cookie'], 'b=1')
})

test('keeps all cookies on the way to the hub', () => {
  assert.equal(pass({ Cookie: cookies }, { toHub: true })['cookie'], cookies)
})

test('sets custom headers in the place of those of the client', () => {
  const passed = pass({ 'x-custom': 'mine' }, {}, { customHeaders: [['X-Custom', 'ours: yes']] })
  assert.equal(passed['x-custom'], 'ours: yes')
})

test('frames the body as it was parsed, not as headers claim', () => {
  const length = pass({ 'Content-Length': '9' }, { framing: { kind: 'length', length: '3' } })
  assert.equal(length['content-length'], '3')
  const chunked = pass(
    { 'Content-Length': '9' },
    { method: 'DELETE', framing: { kind: 'chunked' } },
  )
  assert.equal(chunked['transfer-encoding'], 'chunked')
  assert.ok(!('content-length' in chunked))
  assert.equal(pass({}, { method: 'POST' })['content-length'], '0')
  assert.ok(!('content-length' in pass({}, { method: 'DELETE' })))
})

test('passes an answer on without what belongs to its connection', () => {
  const answer = ['Connection: close, x-hop', 'X-Hop: 1', 'Keep-Alive: timeout=60']
  const cookie = ['Set-Cookie: a=1', 'Set-Cookie: b=2', 'Transfer-Encoding: chunked']
  const raw = [...answer, ...cookie].flatMap((line) => line.split(': '))
  assert.deepEqual(relayedHeaders(raw, 200), ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2'])
  assert.deepEqual(relayedHeaders(['Content-Length', '5'], 204), [])
})
