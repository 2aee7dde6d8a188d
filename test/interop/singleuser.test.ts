import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { it } from 'node:test'
import { Browser } from '../support/browser.ts'
import { startTestHub } from '../support/start-hub.ts'
import { createTestAccount } from '../support/test-account.ts'
import { until } from '../support/until.ts'
import { Kernel } from './kernel.ts'

const command = '/usr/bin/jupyterhub-singleuser'
const name = 'portico-interop'
const strangerName = 'portico-stranger'
const prefix = `/user/${name}/`
const skip =
  process.getuid?.() !== 0
    ? 'needs root: servers run as another account'
    : existsSync(command)
      ? false
      : `${command} is missing: apt install jupyterhub jupyter-notebook python3-ipykernel`

it('an unmodified jupyterhub-singleuser 3.0.0 serves another account', { skip }, async (t) => {
  const account = createTestAccount(name)
  t.after(() => account.remove())
  const stranger = createTestAccount(strangerName)
  t.after(() => stranger.remove())
  await using test = await startTestHub({
    cmd: [command],
    config: {
      hub: { activityResolution: 0 },
      spawner: {
        driver: 'local',
        environment: { PATH: '/usr/bin:/bin', JUPYTERHUB_ACTIVITY_INTERVAL: '1' },
      },
    },
  })
  const browser = new Browser(test.origin)

  /** What a notebook page sends: the server's own XSRF cookie again as a header. */
  const api = (method: string, path: string, body?: unknown) =>
    browser.send(method, `${prefix}api/${path}`, {
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: {
        Accept: 'application/json',
        'Content-Type': 'application/json',
        'Sec-Fetch-Mode': 'cors',
        'X-XSRFToken': /(?:^|; )_xsrf=([^;]*)/.exec(browser.cookieHeader(prefix))?.[1] ?? '',
      },
    })

  const processOfServer = async (): Promise<number> => {
    const model: unknown = await test.operator.server(name)
    return (model as { state: { identity: { pid: number } } }).state.identity.pid
  }

  const lastActivity = async (): Promise<number> =>
    Date.parse((await test.operator.server(name)).last_activity ?? '')

  const tokensOfSessions = async () =>
    (await test.operator.tokens(name)).filter(({ session_id: session }) => session !== null)

  await t.test(
    'is started after a login over HTTP, and its OAuth login lets the owner in',
    async () => {
      const login = await browser.logIn('/', name)
      assert.equal(login.headers.get('location'), '/hub/spawn')
      await browser.visit('/hub/spawn')
      const page = await until(
        'the server answers',
        async () => {
          const found = await browser.visit(`/hub/spawn-pending/${name}`)
          const { pathname } = found.url
          assert.ok(found.status < 400, `${pathname}: ${found.text}\n${test.logLines.join('\n')}`)
          return pathname.startsWith(prefix) && found
        },
        60_000,
      )
      assert.equal(page.status, 200)
      assert.match(page.headers.get('x-jupyterhub-version') ?? '', /^3\.0\.0/)
      assert.equal(page.url.pathname, `${prefix}tree/`)
    },
  )

  await t.test('runs as the account, in its groups and its home', async () => {
    const pid = await processOfServer()
    assert.equal(statSync(`/proc/${pid}`).uid, account.uid)
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    assert.match(status, new RegExp(`^Gid:(\\t${account.gid}){4}$`, 'm'))
    assert.match(status, new RegExp(`^Groups:.*\\b${account.extraGroup}\\b`, 'm'))
    const root = await api('GET', 'contents?content=0')
    assert.equal(root.status, 200)
  })

  await t.test('starts a kernel by REST and runs 6*7 over the WebSocket', async () => {
    const created = await api('POST', 'kernels', { name: 'python3' })
    assert.equal(created.status, 201, created.text)
    const { id } = JSON.parse(created.text) as { id: string }
    const path = `${prefix}api/kernels/${id}/channels`
    const url = `${test.origin.replace('http', 'ws')}${path}?session_id=interop`
    const headers = { Cookie: browser.cookieHeader(path), Origin: test.origin }
    await using kernel = await Kernel.connect(url, headers)
    assert.equal(await kernel.execute('6*7'), '42')
    assert.equal(await kernel.execute('__import__("os").getuid()'), String(account.uid))
  })

  await t.test('reports activity that moves on with use', async () => {
    const first = await until('activity has arrived', lastActivity, 30_000)
    await api('GET', 'contents')
    await until('activity moves', async () => (await lastActivity()) > first, 30_000)
  })

  await t.test('refuses another user', async () => {
    const other = new Browser(test.origin)
    await other.logIn('/', strangerName)
    const page = await other.visit(`${prefix}tree`)
    assert.equal(page.status, 403)
  })

  await t.test('ends access at logout, which its own logout link leads to', async () => {
    assert.equal((await tokensOfSessions()).length, 1)
    const logout = await browser.visit(`${prefix}logout`)
    assert.equal(logout.url.pathname, '/hub/login')
    const page = await browser.visit(`${prefix}tree`)
    assert.equal(page.url.pathname, '/hub/login')
    assert.equal((await api('GET', 'contents')).status, 403)
    assert.deepEqual(await tokensOfSessions(), [])
  })

  await t.test('loses its token when it is stopped', async () => {
    const pid = await processOfServer()
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8')
    const token = /(?:^|\0)JUPYTERHUB_API_TOKEN=([^\0]+)/.exec(environment)?.[1] ?? ''
    const whoAmI = async (): Promise<number> =>
      (await new Browser(test.origin).get('/hub/api/user', { Authorization: `token ${token}` }))
        .status
    assert.equal(await whoAmI(), 200)
    await test.operator.stopServer(name)
    await until('it is stopped', async () => (await test.operator.server(name)).stopped, 30_000)
    assert.equal(await whoAmI(), 403)
    assert.equal(existsSync(`/proc/${pid}`), false)
  })
})
