import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, describe, it } from 'node:test'
import { WebSocket, WebSocketServer } from 'ws'
import { temporaryFolder } from '../support/folder.ts'
import { until } from '../support/until.ts'
import { ask } from './ask.ts'
import { type ProgramName, programs, runProgram, startProgram } from './programs.ts'
import { type Echoed, httpTarget, token } from './support.ts'

/** The observable part of configurable-http-proxy's own tests, against it and against ours. */
for (const name of Object.keys(programs) as ProgramName[]) {
  describe(`${name} does what configurable-http-proxy's tests ask for`, { concurrency: 2 }, () => {
    const start = (t: TestContext, ...flags: string[]) => startProgram(t, name, { flags })

    it('API: lists, shows, adds, escapes, replaces and deletes', async (t) => {
      await using target = await httpTarget()
      const proxy = await start(t, '--default-target', target.url)
      const list = async () => (await (await proxy.api('GET', '/api/routes')).json()) as object
      assert.deepEqual(Object.keys(await list()), ['/'])
      assert.equal((await fetch(proxy.url)).status, 200)
      assert.equal((await fetch(`${proxy.url}/any/random/url`)).status, 200)
      assert.equal((await proxy.api('GET', '/api/routes/missing')).status, 404)
      const path = '/api/routes/user/foo@bar'
      const added = await proxy.api('POST', path, { target: target.url, user: 'a', x: [1] })
      assert.deepEqual([added.status, await added.text()], [201, ''])
      const { last_activity: at, ...record } = (await (
        await proxy.api('GET', '/api/routes/user/foo%40bar/')
      ).json()) as Record<string, unknown>
      assert.deepEqual(record, { target: target.url, user: 'a', x: [1] })
      assert.match(String(at), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      const { url } = (await (await fetch(`${proxy.url}/user/foo@bar/path`)).json()) as Echoed
      assert.equal(url, '/user/foo@bar/path')
      await proxy.route('/user/foo@bar', target.url)
      const shown = (await (await proxy.api('GET', path)).json()) as object
      assert.deepEqual(Object.keys(shown).toSorted(), ['last_activity', 'target'])
      assert.deepEqual(Object.keys(await list()).toSorted(), ['/', '/user/foo@bar'])
      const deleted = await proxy.api('DELETE', path)
      assert.deepEqual([deleted.status, await deleted.text()], [204, ''])
      assert.equal((await proxy.api('DELETE', path)).status, 404)
      assert.equal((await proxy.api('POST', '/api/routes', { target: target.url })).status, 201)
      assert.equal((await proxy.api('DELETE', '/api/routes/')).status, 204)
      assert.deepEqual(await list(), {})
    })

    it('API: refuses as it does', async (t) => {
      const proxy = await start(t)
      const cases: [method: string, path: string, body: unknown, status: number, text: RegExp][] = [
        [
          'GET',
          '/api/routes?inactive_since=endoftheuniverse',
          undefined,
          400,
          /Invalid datestamp 'endoftheuniverse' must be ISO8601/,
        ],
        ['POST', '/api/routes/x', '{', 400, /^Body not valid JSON: /],
        ['POST', '/api/routes/x', {}, 400, /^Must specify 'target' as string$/],
        ['POST', '/api/routes/x', [], 400, /^Must specify 'target' as string$/],
        ['PATCH', '/api/routes/x', undefined, 405, /^Method not supported$/],
        ['GET', '/', undefined, 404, /^Not Found$/],
        ['GET', '/api', undefined, 404, /^Not Found$/],
      ]
      for (const [method, path, body, status, text] of cases) {
        const answer = await proxy.api(method, path, body)
        assert.equal(answer.status, status, `${method} ${path}`)
        assert.match(await answer.text(), text)
      }
      for (const authorization of ['', 'token wrong', `Token ${token}`]) {
        const answer = await ask(`${proxy.apiUrl}/api/routes`, { headers: { authorization } })
        assert.deepEqual([answer.status, answer.text], [403, ''])
      }
      const loose = { authorization: `Bearer token ${token}` }
      assert.equal((await ask(`${proxy.apiUrl}/api/routes`, { headers: loose })).status, 200)
    })

    it('API: filters by inactivity', async (t) => {
      const proxy = await start(t)
      for (const path of ['/one', '/two']) await proxy.route(path, 'http://127.0.0.1:9')
      const paths = async (since: string) =>
        Object.keys(
          (await (await proxy.api('GET', `/api/routes?inactive_since=${since}`)).json()) as object,
        )
      assert.deepEqual(await paths(new Date(Date.now() - 60_000).toISOString()), [])
      assert.deepEqual(await paths(new Date(Date.now() + 60_000).toISOString()), ['/one', '/two'])
      assert.deepEqual(await paths('2040'), ['/one', '/two'])
      assert.deepEqual(await paths(''), ['/one', '/two'])
    })

    it('routes by the longest prefix, also when an inner one goes', async (t) => {
      await using target = await httpTarget((request, response) => void response.end(request.url))
      const proxy = await start(t)
      for (const path of ['/', '/a', '/a/b', '/a/b/c']) {
        await proxy.route(path, `${target.url}/at${path === '/' ? '/root' : path}`)
      }
      const served = async (path: string) => (await fetch(`${proxy.url}${path}`)).text()
      assert.equal(await served('/a/b/c/d'), '/at/a/b/c/a/b/c/d')
      assert.equal(await served('/a/b2'), '/at/a/a/b2')
      assert.equal(await served('/x?y=1'), '/at/root/x?y=1')
      await proxy.api('DELETE', '/api/routes/a/b')
      assert.equal(await served('/a/b/c/d'), '/at/a/b/c/a/b/c/d')
      assert.equal(await served('/a/b'), '/at/a/a/b')
      await proxy.api('DELETE', '/api/routes/a/b/c')
      assert.equal(await served('/a/b/c'), '/at/a/a/b/c')
    })

    it('forwards paths, queries and escapes as they came', async (t) => {
      await using target = await httpTarget()
      const proxy = await start(t)
      await proxy.route('/bar', `${target.url}/foo`)
      await proxy.route('/b@r/b r', `${target.url}/foo`)
      await proxy.route('/q', `${target.url}/foo?tq=1`)
      const seen = async (path: string) =>
        ((await (await fetch(`${proxy.url}${path}`)).json()) as Echoed).url
      assert.equal(await seen('/bar/rest/of/it'), '/foo/bar/rest/of/it')
      assert.equal(await seen('/bar?query=foo'), '/foo/bar?query=foo')
      assert.equal(await seen('/b%40r/b%20r/rest/of/it'), '/foo/b%40r/b%20r/rest/of/it')
      assert.equal(await seen('/b@r/b%20r/rest'), '/foo/b@r/b%20r/rest')
      assert.equal(await seen('/q/x?a=1'), '/foo/q/x?tq=1&a=1')
    })

    for (const [flags, expected] of [
      [[], '/foo/bar/rest/of/it'],
      [['--no-prepend-path'], '/bar/rest/of/it'],
      [['--no-include-prefix'], '/foo/rest/of/it'],
      [['--no-prepend-path', '--no-include-prefix'], '/rest/of/it'],
    ] as const) {
      it(`paths with ${flags.join(' ') || 'no flags'}`, async (t) => {
        await using target = await httpTarget()
        const proxy = await start(t, ...flags)
        await proxy.route('/bar', `${target.url}/foo`)
        const { url } = (await (await fetch(`${proxy.url}/bar/rest/of/it`)).json()) as Echoed
        assert.equal(url, expected)
      })
    }

    it('notes the activity of requests and WebSockets, not of errors', async (t) => {
      await using target = await httpTarget()
      new WebSocketServer({ server: target.server }).on('connection', (socket) =>
        socket.on('message', (data) => socket.send(data, { binary: false })),
      )
      const proxy = await start(t)
      await proxy.route('/up', target.url)
      await proxy.route('/down', 'https://127.0.0.1:54321')
      const activity = async (path: string) => {
        const record = await (await proxy.api('GET', `/api/routes${path}`)).json()
        return Date.parse((record as { last_activity: string }).last_activity)
      }
      const [up, down] = [await activity('/up'), await activity('/down')]
      await until('the clock has moved', () => Date.now() > down)
      const answer = await ask(`${proxy.url}/up`, { headers: { connection: 'keep-alive' } })
      assert.equal(answer.headers.connection, 'keep-alive')
      const requested = await activity('/up')
      assert.ok(requested > up)
      const socket = new WebSocket(`${proxy.url.replace('http', 'ws')}/up/x`)
      await once(socket, 'open')
      socket.send('hi')
      const [data] = (await once(socket, 'message')) as [Buffer]
      assert.equal(data.toString(), 'hi')
      socket.close()
      assert.ok((await activity('/up')) >= requested)
      assert.equal((await fetch(`${proxy.url}/down/x`)).status, 503)
      const refused = new WebSocket(`${proxy.url.replace('http', 'ws')}/down`)
      const [error] = (await once(refused, 'error')) as [Error]
      assert.match(error.message, /503/)
      assert.equal(await activity('/down'), down)
    })

    it('sets custom headers, and refuses one without a colon', async (t) => {
      await using target = await httpTarget()
      const custom = ['--custom-header', 'k1: v1', '--custom-header', ' k2 : host:123 ']
      const proxy = await start(t, '--default-target', target.url, ...custom)
      const { headers } = (await (
        await fetch(proxy.url, { headers: { K1: 'mine' } })
      ).json()) as Echoed
      assert.equal(headers['k1'], 'v1')
      assert.equal(headers['k2'], 'host:123')
      const { status, stderr } = runProgram(name, ['--custom-header', 'noColon'])
      assert.equal(status, 1)
      assert.match(stderr, /colon was expected/i)
    })

    it('routes by host', async (t) => {
      await using target = await httpTarget((_request, response) => void response.end('by host'))
      const proxy = await start(t, '--host-routing')
      await proxy.route('/test.localhost.org', target.url)
      const at = (host: string) => ask(proxy.url, { headers: { host } })
      assert.equal((await at(`test.localhost.org:${proxy.port}`)).text, 'by host')
      assert.equal((await at('other.org')).status, 404)
      const record = await (await proxy.api('GET', '/api/routes/test.localhost.org')).json()
      assert.equal((record as { host: string }).host, 'test.localhost.org')
    })

    it('asks the error target, also over a unix socket', async (t) => {
      const folder = temporaryFolder(t)
      const path = join(folder, 'errors.sock')
      const errors = createHttpServer((request, response) => {
        response.setHeader('content-type', 'text/plain')
        response.end(request.url)
      })
      t.after(() => errors.close())
      await once(errors.listen(path), 'listening')
      await using pages = await httpTarget((request, response) => void response.end(request.url))
      const unix = `http+unix://${encodeURIComponent(path)}`
      for (const target of [pages.url, unix, `${pages.url}/`]) {
        const proxy = await start(t, '--error-target', target)
        const missing = await ask(`${proxy.url}/foo/bar?a=1`)
        assert.equal(missing.status, 404)
        assert.equal(missing.text, '/404?url=%2Ffoo%2Fbar%3Fa%3D1')
        await proxy.route('/', 'http://127.0.0.1:1')
        const down = await ask(`${proxy.url}/%25x`)
        assert.equal(down.status, 503)
        assert.equal(down.text, '/503?url=%2F%2525x')
      }
    })

    it('takes error pages from a folder, and has its own', async (t) => {
      const folder = temporaryFolder(t)
      writeFileSync(join(folder, '404.html'), '<b>404</b>')
      writeFileSync(join(folder, 'error.html'), '<b>any</b>')
      const withPages = await start(t, '--error-path', folder)
      await withPages.route('/down', 'http://127.0.0.1:1')
      assert.equal((await ask(`${withPages.url}/x`)).text, '<b>404</b>')
      const down = await ask(`${withPages.url}/down`)
      assert.deepEqual([down.status, down.text], [503, '<b>any</b>'])
      const plain = await start(t)
      const missing = await ask(`${plain.url}/x`)
      assert.equal(missing.status, 404)
      assert.match(missing.headers['content-type'] ?? '', /^text\/html/)
    })

    it('rewrites Location as told, or not at all', async (t) => {
      await using target = await httpTarget((request, response) => {
        const [, status, to] = (request.url ?? '').split('/')
        response.writeHead(Number(status), { location: decodeURIComponent(to ?? '') }).end()
      })
      const location = async (url: string, status: number, to: string) =>
        (await ask(`${url}/${status}/${encodeURIComponent(to)}`)).headers.location
      const own = `${target.url}/a?b=1`
      const plain = await start(t, '--default-target', target.url)
      assert.equal(await location(plain.url, 301, own), own)
      const flags = ['--auto-rewrite', '--protocol-rewrite', 'https']
      const rewriting = await start(t, '--default-target', target.url, ...flags)
      const mine = `https://127.0.0.1:${rewriting.port}/a?b=1`
      for (const status of [201, 301, 302, 307, 308]) {
        assert.equal(await location(rewriting.url, status, own), mine)
      }
      assert.equal(await location(rewriting.url, 303, own), own)
      assert.equal(await location(rewriting.url, 302, 'http://else.test/x'), 'http://else.test/x')
      assert.equal(await location(rewriting.url, 302, '/x'), '/x')
    })

    it('is healthy', async (t) => {
      const proxy = await start(t)
      const health = await ask(`${proxy.url}/_chp_healthz`)
      assert.deepEqual(JSON.parse(health.text), { status: 'OK' })
    })

    it('sends a target its own Host when told so', async (t) => {
      await using target = await httpTarget()
      const proxy = await start(t, '--change-origin', '--default-target', target.url)
      const { headers } = JSON.parse((await ask(proxy.url)).text) as Echoed
      assert.equal(headers['host'], `127.0.0.1:${target.port}`)
      assert.equal(headers['x-forwarded-host'], `127.0.0.1:${proxy.port}`)
    })

    it('leaves its routes to a storage backend', async (t) => {
      const file = join(temporaryFolder(t), 'backend.cjs')
      writeFileSync(file, storageBackend)
      await using target = await httpTarget()
      const proxy = await startProgram(t, name, { flags: ['--storage-backend', file] })
      await proxy.route('/user/ada', target.url, { user: 'ada' })
      const records = async () =>
        (await (await proxy.api('GET', '/api/routes')).json()) as Record<string, { user?: string }>
      assert.deepEqual(Object.keys(await records()), ['/user/ada'])
      assert.equal((await records())['/user/ada']?.user, 'ada')
      assert.equal((await ask(`${proxy.url}/user/ada/x`)).status, 200)
      assert.equal((await ask(`${proxy.url}/elsewhere`)).status, 404)
      // What somebody else has put there is served as well.
      await proxy.route('/link', target.url)
      assert.equal((await ask(`${proxy.url}/linked/x`)).status, 200)
      assert.equal((await proxy.api('DELETE', '/api/routes/user/ada')).status, 204)
      assert.equal((await ask(`${proxy.url}/user/ada/x`)).status, 404)
      assert.deepEqual(Object.keys(await records()).toSorted(), ['/link', '/linked'])
    })

    it('ends with one status for what cannot be', () => {
      for (const flags of [
        ['--socket', '/tmp/x', '--port', '1'],
        ['--redirect-port', '1'],
        ['--error-path', '/', '--error-target', 'http://x'],
        ['--storage-backend', 'no-such-module'],
        ['--ssl-key', '/nowhere', '--ssl-cert', '/nowhere'],
        ['--nonsense'],
      ]) {
        const { status, stderr } = runProgram(name, flags)
        assert.equal(status, 1, flags.join(' '))
        assert.ok(stderr.length + flags.length > 0)
      }
    })
  })
}

/** Holds routes in memory; adding `/link` adds another one, as another proxy would. */
const storageBackend = `
module.exports = class {
  #routes = new Map()
  async get(path) { return this.#routes.get(path) }
  async getTarget(path) {
    const segments = path.split('/')
    for (let n = segments.length; n > 0; n -= 1) {
      const prefix = segments.slice(0, n).join('/') || '/'
      if (this.#routes.has(prefix)) return { prefix, data: this.#routes.get(prefix) }
    }
  }
  async getAll() { return Object.fromEntries(this.#routes) }
  async add(path, data) {
    this.#routes.set(path, data)
    if (path === '/link') this.#routes.set('/linked', { ...data })
  }
  async update(path, data) { Object.assign(this.#routes.get(path), data) }
  async remove(path) { this.#routes.delete(path) }
  cleanPath(path) { return path }
}
`
