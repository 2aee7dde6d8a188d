import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import type { Page } from 'playwright-core'
import { programPath } from '../../packages/process/index.ts'
import { temporaryFolder } from '../support/folder.ts'
import { singleUser, startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'
import { Chromium, shoot, skipWithoutChromium as skip, step, tabTo } from './chromium.ts'

const [node, embedded] = programPath('packages/singleuser/main')
const password = 'correct horse'

/**
 * The embedded server, but it opens its port only once a file named like its user lies in $GATES.
 * That of `broken` says too much and ends; that of `stubborn` ends only when it is killed.
 */
const slowServer = `
if [ "$JUPYTERHUB_USER" = broken ]; then
  echo "connecting with password=hunter2"
  echo "my token is $JUPYTERHUB_API_TOKEN"
  echo "ModuleNotFoundError: No module named 'jupyterlab'" >&2
  exit 3
fi
if [ "$JUPYTERHUB_USER" = stubborn ]; then exec $STUBBORN; fi
until [ -e "$GATES/$JUPYTERHUB_USER" ]; do sleep 0.1; done
exec "$0" "$@" --allow-root`

interface Site {
  readonly hub: TestHub
  readonly chromium: Chromium
  /** Lets the user's server come up, now and from now on. */
  readonly open: (user: string) => void
  readonly url: (path: string) => string
  /** Takes pictures; they would be the same under every base url. */
  readonly shoot: typeof shoot
}

async function logIn(page: Page, site: Site, name: string, path = 'hub/home'): Promise<void> {
  await page.goto(
    site.url(`hub/login?next=${encodeURIComponent(new URL(site.url(path)).pathname)}`),
  )
  await page.fill('#username_input', name)
  await page.fill('#password_input', password)
  await page.click('#login_submit')
  await page.waitForURL((url) => !url.pathname.endsWith('/hub/login'))
}

/** From the first press of Tab to the question whether it shall be revoked, without a mouse. */
async function useToken(page: Page, { url, shoot: picture }: Site): Promise<void> {
  const { keyboard } = page
  const row = page.locator('[data-kind=token]', { hasText: 'Backup script' })
  const secret = page.locator('#token-secret')
  await page.goto(url('hub/token'))
  await page.locator('[data-kind=application]').waitFor()
  await tabTo(page, '#token-note')
  await keyboard.type('Backup script')
  await tabTo(page, '#token-form summary')
  await keyboard.press('Enter')
  await tabTo(page, 'input[value="read:users:name!user"]')
  await keyboard.press('Space')
  await picture(page, 'token')
  await tabTo(page, '#token-create')
  await keyboard.press('Enter')
  await page.locator('#token-secret:focus').waitFor()
  await row.waitFor()
  await picture(page, 'token-made')
  const headers = { Authorization: `token ${await secret.inputValue()}` }
  const use = async () => (await fetch(url('hub/api/user'), { headers })).status
  assert.equal(await use(), 200)
  await page.reload()
  await row.waitFor()
  assert.equal(await secret.inputValue(), '')
  assert.ok(await secret.isHidden())
  await tabTo(page, 'li[data-label="Backup script"] [data-revoke]')
  await keyboard.press('Enter')
  await page.locator('dialog[open]', { hasText: 'refused from now on' }).waitFor()
  await picture(page, 'token-revoke-dialog')
  await keyboard.press('Escape')
  assert.equal(await use(), 200)
  await page.locator('[data-revoke]:focus').waitFor()
  await keyboard.press('Enter')
  await tabTo(page, '#revoke-confirm')
  await keyboard.press('Enter')
  await page.locator('#tokens-title:focus').waitFor()
  assert.equal(await row.count(), 0)
  assert.equal(await use(), 403)
}

const inServer = (user: string) => (url: URL) => url.pathname.includes(`/user/${user}/tree`)

async function walk(t: TestContext, site: Site): Promise<void> {
  const { chromium, hub, url } = site
  const page = await chromium.visitor()
  const picture = (name: string) => site.shoot(page, name)
  const part = (name: string, run: () => Promise<void>) => step(t, page, name, run)
  const stateOf = async (name: string) => {
    const { ready, pending } = await hub.operator.server(name)
    return ready ? 'ready' : (pending ?? 'stopped')
  }

  await part('a wrong password is told, the name stays', async () => {
    await page.goto(url(''))
    await page.locator('#username_input:focus').waitFor()
    await picture('login')
    await page.fill('#username_input', 'ada')
    await page.fill('#password_input', 'wrong')
    await page.click('#login_submit')
    await page.getByText('Invalid username or password').waitFor()
    assert.equal(await page.inputValue('#username_input'), 'ada')
    assert.equal(await page.inputValue('#password_input'), '')
    await picture('login-refused')
  })

  await part('a slow start shows live progress and arrives by itself', async () => {
    await page.fill('#password_input', password)
    await page.click('#login_submit')
    await page.waitForURL('**/hub/spawn-pending/ada')
    await page.locator('#progress-log li').nth(1).waitFor()
    await page.locator('#elapsed', { hasText: /^\d:\d\d$/ }).waitFor()
    await picture('spawn-pending')
    site.open('ada')
    await page.waitForURL(inServer('ada'))
    await page.locator('.view').waitFor()
  })

  await part('back and forward lead to pages that are true', async () => {
    await page.goBack()
    await page.waitForURL(inServer('ada'))
    await page.click('a:has-text("Hub home")')
    await page.locator('.server[data-state=ready]').waitFor()
    await page.goBack()
    await page.locator('.view').waitFor()
    await page.goForward()
    await page.locator('.server[data-state=ready]').waitFor()
  })

  await part(
    'a token is made, works, is shown once, and is worth nothing once revoked',
    async () => {
      await useToken(page, site)
      await page.goto(url('hub/home'))
    },
  )

  await part('a failing command shows its cause and its log without secrets', async () => {
    const broken = await chromium.visitor()
    await logIn(broken, site, 'broken', 'hub/spawn')
    await broken.getByText('Start failed').waitFor()
    const text = await broken.locator('main').innerText()
    assert.match(text, /ended with status 3/)
    assert.match(text, /No module named 'jupyterlab'/)
    assert.match(text, /my token is/)
    assert.doesNotMatch(text, /hunter2|my token is \w{6}/)
    await site.shoot(broken, 'start-failed')
    await broken.click('a:has-text("Home")')
    await broken.locator('.ended').waitFor()
    await site.shoot(broken, 'home-after-failure')
    await broken.context().close()
  })

  await part('a stop that takes its time is shown until its end', async () => {
    const stubborn = await chromium.visitor()
    await logIn(stubborn, site, 'stubborn')
    await hub.operator.startServer('stubborn')
    await until('it is up', async () => (await stateOf('stubborn')) === 'ready', 30_000)
    await stubborn.reload()
    await stubborn.click('#stop')
    await stubborn.click('#stop-confirm')
    await stubborn.click('a:has-text("See progress")')
    await stubborn.getByText('Stopping your server').waitFor()
    await site.shoot(stubborn, 'stop-pending')
    await stubborn.getByText('Server not running').waitFor()
    await stubborn.context().close()
  })

  const boss = await chromium.visitor()
  const bossPart = (name: string, run: () => Promise<void>) => step(t, boss, name, run)

  await bossPart('Stop stops the server of that page, no other', async () => {
    site.open('boss')
    await logIn(boss, site, 'boss', 'hub/spawn')
    await boss.waitForURL(inServer('boss'))
    await hub.operator.createUsers(['grace'])
    await boss.goto(url('hub/spawn/grace'))
    await boss.waitForURL('**/hub/spawn-pending/grace')
    await boss.click('#stop')
    await boss.getByText('Server not running').waitFor()
    await site.shoot(boss, 'not-running-after-stop')
    assert.deepEqual([await stateOf('grace'), await stateOf('boss')], ['stopped', 'ready'])
    assert.equal(await stateOf('ada'), 'ready')
  })

  await bossPart('an admin is asked before another’s server learns who they are', async () => {
    await boss.goto(url('user/ada/'))
    await boss.getByText('Authorize access?').waitFor()
    await site.shoot(boss, 'consent')
    await boss.click('#deny')
    await boss.waitForURL((found) => found.searchParams.get('error') === 'access_denied')
    await site.shoot(boss, 'consent-denied')
    await boss.goto(url('user/ada/'))
    await boss.click('#authorize')
    await boss.waitForURL(inServer('ada'))
    await boss.locator('.view').waitFor()
    await boss.goto(url('user/ada/'))
    await boss.waitForURL(inServer('ada'))
  })

  await bossPart('pages that are not there, and servers of nobody, are errors', async () => {
    await boss.goto(url('hub/no-such-page'))
    await site.shoot(boss, 'error-404')
    await boss.goto(url('hub/error/503?url=%2Fhub%2Fhome'))
    await site.shoot(boss, 'error-503')
    await boss.context().close()
  })

  await part('another site cannot start a server unasked, nor end the login', async () => {
    await hub.operator.stopServer('ada')
    await until('it is stopped', async () => (await stateOf('ada')) === 'stopped', 30_000)
    const links = ['spawn', 'logout'].map((path) => `<a href="${url(`hub/${path}`)}">${path}</a>`)
    const elsewhere = createServer((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'text/html' }).end(`<!doctype html>${links.join(' ')}`)
    }).listen(0, '127.0.0.1')
    await once(elsewhere, 'listening')
    const { port } = elsewhere.address() as AddressInfo
    try {
      await page.goto(`http://localhost:${port}/`)
      await page.click('a:has-text("logout")')
      await page.getByText('Nothing has happened yet').waitFor()
      await picture('logout-confirm')
      await page.goBack()
      await page.click('a:has-text("spawn")')
      await page.getByText('Another site sent you here').waitFor()
      await picture('spawn-confirm')
      assert.equal(await stateOf('ada'), 'stopped')
      await page.click('#start')
      await page.waitForURL(inServer('ada'))
    } finally {
      elsewhere.close()
    }
  })

  await part('a server that is not running can be started where one was', async () => {
    await page.goto(url('hub/home'))
    await page.click('#stop')
    await page.click('#stop-confirm')
    await page.locator('.server[data-state=stopped]').waitFor()
    await page.goto(url('user/ada/terminals'))
    await page.getByText('Server not running').waitFor()
    await picture('not-running')
    await page.click('#start')
    await page.waitForURL('**/user/ada/terminals/*')
    await page.locator('.xterm-rows', { hasText: /\S/ }).waitFor()
  })

  await part('logout shows nothing more, not even by going back', async () => {
    await page.goto(url('hub/home'))
    await page.click('#logout')
    await page.waitForURL('**/hub/login')
    await page.goBack()
    await page.waitForURL('**/hub/login?next=*')
    assert.equal(await page.locator('.server').count(), 0)
  })

  await part('login, start and stop work with the keyboard alone', async () => {
    await page.goto(url('hub/login?next=' + encodeURIComponent(new URL(url('hub/home')).pathname)))
    const { keyboard } = page
    await page.locator('#username_input:focus').waitFor()
    await keyboard.type('keys')
    await keyboard.press('Tab')
    await keyboard.type(password)
    await keyboard.press('Enter')
    await page.waitForURL('**/hub/home')
    await tabTo(page, '#start')
    await keyboard.press('Enter')
    await page.waitForURL('**/hub/spawn-pending/keys')
    await page.locator('#pending-title:focus').waitFor()
    site.open('keys')
    await page.waitForURL(inServer('keys'))
    await tabTo(page, 'a[href$="/hub/home"]')
    await keyboard.press('Enter')
    await page.locator('.server[data-state=ready]').waitFor()
    await tabTo(page, '#stop')
    await keyboard.press('Enter')
    await page.locator('dialog[open] button[value=cancel]:focus').waitFor()
    await tabTo(page, '#stop-confirm')
    await keyboard.press('Enter')
    await page.locator('.server[data-state=stopped]').waitFor()
    await page.locator('#start:focus').waitFor()
  })
}

for (const baseUrl of ['/', '/jhub/'])
  it(`people use a configured site under ${baseUrl}`, { skip }, async (t) => {
    const folder = temporaryFolder(t)
    const gates = join(folder, 'gates')
    mkdirSync(gates)
    await using hub = await startTestHub({
      baseUrl,
      cmd: ['/bin/sh', '-c', slowServer, node, embedded],
      config: {
        hub: { adminUsers: ['boss'] },
        authenticator: { driver: 'dummy', password, allowAll: true },
        spawner: {
          environment: { GATES: gates, STUBBORN: singleUser('--stubborn').join(' ') },
          homeDir: join(folder, 'homes', '{username}'),
          interruptTimeout: 4,
          termTimeout: 1,
        },
      },
    })
    await using chromium = await Chromium.launch()
    await walk(t, {
      hub,
      chromium,
      open: (user) => writeFileSync(join(gates, user), ''),
      url: (path) => `${hub.origin}${baseUrl}${path}`,
      shoot: baseUrl === '/' ? shoot : async () => {},
    })
    chromium.assertNoComplaints()
  })
