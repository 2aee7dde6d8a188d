import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { WebSocket } from 'ws'
import {
  Browser,
  HubStandIn,
  runSingleUser,
  serverEnvironment,
  startSingleUserProgram,
} from '../support/hub-stand-in.ts'
import { until } from '../support/until.ts'

type Running = Awaited<ReturnType<typeof startSingleUserProgram>>

describe('the single-user server', () => {
  let folder: string
  let hub: HubStandIn
  let server: Running

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'portico-singleuser-'))
    hub = await HubStandIn.start()
    server = await startSingleUserProgram(hub, 'ada', folder, {
      JUPYTERHUB_ACTIVITY_INTERVAL: '0.2',
    })
  })

  after(async () => {
    await server[Symbol.asyncDispose]()
    await hub[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function loggedIn(user = 'ada'): Promise<Browser> {
    const browser = new Browser(hub.url)
    await browser.fetch(`/hub/login?user=${user}`)
    await browser.open('/user/ada/')
    return browser
  }

  /** What a page of ours would send with a change. */
  async function xsrfOf(browser: Browser): Promise<string> {
    const page = await (await browser.open('/user/ada/tree/')).text()
    return /data-xsrf="([^"]+)"/.exec(page)?.[1] ?? ''
  }

  it('answers the hub’s readiness question without a login', async () => {
    const reply = await fetch(`http://127.0.0.1:${server.port}/user/ada/api`)
    assert.equal(reply.status, 200)
    assert.equal(reply.headers.get('x-jupyterhub-version'), '6.0.0')
    assert.deepEqual(Object.keys(Object(await reply.json())), ['version'])
  })

  it('lets its owner in through the hub and shows the app', async () => {
    const browser = await loggedIn()
    const page = await browser.open('/user/ada/')
    assert.equal(page.status, 200)
    assert.match(await page.text(), /Log out/)
    const policy = page.headers.get('content-security-policy') ?? ''
    for (const part of ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'"]) {
      assert.ok(policy.includes(part), policy)
    }
    assert.equal(page.headers.get('cache-control'), 'no-store')
    assert.equal(page.headers.get('x-content-type-options'), 'nosniff')
  })

  it('serves scripts, styles and the terminal emulator with their types', async () => {
    const browser = await loggedIn()
    for (const [name, type] of [
      ['app.js', 'text/javascript'],
      ['app.css', 'text/css'],
      ['xterm/xterm.mjs', 'text/javascript'],
      ['xterm/xterm.css', 'text/css'],
      ['xterm/addon-fit.mjs', 'text/javascript'],
    ] as const) {
      const reply = await browser.fetch(`/user/ada/assets/${name}`)
      assert.equal(reply.status, 200, name)
      assert.ok(reply.headers.get('content-type')?.startsWith(type), name)
    }
    for (const name of ['..%2fserver.ts', '%2e%2e/server.ts', 'none.js', '__proto__', 'a/b.js']) {
      assert.equal((await browser.fetch(`/user/ada/assets/${name}`)).status, 404, name)
    }
  })

  it('shows another user a page that says no, and a script JSON', async () => {
    const browser = await loggedIn('mallory')
    const page = await browser.open('/user/ada/tree/')
    assert.equal(page.status, 403)
    assert.match(await page.text(), /mallory has no access/i)
    const reply = await browser.fetch('/user/ada/api/contents/')
    assert.equal(reply.status, 403)
    assert.equal(reply.headers.get('content-type'), 'application/json')
  })

  it('lets in whoever holds the access scope', async () => {
    hub.scopes.set('grace', ['access:servers!user=ada'])
    assert.equal((await (await loggedIn('grace')).open('/user/ada/tree/')).status, 200)
  })

  it('sends pages to the login, and never scripts', async () => {
    const stranger = new Browser(hub.url)
    const page = await stranger.fetch('/user/ada/tree/notes')
    assert.match(page.headers.get('location') ?? '', /^\/hub\/api\/oauth2\/authorize\?/)
    for (const path of ['api/contents/', 'api/terminals', 'assets/app.js', 'files/x']) {
      const headers = { 'sec-fetch-dest': 'empty' }
      const reply = await stranger.fetch(`/user/ada/${path}`, { headers })
      assert.equal(reply.status, 403, path)
      assert.equal(Object(await reply.json()).status, 403)
    }
    assert.equal((await stranger.fetch('/user/ada/api/contents/x', { method: 'PUT' })).status, 403)
  })

  it('takes a token in the header, without XSRF', async () => {
    const token = hub.issueToken('ada', ['access:servers!server=ada/'])
    const headers = { authorization: `token ${token}` }
    const init = { method: 'PUT', headers, body: '{"type":"directory"}' }
    assert.equal((await fetch(`${hub.url}/user/ada/api/contents/made`, init)).status, 201)
    const bad = { headers: { authorization: 'token nobody' } }
    assert.equal((await fetch(`${hub.url}/user/ada/api/contents/`, bad)).status, 403)
    assert.equal((await fetch(`${hub.url}/user/ada/api/contents/?token=${token}`)).status, 403)
  })

  it('changes nothing for a browser without our origin and our token', async () => {
    const browser = await loggedIn()
    const token = await xsrfOf(browser)
    const other = await xsrfOf(await loggedIn())
    const site = (value: string): Record<string, string> => ({ 'sec-fetch-site': value })
    const cases: [string, Record<string, string>, number][] = [
      ['nothing', {}, 403],
      ['no token', site('same-origin'), 403],
      ['another site', { ...site('cross-site'), 'x-xsrftoken': token }, 403],
      ['a sibling host', { ...site('same-site'), 'x-xsrftoken': token }, 403],
      ['no sign of where it comes from', { 'x-xsrftoken': token }, 403],
      ['a wrong origin', { origin: 'http://evil.example', 'x-xsrftoken': token }, 403],
      ['an origin that begins like ours', { origin: `${hub.url}.evil`, 'x-xsrftoken': token }, 403],
      ['a null origin', { origin: 'null', 'x-xsrftoken': token }, 403],
      ['the token of another login', { ...site('same-origin'), 'x-xsrftoken': other }, 403],
      ['our page', { ...site('same-origin'), 'x-xsrftoken': token }, 201],
      ['our origin', { origin: hub.url, 'x-xsrftoken': token }, 201],
    ]
    for (const [at, [what, headers, status]] of cases.entries()) {
      const init = { method: 'PUT', headers, body: '{"type":"directory"}' }
      const reply = await browser.fetch(`/user/ada/api/contents/xsrf-${at}`, init)
      assert.equal(reply.status, status, what)
    }
  })

  it('skips _xsrf cookies that other servers planted', async () => {
    const browser = await loggedIn()
    const token = await xsrfOf(browser)
    browser.jar.set('planted', { name: '_xsrf', value: 'planted', path: '/' })
    const headers = { 'sec-fetch-site': 'same-origin', 'x-xsrftoken': token }
    const init = { method: 'PUT', headers, body: '{"type":"directory"}' }
    assert.equal((await browser.fetch('/user/ada/api/contents/planted', init)).status, 201)
    const wrong = { ...init, headers: { ...headers, 'x-xsrftoken': 'planted' } }
    assert.equal((await browser.fetch('/user/ada/api/contents/planted2', wrong)).status, 403)
  })

  it('shows a failed login as a page with a way to try again', async () => {
    const browser = new Browser(hub.url)
    const page = await browser.fetch('/user/ada/oauth_callback?code=x&state=y')
    assert.equal(page.status, 400)
    assert.match(await page.text(), /<a href="\/user\/ada\/">Try again<\/a>/)
  })

  it('ends the login at logout', async () => {
    const browser = await loggedIn()
    await browser.open('/user/ada/logout')
    const page = await browser.fetch('/user/ada/tree/')
    assert.match(page.headers.get('location') ?? '', /oauth2\/authorize/)
  })

  it('reports activity at start and when there was some', async () => {
    await until('the first report', () => hub.activity.length > 0)
    const count = hub.activity.length
    await loggedIn()
    const report = await until('a further report', () => hub.activity[count])
    const body = Object(report.body)
    assert.equal(report.user, 'ada')
    assert.match(report.authorization, /^token \w+$/)
    assert.match(body.last_activity, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    assert.deepEqual(body.servers, { '': { last_activity: body.last_activity } })
  })

  it('stays alive on nonsense', async () => {
    const lines = [
      'GET /user/ada/%zz HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET //user/ada/ HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n',
      'GET /user/ada/oauth_callback?%zz=%ff&state=%00 HTTP/1.1\r\nhost: x\r\n\r\n',
      `GET /user/ada/ HTTP/1.1\r\nhost: x\r\ncookie: ${'=;a=b=c;;'.repeat(500)}\r\n\r\n`,
      'GET /user/ada/terminals/websocket/1 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n',
      'PUT /user/ada/api/contents/x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n',
      '\0\0\0\r\n\r\n',
    ]
    for (const text of lines) {
      const socket = connect(server.port, '127.0.0.1').on('error', () => {})
      socket.end(text)
      socket.resume()
      await once(socket, 'close')
    }
    assert.equal((await fetch(`${hub.url}/user/ada/api`)).status, 200)
    assert.doesNotMatch(server.output(), /error [0-9a-f]{8}|unexpected/)
  })

  it('keeps secrets out of its log', async () => {
    const browser = await loggedIn()
    await browser.fetch('/user/ada/nowhere?token=SECRET', {
      headers: { referer: '/?token=SECRET' },
    })
    assert.doesNotMatch(server.output(), /SECRET/)
    assert.ok(!server.output().includes(hub.clients.get('jupyterhub-user-ada') ?? '?'))
  })

  it('stays small', async () => {
    const status = await readFile(`/proc/${server.child.pid}/status`, 'utf8')
    const kib = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])
    assert.ok(kib < 110 * 1024, `${kib} KiB resident`)
  })
})

describe('the single-user program', () => {
  let folder: string
  let hub: HubStandIn

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'portico-singleuser-'))
    hub = await HubStandIn.start()
  })

  after(async () => {
    await hub[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  async function exitOf(env: Record<string, string>, args?: string[]): Promise<[number, string]> {
    await using program = runSingleUser(env, folder, args)
    if (program.child.exitCode === null) await once(program.child, 'exit')
    return [program.child.exitCode ?? -1, program.output()]
  }

  it(
    'refuses to run as root unless told',
    { skip: process.getuid?.() !== 0 && 'not root' },
    async () => {
      const [code, output] = await exitOf(serverEnvironment(hub, 'ada'), [])
      assert.equal(code, 1)
      assert.match(output, /refusing to run as root.*--allow-root/)
    },
  )

  it('says which variables are missing', async () => {
    const [code, output] = await exitOf({})
    assert.equal(code, 1)
    assert.match(output, /JUPYTERHUB_API_URL is not set; JUPYTERHUB_API_TOKEN is not set/)
  })

  for (const url of ['', 'http://127.0.0.1/user/ada/', 'https://127.0.0.1:1/', 'http://x:99999/']) {
    it(`refuses to listen at ${url || 'no address'}`, async () => {
      const env = { ...serverEnvironment(hub, 'ada'), JUPYTERHUB_SERVICE_URL: url }
      const [code, output] = await exitOf(env)
      assert.equal(code, 1)
      assert.match(output, /JUPYTERHUB_SERVICE_URL/)
    })
  }

  it('says when its folder does not exist', async () => {
    const env = { ...serverEnvironment(hub, 'ada'), JUPYTERHUB_ROOT_DIR: 'no/such' }
    const [code, output] = await exitOf(env)
    assert.equal(code, 1)
    assert.match(output, /no\/such cannot be opened/)
  })

  it('warns of a hub of another major version', async () => {
    hub.version = '4.1.0'
    await using program = await startSingleUserProgram(hub, 'ada', folder)
    await until('the warning', () => /the hub is version 4\.1\.0/.test(program.output()))
    hub.version = '6.0.0'
  })

  it('tries again while the hub does not answer', async () => {
    hub.down = true
    await using program = await startSingleUserProgram(hub, 'ada', folder)
    await until('a further try', () => /trying again \(1 of 5\)/.test(program.output()))
    hub.down = false
    await until('its report', () => hub.activity.length > 0)
  })

  it('leaves within two seconds of SIGTERM, and takes stubborn shells with it', async () => {
    await using program = await startSingleUserProgram(hub, 'ada', folder)
    const token = hub.issueToken('ada', ['access:servers'])
    const headers = { authorization: `token ${token}` }
    const url = `${hub.url}/user/ada/api/terminals`
    await fetch(url, { method: 'POST', headers })
    const socket = new WebSocket(`${hub.url}/user/ada/terminals/websocket/1`, { headers })
    let seen = ''
    socket.on('error', () => {}).on('message', (data: Buffer) => (seen += data.toString()))
    await once(socket, 'open')
    socket.send(JSON.stringify(['stdin', 'trap "" HUP TERM; echo pid $$ "is" stubborn\r']))
    const pid = (await until('the trap', () => /pid (\d+) is stubborn/.exec(seen)))[1] ?? ''
    const start = performance.now()
    program.child.kill('SIGTERM')
    await once(program.child, 'exit')
    assert.equal(program.child.exitCode, 0)
    assert.ok(performance.now() - start < 2000)
    await until('the shell is gone', async () => {
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
      return stat === '' || stat.includes(') Z ')
    })
  })
})
