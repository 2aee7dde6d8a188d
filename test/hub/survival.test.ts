import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { WebSocket } from 'ws'
import { HubProcess, kill, runs } from '../support/hub-process.ts'
import { Traffic } from '../support/traffic.ts'
import { until } from '../support/until.ts'

const deadline = 60_000

describe('a hub that is killed', () => {
  it('finds its servers and its proxy again, their traffic never stops, and they end as any other', async () => {
    await using test = await HubProcess.started()
    await test.startServers('ada', 'bob')
    const before = test.rows()
    const proxies = test.proxyPids()
    const tokens = before.map((row) => test.tokenOf(row.pid ?? 0))
    const traffic = new Traffic(test.origin)
    traffic.run(['ada', 'bob'], ['', 'extra/'], 80)
    const socket = new WebSocket(`${test.origin.replace('http', 'ws')}/user/ada/ws`)
    await once(socket, 'open')
    let closed = false
    socket.once('close', () => (closed = true))

    await test.end('SIGKILL')
    await until('traffic flows without a hub', () => traffic.answers.length > 100, deadline)
    await test.start()
    const sofar = traffic.answers.length
    await until('traffic flows', () => traffic.answers.length > sofar + 50, deadline)
    socket.send('still there')
    assert.equal(String((await once(socket, 'message'))[0]), 'still there')
    socket.close()

    assert.equal(closed, false)
    const failed = (await traffic.stop()).filter(({ status }) => status !== 200)
    assert.deepEqual(failed, [])
    assert.deepEqual(traffic.wrong, [])
    assert.deepEqual(test.proxyPids(), proxies)
    assert.deepEqual(test.rows(), before)
    for (const token of tokens) assert.equal(await test.statusWith(token), 200)
    assert.equal((await test.operator.server('ada')).ready, true)

    await test.operator.stopServer('ada')
    await until('it is stopped', () => test.row('ada')?.state === 'stopped', deadline)
    assert.deepEqual(await Promise.all(tokens.map((token) => test.statusWith(token))), [403, 200])
    assert.deepEqual(leftovers(test), [])
    assert.equal(runs(before[0]?.pid ?? 0), false)
    assert.equal((await new Traffic(test.origin).ask('ada', '')).by, null)
  })

  it('cleans up a server that died while it was down', async () => {
    await using test = await HubProcess.started()
    await test.startServers('ada', 'bob')
    const pid = test.row('ada')?.pid ?? 0
    const token = test.tokenOf(pid)
    await test.end('SIGKILL')
    kill(pid)
    await until('it has ended', () => !runs(pid), deadline)
    await test.start()

    assert.equal(test.row('ada')?.state, 'stopped')
    assert.equal(test.row('bob')?.state, 'ready')
    assert.equal(await test.statusWith(token), 403)
    assert.equal((await test.operator.server('ada')).ready, false)
    const asked = new Traffic(test.origin)
    assert.equal((await asked.ask('ada', '')).status, 424)
    assert.equal((await asked.ask('bob', '')).by?.user, 'bob')
  })
})

describe('a server that is killed', () => {
  it('is noticed at once: its route goes, and its cause is known', async () => {
    await using test = await HubProcess.started({ spawner: 'pollInterval: 300,' })
    await test.startServers('ada')
    kill(test.row('ada')?.pid ?? 0)
    await until('it is stopped', () => test.row('ada')?.state === 'stopped', 5_000)
    assert.equal(test.row('ada')?.exit?.cause, 'killed')
    assert.equal((await new Traffic(test.origin).ask('ada', '')).status, 424)
    assert.deepEqual(leftovers(test), [])
    assert.equal(await test.operator.startServer('ada'), 'ready')
  })
})

describe('a proxy that is killed', () => {
  it('comes back with all routes, and meanwhile nobody reaches a wrong server', async () => {
    await using test = await HubProcess.started()
    const users = ['a', 'ada', 'adam', 'bob']
    await test.startServers(...users)
    const traffic = new Traffic(test.origin)
    traffic.run(users, ['', 'extra/', 'ada/', 'user/bob/'], 5)
    for (let round = 0; round < 3; round += 1) {
      const pid = await theProxy(test)
      kill(pid)
      await until('it is down', () => !runs(pid), deadline)
      const since = traffic.answers.length
      await until(
        'all routes are back',
        () => {
          const seen = traffic.answers.slice(since).filter(({ status }) => status === 200)
          return users.every((user) => seen.some((answer) => answer.user === user))
        },
        deadline,
      )
    }
    const answers = await traffic.stop()
    assert.deepEqual(traffic.wrong, [])
    const statuses = new Set(answers.map(({ status }) => status))
    assert.deepEqual(
      [...statuses].filter((status) => ![0, 200, 503].includes(status)),
      [],
    )
    const waiting = answers.filter(({ status }) => status === 503)
    assert.ok(waiting.every(({ retryAfter }) => retryAfter === '1'))
    assert.equal(test.proxyPids().length, 1)
  })

  it('is started again by a hub that had adopted it, and by the next hub', async () => {
    await using test = await HubProcess.started()
    await test.startServers('ada')
    const asked = new Traffic(test.origin)
    await test.end('SIGKILL')
    await test.start()
    const adopted = await theProxy(test)
    kill(adopted)
    await until('it is back', async () => (await asked.ask('ada', '')).status === 200, 15_000)

    const restarted = await theProxy(test)
    await test.end('SIGKILL')
    kill(restarted)
    await until('it has ended', () => !runs(restarted), deadline)
    await test.start()
    assert.equal((await asked.ask('ada', '')).by?.user, 'ada')
    assert.equal(test.proxyPids().length, 1)
  })
})

/** Tokens and OAuth clients that belong to servers which are stopped. */
function leftovers(test: HubProcess): readonly unknown[] {
  return ['api_tokens', 'oauth_clients'].flatMap((table) =>
    test.query(
      `SELECT '${table}' AS what, ${table}.id FROM ${table} JOIN servers ON servers.id = server_id WHERE state = 'stopped'`,
    ),
  )
}

/** The proxy that runs, once it does: one that was killed just now has a moment to come back. */
function theProxy(test: HubProcess): Promise<number> {
  return until('a proxy runs', () => test.proxyPids()[0] ?? 0, deadline)
}
