import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { openSqlite } from '../../hub/store/sqlite.ts'
import { Browser } from '../support/browser.ts'
import { HubProcess, kill } from '../support/hub-process.ts'
import { fill, mountSmall } from '../support/mount.ts'
import { temporaryFolder } from '../support/folder.ts'
import { Traffic } from '../support/traffic.ts'
import { until } from '../support/until.ts'

const deadline = 60_000

/** Holds up the program that follows while the file exists that is named before it. */
const shell = 'while [ -e "$0" ]; do sleep 0.05; done; exec "$@"'

describe('the end of a hub with a config', () => {
  it('comes within seconds at SIGTERM, and servers and proxy go on', async () => {
    await using test = await HubProcess.started()
    await test.startServers('ada')
    const before = test.rows()
    const proxies = test.proxyPids()
    const started = performance.now()
    assert.equal(await test.end('SIGTERM'), 0)
    assert.ok(performance.now() - started < 15_000)
    assert.equal((await new Traffic(test.origin).ask('ada', '')).by?.pid, before[0]?.pid)
    await test.start()
    assert.deepEqual(test.rows(), before)
    assert.deepEqual(test.proxyPids(), proxies)
  })

  it('takes one with it that is starting and open streams, without waiting for them', async () => {
    await using test = await HubProcess.started({ before: ['/bin/sh', '-c', shell, './gate'] })
    writeFileSync(test.path('gate'), '')
    await test.operator.createUsers(['ada'])
    void test.operator.startServer('ada').catch(() => {})
    await until('it starts', () => test.row('ada')?.pid, deadline)
    const follow = (async () => {
      for await (const _ of test.operator.progress('ada'));
    })().catch(() => {})
    const started = performance.now()
    assert.equal(await test.end('SIGTERM'), 0)
    assert.ok(performance.now() - started < 15_000)
    await follow
    await test.start()
    assert.equal(test.row('ada')?.state, 'stopped')
    assert.deepEqual(test.serverPids(), [])
  })
})

describe('stop --all', () => {
  for (const hub of ['alive', 'dead'] as const)
    it(`ends servers that run, start and are adopted, and the proxy, with the hub ${hub}`, async () => {
      await using test = await HubProcess.started({ before: ['/bin/sh', '-c', shell, './gate'] })
      await test.startServers('ada')
      await test.end('SIGKILL')
      await test.start()
      writeFileSync(test.path('gate'), '')
      await test.operator.createUsers(['bob'])
      void test.operator.startServer('bob').catch(() => {})
      await until('bob starts', () => test.row('bob')?.pid, deadline)
      if (hub === 'dead') await test.end('SIGKILL')

      const { status, text } = await test.run('stop', '--all', '--data-dir', test.dataDir)
      assert.equal(status, 0, text)
      assert.deepEqual([test.serverPids(), test.proxyPids()], [[], []])
      rmSync(test.path('gate'))
      await test.start()
      assert.deepEqual(
        test.rows().map(({ state }) => state),
        ['stopped', 'stopped'],
      )
      assert.deepEqual(test.query('SELECT id FROM api_tokens WHERE server_id IS NOT NULL'), [])
    })
})

describe('a second hub on the same data', () => {
  it('is refused while the first lives, and not after that was killed', async () => {
    await using test = await HubProcess.started()
    const { pid } = test
    const second = test.command('start', '--config', test.config, '--data-dir', test.dataDir)
    const [status] = (await once(second, 'exit')) as [number]
    assert.equal(status, 1)
    assert.match(test.output, new RegExp(`pid ${pid}, started 20\\d\\d-`))
    assert.equal(await test.isReady(), true)
    await test.end('SIGKILL')
    await test.start()
  })
})

describe('trouble with the database of a running hub', () => {
  it('is answered with 503 and the cause while another program holds its lock', async () => {
    await using test = await HubProcess.started()
    await test.startServers('ada')
    const other = openSqlite(`${test.dataDir}/portico.sqlite`)
    other.exec('BEGIN IMMEDIATE')
    const browser = new Browser(test.origin)
    await browser.get('/hub/login')
    const login = await browser.post('/hub/login', { username: 'bob', password: 'x' })
    assert.equal(login.status, 503)
    assert.match(login.text, /locked by another program/)
    assert.ok(Number(login.headers.get('retry-after')) > 0)
    await assert.rejects(test.operator.stopServer('ada'), /locked by another program/)
    const asked = new Traffic(test.origin)
    assert.equal((await asked.ask('ada', '')).by?.user, 'ada')
    kill(test.row('ada')?.pid ?? 0)
    await until('its route goes', async () => (await asked.ask('ada', '')).status === 424, deadline)
    other.exec('COMMIT')
    other.close()

    await until('its end is written', () => test.row('ada')?.exit?.cause === 'killed', deadline)
    await browser.logIn('/', 'bob')
    assert.equal(await test.operator.startServer('ada'), 'ready')
  })

  it('is answered with 503 and the cause while the disk is full', async (t) => {
    const dataDir = temporaryFolder(t)
    using small = mountSmall(dataDir, 8)
    if (!small) return t.skip('file systems cannot be mounted here')
    await using test = await HubProcess.started({ dataDir })
    await test.startServers('ada')
    const pid = test.row('ada')?.pid ?? 0
    mkdirSync(`${dataDir}/ballast`)
    fill(`${dataDir}/ballast/1`)
    const browser = new Browser(test.origin)
    await browser.get('/hub/login')
    const full = await until(
      'the hub notices',
      async () => {
        const page = await browser.post('/hub/login', { username: 'bob', password: 'x' })
        return page.status !== 302 && page
      },
      deadline,
    )
    assert.equal(full.status, 503)
    assert.match(full.text, /is full/)
    assert.equal((await new Traffic(test.origin).ask('ada', '')).by?.pid, pid)
    rmSync(`${dataDir}/ballast`, { recursive: true })

    await browser.logIn('/', 'bob')
    assert.equal(await test.operator.stopServer('ada'), 'stopped')
    assert.equal(await test.operator.startServer('ada'), 'ready')
    await test.end('SIGKILL')
    await test.start()
    assert.equal(test.row('ada')?.state, 'ready')
  })
})
