import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { ask } from '../../proxy/ask.ts'
import { exchange, handshake } from '../../proxy/support.ts'
import { Browser } from '../../support/browser.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { singleUser, startTestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

const json = { accept: 'application/json' }

it('what asks for a server learns from the proxy whether it starts, runs, has stopped or crashed', async (t) => {
  const isUnready = join(temporaryFolder(t), 'unready')
  writeFileSync(isUnready, '')
  const config = { spawner: { pollInterval: 3600 } }
  const cmd = singleUser(`--unready-while=${isUnready}`)
  await using test = await startTestHub({ baseUrl: '/jhub/', config, cmd })
  const path = '/jhub/user/ada/lab'
  const url = `${test.origin}${path}`
  const browser = new Browser(test.origin)
  await browser.logIn('/jhub/', 'ada')
  const start = () => test.operator.startServer('ada')
  const pid = async () => {
    const answer = await ask(url, { headers: json })
    return answer.status === 200 ? (JSON.parse(answer.text) as { pid: number }).pid : null
  }
  const told = async () => {
    const answer = await ask(url, { headers: json })
    return answer.status === 424 && (JSON.parse(answer.text) as { reason?: string }).reason
  }

  await t.test(
    'starting: scripts and tabs are told to come again, people see its progress',
    async () => {
      const started = start()
      const first = await until('the proxy knows', async () => {
        const answer = await ask(url, { headers: json })
        return answer.status === 503 && answer
      })
      assert.equal((JSON.parse(first.text) as { reason?: string }).reason, 'starting')
      assert.equal(first.headers['retry-after'], '3')
      const port = Number(new URL(test.origin).port)
      assert.match(await exchange(port, handshake(`${path}/ws`)), /^HTTP\/1.1 503 /)
      assert.equal((await browser.visit(path)).url.pathname, '/jhub/hub/spawn-pending/ada')
      rmSync(isUnready)
      await started
      assert.ok(await until('it runs', pid, 30_000))
    },
  )

  await t.test('stopped: people can start it, and a failed start is over for all', async () => {
    await test.operator.stopServer('ada')
    assert.equal(await until('the proxy knows', told, 30_000), 'stopped')
    assert.match((await browser.visit(path)).text, /id="start"/)
    writeFileSync(isUnready, '')
    const started = start().catch(() => {})
    await until('it starts', async () => (await ask(url, { headers: json })).status === 503)
    await test.operator.stopServer('ada')
    await started
    assert.ok(await until('the start is over', told, 30_000))
  })

  await t.test('crashed: who finds out first sees it, everybody else hears it', async () => {
    rmSync(isUnready)
    await start()
    const running = await until('it runs', pid, 30_000)
    // The hub that has started it would notice its end by itself.
    await using _restarted = await test.restart()
    process.kill(running, 'SIGKILL')
    const page = await browser.get(path)
    assert.equal(page.status, 503)
    assert.match(page.text, /has ended unexpectedly/)
    assert.match(page.text, /href="\/jhub\/hub\/user\/ada\/lab"[^>]*>Start the server</)
    assert.equal(await until('the proxy knows', told), 'crashed')
    for (const at of ['user', 'spawn-pending']) {
      const stopped = await until('its end is written down', async () => {
        const { text } = await browser.get(`/jhub/hub/${at}/ada`)
        return text.includes('id="start"') && text
      })
      assert.match(stopped, /Server crashed/)
      assert.match(stopped, /ended unexpectedly/)
      assert.doesNotMatch(stopped, /Start failed|Starting your server did not work/)
    }
  })
})

it('the error target says what has happened, by the reason that the proxy gives', async () => {
  await using test = await startTestHub()
  const page = async (query: string) => (await ask(`${test.origin}/hub/error/${query}`)).text
  const url = 'url=%2Fuser%2Fada%2Flab'
  const starting = await page(`503?${url}&reason=starting`)
  assert.match(starting, /<meta http-equiv="refresh" content="3; url=\/user\/ada\/lab">/)
  assert.match(starting, /is starting[^]*reloads by itself/)
  for (const [reason, says] of [
    ['stopped', /is not running any more/],
    ['crashed', /has ended unexpectedly/],
  ] as const) {
    const text = await page(`424?${url}&reason=${reason}`)
    assert.match(text, says)
    assert.match(text, /href="\/hub\/user\/ada\/lab"[^>]*>Start the server</)
    assert.doesNotMatch(text, /http-equiv="refresh"|Failed Dependency/)
  }
  const elsewhere = await page('503?url=https%3A%2F%2Fevil.test%2F&reason=starting')
  assert.doesNotMatch(elsewhere, /evil|http-equiv="refresh"/)
  assert.match(await page(`503?${url}&reason=<b>`), /does not answer/)
})
