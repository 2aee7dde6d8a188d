import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openSqlite } from '../../hub/store/sqlite.ts'
import { WebSocket } from 'ws'
import { Browser } from '../support/browser.ts'
import { startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const program = fileURLToPath(
  new URL(
    '../../node_modules/configurable-http-proxy/bin/configurable-http-proxy',
    import.meta.url,
  ),
)
const skip = existsSync(program) ? false : `${program} is missing: run npm ci`

/** The process that the hub has written down as its proxy; null while there is none. */
function proxyPid({ dataDir }: TestHub): number | null {
  const database = openSqlite(join(dataDir, 'portico.sqlite'), { readonly: true })
  const row = database.prepare("select data from processes where name = 'proxy'").get() as
    { readonly data: string } | undefined
  database.close()
  const saved = JSON.parse(row?.data ?? 'null') as { identity: { pid: number } } | null
  return saved?.identity.pid ?? null
}

async function echo(test: TestHub, browser: Browser, message: string): Promise<string> {
  const path = `${test.baseUrl}user/ada/socket`
  const socket = new WebSocket(`${test.origin.replace('http', 'ws')}${path}`, {
    headers: { Cookie: browser.cookieHeader(path) },
  })
  await once(socket, 'open', { signal: AbortSignal.timeout(30_000) })
  socket.send(message)
  const [data] = (await once(socket, 'message', { signal: AbortSignal.timeout(30_000) })) as [
    Buffer,
  ]
  socket.close()
  await once(socket, 'close')
  return data.toString('utf8')
}

async function serverPid(test: TestHub, browser: Browser): Promise<number | null> {
  const page = await browser.get(`${test.baseUrl}user/ada/`).catch(() => null)
  if (page?.status !== 200 || page.headers.get('content-type') !== 'application/json') return null
  return (JSON.parse(page.text) as { readonly pid: number }).pid
}

for (const baseUrl of ['/', '/jhub/'])
  it(
    `the main job runs through configurable-http-proxy 5.3.0 under ${baseUrl}`,
    { skip },
    async (t) => {
      const config = { proxy: { command: [process.execPath, program] } }
      await using test = await startTestHub({ baseUrl, config })
      const browser = new Browser(test.origin)
      let pid = 0

      await t.test('leads from login to the server, WebSocket included', async () => {
        assert.match(
          readFileSync(`/proc/${proxyPid(test)}/cmdline`, 'utf8'),
          /configurable-http-proxy/,
        )
        await browser.logIn(baseUrl, 'ada')
        await browser.visit(`${baseUrl}hub/spawn`)
        pid = await until('the server answers', () => serverPid(test, browser), 30_000)
        assert.equal(await echo(test, browser, 'hello'), 'hello')
      })

      await t.test('has all routes again after the proxy was killed', async () => {
        const before = proxyPid(test)
        assert.ok(before)
        process.kill(before, 'SIGKILL')
        await until('another proxy runs', () => proxyPid(test) !== before, 30_000)
        const again = await until('the server answers', () => serverPid(test, browser), 30_000)
        assert.equal(again, pid)
        assert.equal(await echo(test, browser, 'again'), 'again')
        assert.equal((await browser.get(`${baseUrl}hub/home`)).status, 200)
      })

      await t.test('is found again with its routes by a new hub', async () => {
        const before = proxyPid(test)
        await using restarted = await test.restart()
        assert.equal(proxyPid(restarted), before)
        assert.equal(await serverPid(restarted, browser), pid)
        assert.equal(await echo(restarted, browser, 'adopted'), 'adopted')
        const { ready } = await restarted.operator.server('ada')
        assert.equal(ready, true)
      })
    },
  )
