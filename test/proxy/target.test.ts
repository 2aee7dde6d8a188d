import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseTarget, pathAtTarget } from '../../proxy/target.ts'

test('reads http, https and unix targets', () => {
  assert.deepEqual(parseTarget('http://127.0.0.1:8888'), {
    url: 'http://127.0.0.1:8888',
    secure: false,
    host: '127.0.0.1:8888',
    connect: { host: '127.0.0.1', port: 8888 },
    pathPrefix: '',
    query: '',
  })
  const six = parseTarget('https://[::1]/')
  assert.deepEqual(six?.connect, { host: '::1', port: 443 })
  assert.equal(six.host, '[::1]')
  for (const scheme of ['http+unix', 'unix+http']) {
    const unix = parseTarget(`${scheme}://%2Frun%2Fa%20b/x`)
    assert.deepEqual(unix?.connect, { socketPath: '/run/a b' })
    assert.equal(unix.pathPrefix, '/x')
  }
})

test('reads an address and a port as it reads every other URL', () => {
  const octet = fc.oneof(
    fc.integer({ min: 0, max: 300 }).map(String),
    fc.constantFrom('01', '0x7f'),
  )
  const port = fc.oneof(
    fc.integer({ min: 0, max: 70_000 }).map(String),
    fc.constantFrom('80', '080', '65535', '65536', ''),
  )
  fc.assert(
    fc.property(fc.array(octet, { minLength: 3, maxLength: 5 }), port, (octets, at) => {
      const url = `http://${octets.join('.')}:${at}`
      const read = parseTarget(url)
      const other = parseTarget(`${url}/`)
      assert.deepEqual(read && { ...read, url: '' }, other && { ...other, url: '' })
    }),
    { numRuns: 500 },
  )
})

test('takes nothing else for a target', () => {
  const wrong = [
    '',
    'x',
    '/x',
    'ws://x',
    'http:x',
    'http://',
    'http://a b',
    'http://x\n',
    'ftp://x',
  ]
  for (const url of [...wrong, 'http+unix://', 'http+unix://relative', 'http+unix://%zz']) {
    assert.equal(parseTarget(url), null, url)
  }
})

test("puts the target's path and query before those of the request", () => {
  const cases = [
    ['http://x', '/a?b', '/a?b'],
    ['http://x/', '/a?', '/a?'],
    ['http://x/p/', '/a', '/p/a'],
    ['http://x/p?q', '/a', '/p/a?q'],
    ['http://x?q=1', '/a?b=2', '/a?q=1&b=2'],
  ] as const
  for (const [url, path, expected] of cases) {
    const target = parseTarget(url)
    assert.equal(target && pathAtTarget(target, path), expected)
  }
})
