import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Browser } from '../../support/browser.ts'
import { type HubUnderAttack, startHubUnderAttack } from '../../support/hub-under-attack.ts'
import { rawRequest, rawSend } from '../../support/raw-http.ts'

describe('a bad request', () => {
  let test: HubUnderAttack
  let root: Browser

  before(async () => {
    test = await startHubUnderAttack()
    root = new Browser(test.origin)
    await root.logIn('/', 'root', 'pw')
  })
  after(() => test[Symbol.asyncDispose]())

  it('in paths is refused by the proxy or by the hub, never a 500', async () => {
    const paths = [
      '/hub/%',
      '/hub/%zz',
      '/hub/api/users/%',
      '/hub/api/users/%ff',
      '/hub/api/users/%c0%ae',
    ]
    paths.push(
      '/hub/../etc/passwd',
      '/hub/%2e%2e/x',
      '/hub/api/users/..%2froot',
      '/hub/api/users/a%2fb',
    )
    paths.push(
      '//evil.test/',
      '/hub/static/../app.ts',
      '/hub/static/%2e%2e/render.ts',
      '/hub/static/..%5cx',
    )
    paths.push(
      '/hub/api/users/%00',
      '/hub/user/%2e%2e/x',
      '/hub/spawn/%',
      '/hub/api/users/root/servers/%',
    )
    paths.push(
      '/user/%',
      '/user/%ff/x',
      '/hub/api/users/root/tokens/%',
      `/hub/api/users/${'a'.repeat(5000)}`,
    )
    paths.push(
      '/hub/api/users/root/tokens/a999999999999999',
      '/hub/api/users/root/tokens/__proto__',
    )
    paths.push('/hub/error/%', '/hub/user-redirect/%', '/hub/api/users/root/tokens/a1e3')
    const { internalUrl } = test.hub
    for (const path of paths)
      for (const origin of [test.origin, internalUrl])
        for (const method of ['GET', 'POST', 'DELETE']) {
          const { status } = await rawSend(origin, path, {
            method,
            headers: [`Authorization: token ${test.token}`, 'Content-Length: 0'],
          })
          assert.ok(status > 0 && status < 500, `${method} ${origin}${path}: ${status}`)
        }
  })

  it('in the request line or host is answered by whoever sees it first', async () => {
    const get = (line: string, host = 'Host: x') =>
      `GET ${line} HTTP/1.1\r\n${host}\r\nConnection: close\r\n\r\n`
    const requests = [
      get('http://evil.test/hub/login'),
      get('http://[::1/hub/login'),
      get('http://['),
    ]
    requests.push(
      get('*'),
      get('/hub/login', 'Host: ['),
      get('/hub/login', 'Host: a b'),
      get('hub/login'),
    )
    requests.push(
      get('/hub/login', 'Host: \u00e9"><b>'),
      get('/hub/login', 'Host:'),
      get('/hub/login', 'X: y'),
    )
    requests.push(
      get('/hub/quick-start', 'Host: %'),
      get('/hub/login', `Host: ${'a'.repeat(3000)}`),
    )
    requests.push(
      get('/hub/login', 'Host: a\r\nHost: b'),
      get('/hub/login', 'Host: x\r\nX-Forwarded-Host: ['),
    )
    requests.push('GET /hub/login HTTP/1.1\r\nHost: x\r\nBad Header: y\r\n\r\n', 'NONSENSE\r\n\r\n')
    const paged = 'Accept: application/jupyterhub-pagination+json'
    const auth = `Authorization: token ${test.token}`
    for (const host of ['[', 'a b', '%', '@', 'x:99999'])
      requests.push(get('/hub/api/users?limit=1', `Host: ${host}\r\n${paged}\r\n${auth}`))
    for (const request of requests)
      for (const origin of [test.origin, test.hub.internalUrl]) {
        const { status, head } = await rawRequest(origin, request)
        assert.ok(status < 500, `${JSON.stringify(request.slice(0, 120))} at ${origin}: ${status}`)
        assert.doesNotMatch(head, /location: (?:https?:)?\/\//i)
      }
  })

  it('in queries is a 400 or makes no difference', async () => {
    const refused = [
      '?limit=x',
      '?limit=1.5',
      '?offset=',
      '?offset=1e3',
      '?limit=1&limit=2',
      '?state=odd',
    ]
    refused.push(
      '?sort=drop',
      '?sort=name&sort=id',
      '?name_filter=a&name_filter=b',
      '?include_stopped_servers=1&include_stopped_servers=0',
      '?offset=9'.padEnd(40, '9'),
    )
    for (const query of refused) {
      const answer = await test.send('GET', `/hub/api/users${query}`)
      assert.equal(answer.status, 400, `${query}: ${answer.body}`)
    }
    const accepted = [
      '?offset=-5',
      '?limit=-1',
      '?limit=0',
      '?offset=999999999999999',
      '?limit=999999',
    ]
    accepted.push(
      '?name_filter=%25',
      "?name_filter='%20or%201=1",
      '?name_filter=%00',
      '?__proto__=1',
      '?%zz',
    )
    accepted.push('?include_stopped_servers=maybe')
    for (const query of accepted) {
      const answer = await test.send('GET', `/hub/api/users${query}`)
      assert.equal(answer.status, 200, `${query}: ${answer.body}`)
    }
    const next = [
      'http://[::1',
      'http://[',
      '//%',
      '/hub/%',
      '%ED%A0%80',
      '/\u0000',
      'x'.repeat(6000),
    ]
    for (const value of next)
      for (const path of ['/hub/login', '/hub/spawn-pending/root', '/hub/error/503?url=x&']) {
        const page = await root.get(
          `${path}${path.includes('?') ? '' : '?'}next=${encodeURIComponent(value)}`,
        )
        assert.ok(page.status < 500, `${path} ${value.slice(0, 30)}: ${page.status}`)
      }
    const spawn = await root.get('/hub/spawn?opt-=1')
    assert.ok(spawn.status >= 400 && spawn.status < 500)
  })

  it('in cookies is ignored', async () => {
    const odd = [
      ';;;',
      '=',
      '=x',
      'a',
      'a=%',
      'a="',
      '_xsrf="',
      '__proto__=1',
      'jupyterhub-hub-login="2|',
    ]
    odd.push(
      'jupyterhub-hub-login=2|1:0|10:1|1:a|-1:b|x',
      'a=b'.repeat(1000),
      '\u00e9=\u00e9',
      '_xsrf=é;_xsrf=',
    )
    odd.push(Array.from({ length: 1200 }, (_, index) => `c${index}=x`).join('; '))
    odd.push('_xsrf=x; '.repeat(700), 'jupyterhub-hub-login=x; '.repeat(400))
    for (const cookie of odd) {
      const headers = [`Cookie: ${cookie}`]
      const page = await rawSend(test.origin, '/hub/login', { headers })
      assert.equal(page.status, 200, cookie.slice(0, 40))
      const api = await rawSend(test.origin, '/hub/api/user', { headers })
      assert.equal(api.status, 403)
    }
    const huge = await rawSend(test.origin, '/hub/login', {
      headers: [`Cookie: a=${'x'.repeat(100_000)}`],
    })
    assert.ok(huge.status === 431 || huge.status === 0, String(huge.status))
  })

  it('in headers is refused or ignored', async () => {
    const odd = [
      'Content-Type: ',
      'Content-Type: ;;;',
      'Content-Type: application/json; charset=klingon',
    ]
    odd.push(
      'Content-Encoding: nonsense',
      'Content-Encoding: gzip',
      'Accept: \u00ff',
      'If-None-Match: ((((',
    )
    odd.push(
      'X-Forwarded-For: ,,,',
      `X-Forwarded-For: ${'1.2.3.4,'.repeat(500)}`,
      'Range: bytes=5-1',
    )
    odd.push(
      'X-Forwarded-Proto: javascript',
      'Sec-Fetch-Site: \u00ff',
      'Origin: \u00ff',
      'Expect: nonsense',
    )
    odd.push('If-Modified-Since: never', 'Transfer-Encoding: nonsense', 'Content-Length: 5')
    for (const line of odd)
      for (const [method, path] of [
        ['GET', '/hub/login'],
        ['POST', '/hub/login'],
        ['POST', '/hub/api/users'],
      ] as const) {
        const headers = [`Authorization: token ${test.token}`, line]
        if (method === 'POST' && !/^(?:content-length|transfer)/i.test(line))
          headers.push('Content-Length: 3')
        const { status } = await rawSend(test.origin, path, {
          method,
          headers,
          body: method === 'POST' ? 'a=b{}' : '',
        })
        assert.ok(status < 500, `${method} ${path} ${line.slice(0, 60)}: ${status}`)
      }
    for (const value of [
      'token',
      'token ',
      'Bearer a b',
      'Basic eDp5',
      `token ${'x'.repeat(9000)}`,
      'token \u00ff',
      ',',
      'token %00',
    ]) {
      const { status } = await rawSend(test.origin, '/hub/api/user', {
        headers: [`Authorization: ${value}`],
      })
      assert.equal(status, 403, value.slice(0, 20))
    }
    assert.equal((await rawSend(test.origin, `/hub/api/user?token=${test.token}`)).status, 403)
  })
})
