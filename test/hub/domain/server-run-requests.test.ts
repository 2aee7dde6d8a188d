import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { type TestContext, describe, it } from 'node:test'
import type { ConfigInput } from '../../../hub/config.ts'
import { HubError } from '../../../packages/core/errors.ts'
import type { ServerModel } from '../../../packages/client/index.ts'
import { socketFetch } from '../../../hub/commands/socket-fetch.ts'
import { Browser } from '../../support/browser.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { runs } from '../../support/hub-process.ts'
import { singleUser, startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

const deadline = 30_000

describe('starts that are asked for at the same time', () => {
  it('are one start for one server', async () => {
    await using test = await startTestHub()
    await test.operator.createUsers(['ada'])
    const answers = await Promise.all([1, 2, 3].map(() => ask(test, 'POST', 'ada')))
    for (const { status } of answers) assert.ok([201, 202].includes(status), String(status))
    const pid = await pidOf(test, 'ada')
    assert.equal((await ask(test, 'POST', 'ada')).status, 400)
    assert.equal(await pidOf(test, 'ada'), pid)
  })

  it('are refused beyond the limit, with the time to wait', async (t) => {
    const gate = gateFor(t)
    await using test = await startTestHub({
      cmd: singleUser(`--unready-while=${gate}`),
      config: { hub: { concurrentSpawnLimit: 2, slowSpawnTimeout: 0.1 } },
    })
    const users = ['ada', 'bob', 'cy', 'dee', 'eve']
    await test.operator.createUsers(users)
    const answers = await Promise.all(users.map((user) => ask(test, 'POST', user)))
    assert.deepEqual(
      answers.map(({ status }) => status).toSorted((a, b) => a - b),
      [202, 202, 429, 429, 429],
    )
    const refused = answers.filter(({ status }) => status === 429)
    for (const { retryAfter } of refused) assert.ok(Number(retryAfter) >= 1)
    rmSync(gate)
    const again = users[answers.findIndex(({ status }) => status === 429)] ?? ''
    await until(
      'there is room',
      async () => (await ask(test, 'POST', again)).status < 300,
      deadline,
    )
  })
})

describe('a stop', () => {
  it('is followed by a start at once, but not overtaken by one', async () => {
    await using test = await startTestHub({
      cmd: singleUser('--stubborn'),
      config: {
        hub: { slowStopTimeout: 0.1 },
        spawner: impatient({ interruptTimeout: 0.5, termTimeout: 0.5 }),
      },
    })
    await test.operator.createUsers(['ada'])
    await test.operator.startServer('ada')
    const pid = await pidOf(test, 'ada')
    assert.equal((await ask(test, 'DELETE', 'ada')).status, 202)
    const early = await ask(test, 'POST', 'ada')
    assert.equal(early.status, 400)
    assert.match(early.text, /pending/)
    await until('even a stubborn one is gone', () => !runs(pid), deadline)
    await until(
      'it starts again',
      async () => (await ask(test, 'POST', 'ada')).status === 201,
      deadline,
    )
    assert.notEqual(await pidOf(test, 'ada'), pid)
  })

  for (const [phase, flag] of [
    ['its hook', null],
    ['its port', '--never-listen'],
    ['its answer', '--unready-while='],
  ] as const)
    it(`ends a start that still waits for ${phase}`, async (t) => {
      const gate = gateFor(t)
      const called = `${gate}-called`
      const hook = (): Promise<void> => {
        writeFileSync(called, '')
        return flag === null ? new Promise(() => {}) : Promise.resolve()
      }
      await using test = await startTestHub({
        cmd: singleUser(...(flag === null ? [] : [flag.endsWith('=') ? `${flag}${gate}` : flag])),
        config: { hub: { slowSpawnTimeout: 0.1 }, spawner: impatient({ preSpawnHook: hook }) },
      })
      await test.operator.createUsers(['ada'])
      assert.equal(await test.operator.startServer('ada'), 'starting')
      await until('the hook was called', () => existsSync(called), deadline)
      const pid =
        flag === null ? null : await until('it runs', () => stateOf(test, 'ada'), deadline)
      await test.operator.stopServer('ada')
      await until('it is stopped', async () => (await server(test, 'ada')).stopped, deadline)
      if (pid !== null) assert.equal(runs(pid), false)
      assert.deepEqual(await routesOf(test), ['/'])
    })
})

describe('a hook that refuses starts', () => {
  it('answers them with its own words and status, also on the page', async () => {
    const preSpawnHook = ({ serverName }: { readonly serverName: string }): void => {
      if (serverName === '') throw new HubError('too_many_requests', 'your quota is used up')
      throw new Error('broken hook')
    }
    await using test = await startTestHub({
      config: { hub: { allowNamedServers: true }, spawner: impatient({ preSpawnHook }) },
    })
    const browser = new Browser(test.origin)
    await browser.logIn('/', 'ada')
    const refused = await ask(test, 'POST', 'ada')
    assert.equal(refused.status, 429)
    const page = await browser.get('/hub/spawn')
    assert.equal(page.status, 429)
    assert.match(page.text, /your quota is used up/)
    assert.equal((await browser.get('/hub/spawn/ada/named')).status, 500)
  })
})

describe('deleting a user', () => {
  it('stops the server first, and removes route, token and row', async () => {
    await using test = await startTestHub()
    await test.operator.createUsers(['ada'])
    await test.operator.startServer('ada')
    const pid = await pidOf(test, 'ada')
    await test.operator.deleteUser('ada')
    assert.equal(runs(pid), false)
    assert.deepEqual(await routesOf(test), ['/'])
    await assert.rejects(test.operator.server('ada'), { status: 404 })
    await test.operator.createUsers(['ada'])
    assert.equal((await server(test, 'ada')).stopped, true)
  })

  it('ends a start that is under way', async (t) => {
    const gate = gateFor(t)
    await using test = await startTestHub({
      cmd: singleUser(`--unready-while=${gate}`),
      config: { hub: { slowSpawnTimeout: 0.1 } },
    })
    await test.operator.createUsers(['ada'])
    assert.equal(await test.operator.startServer('ada'), 'starting')
    const pid = await until('it runs', () => stateOf(test, 'ada'), deadline)
    await test.operator.deleteUser('ada')
    assert.equal(runs(pid), false)
    await assert.rejects(test.operator.server('ada'), { status: 404 })
  })
})

/** A file that exists, for servers that wait until it is gone. */
function gateFor(t: TestContext): string {
  const gate = join(temporaryFolder(t), 'gate')
  writeFileSync(gate, '')
  return gate
}

function impatient(options: object): NonNullable<ConfigInput['spawner']> {
  return { driver: 'simple', allowRoot: true, ...options }
}

interface Reply {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly text: string
}

/** Asks for a start or stop as the operator, and shows the whole answer. */
async function ask(test: TestHub, method: string, user: string): Promise<Reply> {
  const socketPath = join(test.dataDir, 'hub.sock')
  const outgoing = request({ socketPath, method, path: `/hub/api/users/${user}/server` }).end()
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage]
  const { statusCode: status = 0, headers } = incoming
  return { status, retryAfter: headers['retry-after'], text: await text(incoming) }
}

function server(test: TestHub, user: string): Promise<ServerModel> {
  return test.operator.server(user)
}

async function pidOf(test: TestHub, user: string): Promise<number> {
  const answer = await fetch(`${test.origin}/user/${user}/who`)
  return ((await answer.json()) as { pid: number }).pid
}

/** The pid that the spawner has saved, or null. */
async function stateOf(test: TestHub, user: string): Promise<number | null> {
  const { state } = (await server(test, user)) as { state?: { identity?: { pid?: number } } | null }
  return state?.identity?.pid ?? null
}

async function routesOf(test: TestHub): Promise<readonly string[]> {
  const fetch = socketFetch(join(test.dataDir, 'hub.sock'))
  const answer = await fetch('http://localhost/hub/api/proxy', {})
  return Object.keys((await answer.json()) as object)
}
