import assert from 'node:assert/strict'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { HubProcess, type HubProcessOptions, kill, runs } from '../support/hub-process.ts'
import { Traffic } from '../support/traffic.ts'
import { until } from '../support/until.ts'

const deadline = 60_000

/** Holds up the program that follows while the file exists that is named before it. */
const shell = 'while [ -e "$0" ]; do sleep 0.05; done; exec "$@"'

describe('a hub that is killed during a start', () => {
  it('undoes one whose hook had not ended', async () => {
    await using test = await prepared({
      spawner: `preSpawnHook: () => existsSync('./gate') ? (writeFileSync('./hook', ''), new Promise(() => {})) : undefined,`,
    })
    writeFileSync(test.path('gate'), '')
    begin(test)
    await until('the hook is called', () => existsSync(test.path('hook')), deadline)
    await test.end('SIGKILL')
    await test.start()
    await assertUndone(test)
    rmSync(test.path('gate'))
    assert.equal(await test.operator.startServer('ada'), 'ready')
  })

  it('undoes one whose process was there without a port', async () => {
    await using test = await prepared({ before: ['/bin/sh', '-c', shell, './gate'] })
    writeFileSync(test.path('gate'), '')
    begin(test)
    const pid = await until('the process is known', () => test.row('ada')?.pid, deadline)
    await until('it waits', () => test.serverPids().includes(pid), deadline)
    await test.end('SIGKILL')
    await test.start()
    await assertUndone(test)
    assert.equal(runs(pid), false)
    assert.equal(test.row('ada')?.exit?.cause, 'hub-restarted')
  })

  it('finishes one that had a port but no answer yet, and lets nobody else wait for it', async () => {
    await using test = await prepared({ flags: ['--unready-while=./gate'] })
    await test.startServers('bob')
    writeFileSync(test.path('gate'), '')
    begin(test)
    const url = await until('the url is known', () => test.row('ada')?.url, deadline)
    const { pid, generation } = test.row('ada') ?? { pid: 0, generation: 0 }
    await test.end('SIGKILL')
    for (const proxy of test.proxyPids()) kill(proxy)
    await test.start()
    assert.equal((await test.operator.server('ada')).pending, 'check')
    assert.equal((await test.operator.server('bob')).ready, true)
    assert.equal((await new Traffic(test.origin).ask('bob', '')).status, 503)

    rmSync(test.path('gate'))
    assert.equal((await new Traffic(test.origin).ask('bob', '')).by?.user, 'bob')
    await until('it is ready', () => test.row('ada')?.state === 'ready', deadline)
    const row = test.row('ada')
    assert.deepEqual([row?.pid, row?.generation, row?.url], [pid, generation, url])
    const answer = await new Traffic(test.origin).ask('ada', '')
    assert.deepEqual([answer.by?.user, answer.by?.pid], ['ada', pid])
    assert.equal(await test.statusWith(test.tokenOf(pid ?? 0)), 200)
  })

  it('leaves nothing half done, whenever that happens', async () => {
    await using test = await prepared()
    const isWrittenDown = (): boolean => test.row('ada')?.state === 'starting'
    for (const moment of [() => isWrittenDown, ...[20, 60, 120].map((ms) => () => past(ms))]) {
      begin(test)
      await until('some of the start is over', moment(), deadline)
      await test.end('SIGKILL')
      await test.start()
      await assertSettled(test)
      await test.operator.stopServer('ada')
      await assertUndone(test)
    }
  })
})

async function prepared(options: HubProcessOptions = {}): Promise<HubProcess> {
  const test = await HubProcess.started(options)
  await test.operator.createUsers(['ada'])
  return test
}

/** Asks for a start and does not wait for the answer, which may never come. */
function begin(test: HubProcess): void {
  void test.operator.startServer('ada').catch(() => {})
}

function past(ms: number): () => boolean {
  const at = performance.now() + ms
  return () => performance.now() >= at
}

/** Stopped, and nothing of the start is left: no process, no route, no token, no client. */
async function assertUndone(test: HubProcess): Promise<void> {
  await until('it is stopped', () => (test.row('ada')?.state ?? 'stopped') === 'stopped', deadline)
  await until('no process is left', () => test.serverPids().length === 0, deadline)
  assert.deepEqual(test.query('SELECT id FROM oauth_clients WHERE server_id IS NOT NULL'), [])
  assert.deepEqual(test.query('SELECT id FROM api_tokens WHERE server_id IS NOT NULL'), [])
  assert.equal((await new Traffic(test.origin).ask('ada', '')).by, null)
}

/** Either ready, with that one process behind its route, or undone. */
async function assertSettled(test: HubProcess): Promise<void> {
  const row = await until(
    'the start is finished or undone',
    () => {
      const found = test.row('ada')
      return (found === undefined || ['ready', 'stopped'].includes(found.state)) && { found }
    },
    deadline,
  )
  if (row.found?.state !== 'ready') return assertUndone(test)
  assert.deepEqual(test.serverPids(), [row.found.pid])
  const { by } = await new Traffic(test.origin).ask('ada', '')
  assert.deepEqual([by?.user, by?.pid], ['ada', row.found.pid])
  assert.equal(await test.statusWith(test.tokenOf(row.found.pid ?? 0)), 200)
}
