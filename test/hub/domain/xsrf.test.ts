import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { apiNeedsToken, createXsrf, crossSiteReason } from '../../../hub/domain/xsrf.ts'

const key = Buffer.alloc(32, 1)
let now = new Date('2026-11-22T00:00:00Z')
const xsrf = createXsrf(key, () => now)
const fresh = (session: string | null) => xsrf.tokenFor([], session).token

describe('an XSRF token', () => {
  it('belongs to one login', () => {
    const token = fresh('7')
    assert.ok(xsrf.matches([token], '7', token))
    assert.ok(!xsrf.matches([token], '8', token))
    assert.ok(!xsrf.matches([token], null, token))
  })

  it('from before the login is worth nothing after it', () => {
    const before = fresh(null)
    assert.ok(xsrf.matches([before], null, before))
    assert.ok(!xsrf.matches([before], '7', before))
    assert.ok(xsrf.tokenFor([before], '7').isNew)
  })

  it('of an anonymous browser needs its own cookie', () => {
    const own = fresh(null)
    assert.ok(!xsrf.matches([own], null, fresh(null)))
    assert.ok(!xsrf.matches([], null, own))
    assert.ok(!xsrf.matches([own], null, ''))
  })

  it('is found among foreign cookies, first or last', () => {
    const own = fresh('7')
    const foreign = [fresh('8'), '2|1:0|x', 'x'.repeat(5000), '', '%', fresh(null)]
    for (const cookies of [
      [...foreign, own],
      [own, ...foreign],
    ]) {
      assert.deepEqual(xsrf.tokenFor(cookies, '7'), { token: own, isNew: false })
      assert.ok(xsrf.matches(cookies, '7', own))
      for (const other of foreign) assert.ok(!xsrf.matches(cookies, '7', other), other)
    }
  })

  it('is not accepted because a cookie of the same text is sent', () => {
    for (const made of [
      'forged',
      fresh('8'),
      createXsrf(Buffer.alloc(32, 2)).tokenFor([], '7').token,
    ])
      assert.ok(!xsrf.matches([made], '7', made), made)
  })

  it('lasts 31 days', () => {
    const token = fresh('7')
    const start = now
    now = new Date(start.getTime() + 32 * 86_400_000)
    assert.ok(!xsrf.matches([token], '7', token))
    assert.ok(xsrf.tokenFor([token], '7').isNew)
    now = start
  })
})

describe('where a request comes from', () => {
  const from = (site: string | null, origin: string | null) =>
    crossSiteReason({ method: 'POST', mode: null, site, origin, hosts: ['hub.test', 'hub.test:8'] })

  it('is told by Sec-Fetch-Site', () => {
    for (const site of ['same-origin', 'none']) assert.equal(from(site, null), null)
    for (const site of ['cross-site', 'same-site', '', 'same-origin, same-origin', 'Same-Origin'])
      assert.ok(from(site, null) !== null, site)
  })

  it('is told by Origin where that is missing', () => {
    for (const origin of [null, 'http://hub.test', 'https://hub.test:8'])
      assert.equal(from(null, origin), null)
    for (const origin of [
      'null',
      'http://hub.test.evil',
      'http://evil/hub.test',
      'http://hub.test:9',
      '',
    ])
      assert.ok(from(null, origin) !== null, origin)
  })

  it('decides which API calls with a cookie need a token', () => {
    const needs = (method: string, mode: string | null, site: string | null) =>
      apiNeedsToken({ method, mode, site, origin: null, hosts: [] })
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
      for (const mode of [null, 'navigate', 'no-cors', 'cors', 'same-origin', 'websocket'])
        assert.ok(needs(method, mode, 'same-origin'), `${method} ${mode}`)
    for (const method of ['HEAD', 'OPTIONS']) assert.ok(!needs(method, 'cors', 'cross-site'))
    assert.ok(!needs('GET', null, null))
    assert.ok(!needs('GET', 'navigate', 'cross-site'))
    assert.ok(!needs('GET', 'websocket', 'same-origin'))
    assert.ok(!needs('GET', 'no-cors', 'same-origin'))
    assert.ok(needs('GET', 'no-cors', 'cross-site'))
    assert.ok(needs('GET', 'cors', 'same-origin'))
  })
})
