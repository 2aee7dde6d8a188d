import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { type TestContext, describe, it } from 'node:test'
import { Routes } from '../../../hub/domain/routes.ts'
import { type RunDeps, ServerRun } from '../../../hub/domain/server-run.ts'
import { openDatabase } from '../../../hub/store/database.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { serverStore } from '../../../hub/store/servers.ts'
import { userStore } from '../../../hub/store/users.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'
import { deferred } from '../../../packages/core/promises.ts'
import type { Proxy, Route } from '../../../packages/core/proxy.ts'
import {
  type Exit,
  type PollResult,
  type ServerContext,
  type Spawner,
} from '../../../packages/core/spawner.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { until } from '../../support/until.ts'
import { metrics } from '../../support/unwatched.ts'

const forever = new Promise<never>(() => {})
const rejectsWhenAborted = (signal: AbortSignal): Promise<never> =>
  once(signal, 'abort').then(() => Promise.reject(signal.reason))
const nothing = (): Promise<void> => Promise.resolve()
const died: Exit = { cause: 'killed', code: null, message: 'it was killed' }

describe('a start', () => {
  it('is given up when what comes before it never ends', async (t) => {
    const world = await createWorld(t, { start: 0.2 })
    const run = world.run(() => world.spawner({ start: () => forever }))
    void run.launch(() => forever)
    assert.equal((await run.ended).cause, 'timeout')
    assert.equal((await world.row()).state, 'stopped')
  })

  it('is cancelled while what comes before it still goes on', async (t) => {
    const world = await createWorld(t, {})
    const run = world.run(() => world.spawner({ start: () => forever }))
    void run.launch(() => forever)
    await run.stop()
    assert.equal((await run.ended).cause, 'cancelled')
    assert.equal(world.calls.includes('start'), false)
  })

  it('is given up when the spawner never answers, and what comes of it later is ended', async (t) => {
    const world = await createWorld(t, { start: 0.1 })
    const late = deferred<URL>()
    const run = world.run(() => world.spawner({ start: () => late.promise }))
    void run.launch(nothing)
    assert.equal((await run.ended).cause, 'timeout')
    const stops = world.calls.filter((call) => call === 'stop').length
    late.resolve(world.url)
    await until('it is stopped once more', () => {
      return world.calls.filter((call) => call === 'stop').length > stops
    })
  })

  it('saves nothing once it is over, so that nothing is launched for it', async (t) => {
    const world = await createWorld(t, { start: 0.1 })
    const contexts: ServerContext[] = []
    const run = world.run((context) => {
      contexts.push(context)
      return world.spawner({ start: rejectsWhenAborted })
    })
    void run.launch(nothing)
    await run.ended
    await assert.rejects(async () => contexts[0]?.save({ identity: { pid: 99 } }))
    const { id, generation } = run.row
    await assert.rejects(world.store.saveSpawnerState(id, generation, { pid: 99 }), {
      code: 'server_not_running',
    })
    assert.equal((await world.row()).spawnerState, null)
  })

  it('fails when the server ends while its route is being made', async (t) => {
    const world = await createWorld(t, {})
    const routing = deferred<void>()
    let context: ServerContext | null = null
    world.proxy.add = () => routing.promise
    const run = world.run((given) => {
      context = given
      return world.spawner({ start: async () => world.url })
    })
    void run.launch(nothing)
    await until('the route is being made', async () => world.answered() > 0)
    ;(context as ServerContext | null)?.exited(died)
    routing.resolve()
    assert.equal((await run.ended).cause, 'killed')
    assert.deepEqual(world.routes.all(), [])
  })

  it('is cancelled at its very end', async (t) => {
    const world = await createWorld(t, {})
    const routing = deferred<void>()
    world.proxy.add = () => routing.promise
    const run = world.run(() => world.spawner({ start: async () => world.url }))
    void run.launch(nothing)
    await until('the route is being made', async () => world.answered() > 0)
    routing.resolve()
    await run.stop()
    assert.equal((await run.ended).cause, 'cancelled')
    assert.equal((await world.row()).state, 'stopped')
    assert.deepEqual(world.routes.all(), [])
  })
})

describe('a server that runs', () => {
  it('is left alone while its state is unknown', async (t) => {
    const world = await createWorld(t, {})
    const polled = { answer: { kind: 'unknown', reason: 'no reply' } as PollResult }
    const run = world.run(() =>
      world.spawner({ start: async () => world.url, poll: async () => polled.answer }),
    )
    await run.launch(nothing)
    await run.check()
    assert.equal(run.state.kind, 'ready')
    polled.answer = { kind: 'exited', exit: died }
    await run.check()
    assert.equal((await run.ended).cause, 'killed')
  })

  it('is stopped harder when a stop hangs', async (t) => {
    const world = await createWorld(t, { stop: 0.1 })
    const how: boolean[] = []
    const run = world.run(() =>
      world.spawner({
        start: async () => world.url,
        stop: ({ now }) => {
          how.push(now)
          return now ? nothing() : forever
        },
      }),
    )
    await run.launch(nothing)
    await run.stop()
    assert.equal((await run.ended).cause, 'stopped')
    assert.deepEqual(how, [false, true])
  })
})

interface Script {
  start(signal: AbortSignal): Promise<URL>
  stop?(how: { readonly now: boolean }): Promise<void>
  poll?(): Promise<PollResult>
}

type Timeouts = Partial<RunDeps['timeouts']>

/** A stored server in state `starting`, a place where servers answer, and spawners that do as told. */
async function createWorld(t: TestContext, timeouts: Timeouts) {
  const database = await openDatabase(join(temporaryFolder(t), 'portico.sqlite'))
  t.after(() => database[Symbol.asyncDispose]())
  const store = serverStore(database)
  await roleStore(database).define(defaultRoles)
  const now = new Date()
  const user = await userStore(database).create('ada', { admin: false, now })
  assert.ok(user)
  const begin = { userId: user.id, name: '', spawner: 'scripted', userOptions: null }
  const row = await store.beginStart({ ...begin, displayName: null, now, deadline: now })

  let answers = 0
  const server = createServer((_request, response) => {
    answers += 1
    response.end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close().closeAllConnections())
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)

  const calls: string[] = []
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const proxy = createProxy()
  const routes = new Routes({ proxy, metrics, log, ownOrigins: [] })
  return {
    store,
    routes,
    proxy,
    calls,
    url: new URL(`http://127.0.0.1:${address.port}`),
    answered: () => answers,
    row: async () => (await store.find(user.id, '')) ?? row,
    spawner: (script: Script): Spawner => ({
      start(signal) {
        calls.push('start')
        return script.start(signal)
      },
      async stop(how) {
        calls.push('stop')
        await script.stop?.(how)
      },
      poll: async () => (await script.poll?.()) ?? { kind: 'running' },
    }),
    run: (createSpawner: (context: ServerContext) => Spawner) =>
      new ServerRun(
        {
          store,
          routes,
          metrics,
          log,
          clock: () => new Date(),
          createSpawner: (_driver, context) => createSpawner(context),
          timeouts: { start: 30, http: 30, stop: 30, poll: 0, pollJitter: 0, ...timeouts },
          ended() {},
          ready() {},
          stopping() {},
        },
        { row, prefix: '/user/ada/', logFile: '/dev/null', environment: () => ({}), secrets: [] },
        'new',
      ),
  }
}

/** A proxy with a table and nothing else. */
function createProxy(): Proxy {
  const table = new Map<string, Route>()
  return {
    start: nothing,
    stop: nothing,
    add: async (route) => void table.set(route.routespec, route),
    delete: async (routespec) => void table.delete(routespec),
    list: async () => [...table.values()].map((route) => ({ ...route, lastActivity: null })),
    replaceAll: async () => {},
  }
}
