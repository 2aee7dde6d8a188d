import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { it } from 'node:test'
import { HubProcess, kill, runs } from '../support/hub-process.ts'
import { until } from '../support/until.ts'

const deadline = 60_000

/** The service as the hub knows it, once it runs and is served. */
async function served(test: HubProcess): Promise<number> {
  return until(
    'the service is served',
    async () => {
      const answer = await fetch(`${test.origin}/services/probe/`, { redirect: 'manual' })
      const text = await answer.text()
      const { pid = 0 } = await test.operator.service('probe')
      return (
        answer.status === 200 &&
        pid !== 0 &&
        (JSON.parse(text) as { pid: number }).pid === pid &&
        pid
      )
    },
    deadline,
  )
}

it('a managed service runs exactly once, whatever becomes of the hub', async (t) => {
  await using test = await HubProcess.started({ services: ['probe'] })
  const first = await served(test)
  const token = test.tokenOf(first)

  await t.test(
    'a killed hub leaves it running, with its route, and takes charge of it again',
    async () => {
      await test.end('SIGKILL')
      assert.ok(runs(first))
      assert.equal((await fetch(`${test.origin}/services/probe/`)).status, 200)
      await test.start()
      assert.equal(await served(test), first)
      assert.equal(await test.statusWith(token), 200)
      assert.deepEqual(test.serverPids(), [first])
    },
  )

  await t.test(
    'one that has died meanwhile is started again, with a token of its own',
    async () => {
      await test.end('SIGKILL')
      kill(first)
      await test.start()
      const next = await served(test)
      assert.deepEqual(test.serverPids(), [next])
      assert.equal(await test.statusWith(token), 403)
      assert.equal(await test.statusWith(test.tokenOf(next)), 200)
    },
  )

  await t.test('one whose definition has changed meanwhile is replaced', async () => {
    const before = await served(test)
    await test.end('SIGKILL')
    const config = readFileSync(test.config, 'utf8')
    writeFileSync(
      test.config,
      config.replace('"name":"probe"', '"name":"probe","environment":{"NEW":"1"}'),
    )
    await test.start()
    const next = await served(test)
    assert.notEqual(next, before)
    assert.deepEqual(test.serverPids(), [next])
    assert.match(readFileSync(`/proc/${next}/environ`, 'utf8'), /(?:^|\0)NEW=1\0/)
  })

  await t.test('a hub that is killed while it starts one leaves at most that one', async () => {
    for (const pid of test.serverPids()) kill(pid)
    await test.end('SIGKILL')
    const ready = test.start().catch(() => {})
    await until('the hub does something', () => test.serverPids().length > 0, deadline)
    await test.end('SIGKILL')
    await ready
    await test.start()
    const pid = await served(test)
    assert.deepEqual(test.serverPids(), [pid])
    assert.equal(await test.statusWith(test.tokenOf(pid)), 200)
  })

  await t.test('a hub that stops ends it', async () => {
    const pid = await served(test)
    await test.end('SIGTERM')
    assert.equal(runs(pid), false)
    assert.deepEqual(test.query("SELECT name FROM processes WHERE name LIKE 'service %'"), [])
  })

  await t.test('`stop --all` ends what a killed hub has left', async () => {
    await test.start()
    const pid = await served(test)
    await test.end('SIGKILL')
    const { status, text } = await test.run('stop', '--all', '--data-dir', test.dataDir)
    assert.equal(status, 0, text)
    assert.match(text, /service probe: stopped/)
    assert.equal(runs(pid), false)
  })

  await t.test('one that has left the config is ended, also when its hub was killed', async () => {
    await test.start()
    const pid = await served(test)
    await test.end('SIGKILL')
    const config = readFileSync(test.config, 'utf8')
    writeFileSync(test.config, config.replace(/services: .*,/, 'services: [],'))
    await test.start()
    await until('it has ended', () => !runs(pid), deadline)
    assert.deepEqual(await test.operator.services(), [])
  })
})
