import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { safeNext } from '../../../hub/domain/next-url.ts'

const site = { baseUrl: '/', host: 'hub.test:8000' }

/** Where a browser on our login page ends up when it is redirected to `location`. */
function landing(location: string): URL {
  return new URL(location, 'http://hub.test:8000/hub/login')
}

const hostile = [
  '//evil.test',
  '///evil.test',
  '////evil.test',
  '\\\\evil.test',
  'https:evil.test',
  'https:/evil.test',
  'https://evil.test',
  'http:///evil.test',
  '//evil.test/',
  '/	/evil.test',
  '/\n/evil.test',
  '	//evil.test',
  ' //evil.test',
  '/ /evil.test',
  '/\0/evil',
  '/.//evil.test',
  '/..//evil.test',
  '/hub/..//evil.test',
  '/%2e//evil.test',
  '/a/%2e%2e//evil',
  'http://hub.test:8000@evil.test/',
  'http://evil.test#hub.test:8000',
  'http://hub.test:8000.evil.test/',
  'http://hub.test:8001/',
  'http://[::1',
  'http://[',
  'javascript:alert(1)',
  'data:text/html,x',
  'evil.test',
  '?x',
  '#x',
  '.',
  '',
  'ftp://hub.test:8000/',
  'blob:http://hub.test:8000/x',
  'http://hub.test:8000\\@evil.test/',
  'http://me@hub.test:8000/',
  '\u2028//evil.test',
]

describe('next', () => {
  for (const next of hostile)
    it(`refuses ${JSON.stringify(next)}`, () => {
      assert.equal(safeNext(next, site), null)
    })

  const harmless = [
    '/',
    '/hub/home',
    '/user/ada/lab?x=1&y=%2F#top',
    '/%5Cevil.test',
    '/hub/%2F%2Fevil.test',
    '/user/ada/tree/a%20b',
    '/user/Zoë/',
    '/hub/home"><img/src=x>',
    '/http://evil.test',
    '/\\evil.test',
    '/\\/evil.test',
    '/\\\\evil.test',
  ]
  for (const next of harmless)
    it(`keeps ${JSON.stringify(next)} on this site`, () => {
      const path = safeNext(next, site)
      assert.ok(path !== null)
      assert.equal(landing(path).host, site.host)
    })

  it('reduces urls of our own host to one leading slash', () => {
    assert.equal(safeNext('http://hub.test:8000/hub/home?a=b#c', site), '/hub/home?a=b#c')
    assert.equal(safeNext('https://HUB.test:8000//evil.test/', site), '/evil.test/')
    assert.equal(safeNext('http://hub.test:8000///evil.test/', site), '/evil.test/')
  })

  it('makes a backslash a character of the path', () => {
    assert.equal(safeNext('/hub\\evil', site), '/hub%5Cevil')
  })

  it('stays under the base url', () => {
    const below = { baseUrl: '/jhub/', host: 'hub.test' }
    assert.equal(safeNext('/jhub/hub/home', below), '/jhub/hub/home')
    assert.equal(safeNext('/jhub', below), '/jhub')
    for (const next of ['/', '/other/', '/jhub-evil/', '/jhub/../other', '/jhub/%2e%2e/other'])
      assert.equal(safeNext(next, below), null, next)
  })

  it('refuses what is no single text of sensible length', () => {
    for (const next of [undefined, null, 1, ['/hub/home'], { a: 1 }, `/${'a'.repeat(5000)}`])
      assert.equal(safeNext(next, site), null)
  })

  it('leaves the site for no mixture of hostile parts', () => {
    const parts = [
      '/',
      '\\',
      '.',
      '..',
      '%2e',
      '%5c',
      '//',
      'evil.test',
      '@',
      ':',
      'http:',
      '?',
      '#',
      '\t',
    ]
    for (let seed = 0; seed < 20_000; seed += 1) {
      let rest = (seed * 2_654_435_761) % 4_294_967_296
      let next = ''
      while (rest > 0) {
        next += parts[rest % parts.length] ?? ''
        rest = Math.floor(rest / parts.length)
      }
      const path = safeNext(next, site)
      if (path !== null) assert.equal(landing(path).host, site.host, next)
    }
  })
})
