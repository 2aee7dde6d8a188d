import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createRenderer } from '../../../hub/pages/render.ts'
import { createStrangerPages } from '../../../hub/pages/stranger-pages.ts'
import { globals, samples } from '../../support/page-samples.ts'

const render = createRenderer({ globals })

describe('a page for a stranger', () => {
  const strangers = samples.filter(({ data }) => 'user' in data && data.user === null)

  it('is, from the first answer on, what rendering it would give', () => {
    const show = createStrangerPages(render)
    assert.ok(strangers.length > 2)
    for (const { view, label, data } of strangers) {
      const { xsrfToken: _token, ...rest } = data as Record<string, unknown>
      for (const number of [1, 2]) {
        const fresh = { xsrfToken: `token-${number}`, requestId: `request-${number}` }
        const html = show(view, rest, { ...fresh, requestId: () => fresh.requestId })
        const now = /data-now="([^"]+)"/.exec(html)?.[1]
        assert.equal(html, render(view, { services: [], ...fresh, ...rest, now }), label)
      }
    }
  })

  it('keeps apart what was asked for with other data', () => {
    const show = createStrangerPages(render)
    const fresh = { xsrfToken: 'token', requestId: () => 'request' }
    const [login] = strangers.filter(({ view }) => view === 'login')
    const one = show('login', { ...login?.data, username: 'ada' }, fresh)
    const other = show('login', { ...login?.data, username: 'bob' }, fresh)
    assert.match(one, /value="ada"/)
    assert.match(other, /value="bob"/)
    assert.doesNotMatch(other, /ada/)
  })
})
