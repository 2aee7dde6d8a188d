import assert from 'node:assert/strict'
import { type TestContext, describe, it } from 'node:test'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { type ProcessIdentity, identityOf, isAlive, parseIdentity } from 'portico/process'
import type { Json, ServerContext, Spawner } from 'portico/spawner'
import { type RecordedContext, recordedContext } from '../support/server-context.ts'
import { until } from '../support/until.ts'
import { causeOf, isStartFailed } from './spawner.ts'

/** Options over which the suite needs power. */
interface ProcessOptions {
  readonly cmd?: string | readonly [string, ...string[]]
  readonly args?: readonly string[]
  readonly port?: number
}

interface ProcessSpawnerKind {
  readonly userName?: string
  /** Without `cmd`: `test/support/single-user.mjs`. */
  readonly create: (context: ServerContext, options: ProcessOptions) => Spawner
}

const startDeadline = 10_000

/** What every spawner promises that starts processes on this machine. */
export function processSpawnerContract(name: string, kind: ProcessSpawnerKind): void {
  const { userName = 'ada', create } = kind

  function subject(
    t: TestContext,
    options: ProcessOptions = {},
    overrides: Partial<ServerContext> = {},
  ): { spawner: Spawner; context: RecordedContext } {
    const context = recordedContext(t, { userName, ...overrides })
    return { context, spawner: create(context, options) }
  }

  async function startFails(t: TestContext, options: ProcessOptions, cause: string): Promise<void> {
    const start = subject(t, options).spawner.start(AbortSignal.timeout(startDeadline))
    await assert.rejects(start, isStartFailed(cause))
  }

  describe(`${name} supervises a process`, () => {
    it('never touches another process that has the saved pid', async (t) => {
      const { spawner, context } = subject(t)
      await spawner.start(AbortSignal.timeout(startDeadline))
      const identity = identityIn(context.saved)
      const saved = { identity: { ...identity, startTime: '1' }, port: 1 }
      const stranger = create({ ...context, saved }, {})
      assert.equal(await causeOf(stranger), 'hub-restarted')
      await stranger.stop({ now: true })
      assert.equal((await spawner.poll()).kind, 'running')
      await spawner.stop({ now: true })
    })

    it('ends what the server has started, also in other sessions', async (t) => {
      const { spawner } = subject(t, { args: ['--child'] })
      await spawner.start(AbortSignal.timeout(startDeadline))
      const child = identityOf(Number((await spawner.tail?.(1))?.[0]))
      assert.ok(child)
      assert.equal(isAlive(child), true)
      await spawner.stop({ now: true })
      assert.equal(isAlive(child), false)
    })

    it('reports a server that dies by itself, once nothing of it is left', async (t) => {
      const { spawner, context } = subject(t, { args: ['--child'] })
      await spawner.start(AbortSignal.timeout(startDeadline))
      const child = identityOf(Number((await spawner.tail?.(1))?.[0]))
      process.kill(identityIn(context.saved).pid, 'SIGKILL')
      const exit = await until('it is reported', () => context.exits[0])
      assert.equal(exit.cause, 'killed')
      assert.ok(child && !isAlive(child))
      assert.equal(await causeOf(spawner), 'killed')
      await spawner.stop({ now: false })
      assert.equal(context.exits.length, 1)
    })

    it('finds an adopted server dead as soon as it is', async (t) => {
      const { spawner, context } = subject(t)
      await spawner.start(AbortSignal.timeout(startDeadline))
      const again = create({ ...context }, {})
      process.kill(identityIn(context.saved).pid, 'SIGKILL')
      await until('it has exited', async () => (await again.poll()).kind === 'exited')
      assert.equal(await causeOf(again), 'hub-restarted')
    })

    it('classifies a command that cannot be run', async (t) => {
      await startFails(t, { cmd: 'no-such-program' }, 'command-not-found')
      await startFails(t, { cmd: ['/etc/passwd'] }, 'permission-denied')
    })

    it('classifies a server that is refused by the hub', async (t) => {
      const say = '--say=Failed to connect to my Hub at http://127.0.0.1:8081/hub/api (attempt 5/5)'
      await startFails(t, { args: [say, '--exit=1'] }, 'hub-unreachable')
      const { spawner } = subject(t, { args: [say, '--never-listen'] })
      const start = spawner.start(AbortSignal.timeout(1_000))
      await assert.rejects(start, isStartFailed('hub-unreachable'))
    })

    it('tries other ports when the port is taken meanwhile, three in all', async (t) => {
      const args = ['--say=OSError: [Errno 98] Address already in use', '--exit=1']
      const { spawner, context } = subject(t, { args })
      const start = spawner.start(AbortSignal.timeout(startDeadline))
      await assert.rejects(start, isStartFailed('port-never-opened'))
      assert.equal(context.messages.filter((message) => message.startsWith('Starting')).length, 3)
    })

    it('does not send the user to a stranger that holds the port', async (t) => {
      const stranger = createServer().listen(0, '127.0.0.1')
      t.after(() => void stranger.close())
      await once(stranger, 'listening')
      const address = stranger.address()
      assert.ok(typeof address === 'object' && address)
      const { spawner } = subject(t, { args: ['--never-listen'], port: address.port })
      const start = spawner.start(AbortSignal.timeout(1_000))
      await assert.rejects(start, isStartFailed('port-never-opened'))
      assert.equal(await causeOf(spawner), 'stopped')
    })

    it('begins every run with an empty log and keeps the one before', async (t) => {
      const { spawner, context } = subject(t, { args: ['--say=up'] })
      for (const _ of [1, 2]) {
        await spawner.start(AbortSignal.timeout(startDeadline))
        assert.deepEqual(await spawner.tail?.(5), ['up'])
        await spawner.stop({ now: true })
      }
      assert.deepEqual(
        await create({ ...context, logFile: `${context.logFile}.1` }, {}).tail?.(5),
        ['up'],
      )
    })
  })
}

/** The identity among what a process spawner has saved. */
export function identityIn(saved: Json): ProcessIdentity {
  assert.ok(typeof saved === 'object' && saved !== null && 'identity' in saved)
  const identity = parseIdentity(saved['identity'])
  assert.ok(identity)
  return identity
}
