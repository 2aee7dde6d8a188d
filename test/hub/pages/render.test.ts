import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createRenderer } from '../../../hub/pages/render.ts'
import { packageRoot } from '../../../packages/process/index.ts'
import { globals, hostile, samples } from '../../support/page-samples.ts'

const render = createRenderer({ globals })

describe('every view', () => {
  it('has a sample here', () => {
    const views = readdirSync(join(packageRoot(), 'hub', 'pages', 'views'))
      .map((file) => file.replace(/\.njk$/, ''))
      .filter((view) => view !== 'page' && view !== 'parts')
    assert.deepEqual([...new Set(samples.map(({ view }) => view))].toSorted(), views.toSorted())
  })

  for (const { view, label, data } of samples) {
    const html = render(view, data)
    const name = `${view} (${label})`

    it(`${name} is a whole page with a language, one main and one heading`, () => {
      assert.match(html, /^<!doctype html>\s*<html lang="en">/)
      assert.equal(html.match(/<main /g)?.length, 1)
      assert.equal(html.match(/<h1[ >]/g)?.length, 1)
      assert.match(html, /<title>[^<]+<\/title>/)
      assert.match(html, /<a class="skip-link" href="#main">/)
    })

    it(`${name} holds nothing that the content security policy forbids`, () => {
      assert.doesNotMatch(html, /<style|\sstyle=|\son[a-z]+=|javascript:/i)
      for (const [script] of html.matchAll(/<script[^>]*>[^<]*/g)) {
        assert.match(script, /^<script src="\/hub\/static\/[\w-]+\.js\?v=[0-9a-f]{12}"[^>]*>$/)
      }
    })

    it(`${name} has unique ids, and every reference to one finds it`, () => {
      const ids = [...html.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id)
      assert.deepEqual(ids, [...new Set(ids)])
      const references = html.matchAll(
        /\s(?:for|aria-labelledby|aria-describedby|aria-controls|data-copy)="([^"]*)"/g,
      )
      for (const [, list = ''] of references)
        for (const id of list.split(' ')) assert.ok(ids.includes(id), `#${id} is missing`)
    })

    it(`${name} labels every field and names every button`, () => {
      for (const [input] of html.matchAll(/<input(?![^>]*type="(?:hidden|radio)")[^>]*>/g)) {
        const id = /\sid="([^"]*)"/.exec(input)?.[1]
        assert.ok(html.includes(`<label for="${id}">`), `${input} has no label`)
      }
      for (const [, button] of html.matchAll(/<button[^>]*>([\s\S]*?)<\/button>/g)) {
        assert.match(button?.replace(/<[^>]*>/g, '') ?? '', /\w/)
      }
    })

    it(`${name} sends the token with every POST`, () => {
      for (const [, form] of html.matchAll(/<form[^>]*method="post"[^>]*>([\s\S]*?)<\/form>/g)) {
        assert.ok(form?.includes('<input type="hidden" name="_xsrf" value="the-token">'))
      }
    })
  }

  for (const { view, label, data } of samples) {
    it(`${view} (${label}) lets no value break out of its place`, () => {
      const html = render(view, hostile(data))
      assert.doesNotMatch(
        html,
        /<img|(?:href|action|src|data-(?:next|stopped|starting|ready|stopping))="javascript:/,
      )
    })
  }
})

describe('login', () => {
  it('carries a hostile next along without letting it out of the attribute', () => {
    const html = page('login', 'form', { next: '"><img src=x onerror=alert(1)>' })
    assert.match(
      html,
      /action="\/hub\/login\?next=%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert\(1\)%3E"/,
    )
  })

  it('leaves an action alone that already names the next page', () => {
    const html = page('login', 'form', { formAction: '/hub/login?next=%2Fa', next: '/a' })
    assert.match(html, /action="\/hub\/login\?next=%2Fa"/)
  })

  it('ties the error to the fields and keeps the username', () => {
    const html = page('login', 'refused', {})
    assert.match(html, /<p class="login_error[^"]*" id="login_error" role="alert">/)
    assert.match(html, /name="username"[^>]* value="ada"[^>]* aria-describedby="login_error"/)
    assert.match(html, /<button id="login_submit"/)
  })

  it('marks the field that a link fills', () => {
    assert.match(page('login', 'link', {}), /name="secret"[^>]* data-from-fragment/)
  })
})

describe('oauth', () => {
  it('submits every raw scope, described or not, and can be denied', () => {
    const html = page('oauth', 'scopes', {})
    assert.match(html, /name="scopes" value="access:servers!server=bob\/"/)
    assert.match(html, /name="scopes" value="identify"/)
    assert.match(html, /name="action" value="deny"/)
  })
})

describe('token', () => {
  it('shows the secret of a new token, and only of that', () => {
    assert.match(page('token', 'made', {}), /id="token-secret" value="the-secret" readonly/)
    assert.match(page('token', 'none', {}), /id="new-token"[^>]* hidden/)
  })

  it('leaves the tokens of servers to the servers, and all to those who may not change them', () => {
    assert.equal(page('token', 'made', {}).match(/data-revoke/g)?.length, 3)
    assert.doesNotMatch(page('token', 'read only', {}), /data-revoke|<form id="token-form"/)
  })
})

describe('not-running', () => {
  it('tells the cause, what to do, the exit status and the log of a failed start', () => {
    const html = page('not-running', 'failed', {})
    for (const part of ['Start failed', 'command-not-found', 'Set spawner.cmd.', '127']) {
      assert.ok(html.includes(part), part)
    }
    assert.match(
      html,
      /<pre id="log-tail"[^>]* tabindex="0"[^>]*>first line\n&lt;second&gt;\n<\/pre>/,
    )
  })

  it('tells a crash from a start that failed', () => {
    const html = page('not-running', 'crashed', {})
    for (const part of ['Server crashed', 'ended unexpectedly', 'Start again', 'first line'])
      assert.ok(html.includes(part), part)
    assert.doesNotMatch(html, /Start failed|did not work/)
  })

  it('is no failure when the server ended by itself as planned', () => {
    const exit = { cause: 'exited', message: 'It was idle.', code: 0, wasReady: true }
    const html = page('not-running', 'stopped', { exit: { ...exit, crashed: false } })
    assert.match(html, /Server not running/)
    assert.match(html, /It was idle/)
    assert.doesNotMatch(html, /Start failed|crashed|log-tail/)
  })

  it('is no failure after an ordinary stop', () => {
    const html = page('not-running', 'stopped', {})
    assert.match(html, /Server not running/)
    assert.doesNotMatch(html, /Start failed|log-tail/)
    assert.match(html, /id="start"[^>]* href="\/hub\/spawn\/ada\?next=%2Fuser%2Fada%2Flab"/)
  })
})

describe('the frame', () => {
  it('publishes its variables as data, not as script', () => {
    const html = page('home', 'stopped', {})
    assert.match(
      html,
      /<body data-base-url="\/hub\/" data-prefix="\/" data-user="ada" data-admin="true" data-xsrf="the-token"/,
    )
  })

  it('refuses links that are not http', () => {
    assert.match(
      page('error', '503', { retryUrl: 'javascript:alert(1)' }),
      /id="retry"[^>]* href="#"/,
    )
  })

  it('shows a bare status by its own view or by error', () => {
    assert.match(render('404', dataOf('404', 'plain')), /no door at this address/)
    assert.match(render('418', { status: 418, statusText: 'Teapot' }), /418 : <\/span>Teapot/)
  })
})

describe('a site', () => {
  it('replaces a view and extends ours under its own name', () => {
    const folder = mkdtempSync(join(tmpdir(), 'portico-views-'))
    try {
      writeFileSync(
        join(folder, 'page.njk'),
        '{% extends "templates/page.njk" %}{% block footer %}Our campus{% endblock %}',
      )
      const site = createRenderer({ templatePaths: [folder], globals })
      const html = site('logout', dataOf('logout', 'plain'))
      assert.match(html, /Our campus/)
      assert.match(html, /You are logged out/)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('under another base url gets its assets from there', () => {
    const under = createRenderer({ globals: { ...globals, baseUrl: '/jhub/hub/' } })
    assert.match(under('logout', {}), /href="\/jhub\/hub\/static\/style\.css\?v=/)
  })
})

function page(view: string, label: string, changes: object): string {
  return render(view, { ...dataOf(view, label), ...changes })
}

function dataOf(view: string, label: string): object {
  const sample = samples.find((each) => each.view === view && each.label === label)
  assert.ok(sample, `there is no sample ${view} (${label})`)
  return sample.data
}
