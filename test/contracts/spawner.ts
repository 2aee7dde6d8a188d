import assert from 'node:assert/strict'
import { type TestContext, describe, it } from 'node:test'
import { type Json, type ServerContext, type Spawner, StartFailed } from 'portico/spawner'
import { type RecordedContext, recordedContext } from '../support/server-context.ts'
import { until } from '../support/until.ts'

/** How the suite makes a spawner of one kind. */
export interface SpawnerKind {
  /** The user whose servers are started; default `ada`. */
  readonly userName?: string
  /** A spawner that runs `test/support/single-user.mjs` with these arguments and has short graces. */
  readonly create: (context: ServerContext, serverArgs: readonly string[]) => Spawner
}

interface Subject {
  readonly spawner: Spawner
  readonly context: RecordedContext
}

const startDeadline = 10_000

/** What every spawner promises. Call it from the spawner's own test file. */
export function spawnerContract(name: string, { userName = 'ada', create }: SpawnerKind): void {
  function subject(
    t: TestContext,
    serverArgs: readonly string[] = [],
    overrides: Partial<ServerContext> = {},
  ): Subject {
    const context = recordedContext(t, { userName, ...overrides })
    return { context, spawner: create(context, serverArgs) }
  }

  describe(`${name} keeps the spawner contract`, () => {
    it('is not running before the first start, and stopping it then does nothing', async (t) => {
      const { spawner } = subject(t)
      assert.equal((await spawner.poll()).kind, 'exited')
      await spawner.stop({ now: false })
      assert.deepEqual(await spawner.tail?.(5), [])
    })

    it('serves from start until stop, and is not reported as ended by itself', async (t) => {
      const { spawner, context } = subject(t)
      const url = await spawner.start(AbortSignal.timeout(startDeadline))
      assert.equal(url.pathname, '/')
      assert.equal((await spawner.poll()).kind, 'running')
      const answer = await fetch(new URL(`/user/${userName}/api`, url))
      assert.equal(((await answer.json()) as { user: string }).user, userName)
      await spawner.stop({ now: false })
      assert.deepEqual(await causeOf(spawner), 'stopped')
      await assert.rejects(fetch(url))
      assert.deepEqual(context.exits, [])
    })

    it('starts nothing when the signal is aborted already', async (t) => {
      const { spawner, context } = subject(t)
      await assert.rejects(spawner.start(AbortSignal.abort()))
      assert.equal((await spawner.poll()).kind, 'exited')
      assert.equal(context.saved, null)
    })

    it('leaves nothing when the start is aborted while the server opens no port', async (t) => {
      const controller = new AbortController()
      const { spawner, context } = subject(t, ['--never-listen', '--say=up'])
      const start = spawner.start(controller.signal)
      const failed = assert.rejects(start, isStartFailed('port-never-opened'))
      await until('the server runs', async () => (await spawner.tail?.(1))?.includes('up'))
      assert.equal((await spawner.poll()).kind, 'running')
      controller.abort()
      await failed
      assert.equal((await spawner.poll()).kind, 'exited')
      assert.equal((await create(context, []).poll()).kind, 'exited')
      await spawner.stop({ now: false })
    })

    it('may be stopped twice, also at once', async (t) => {
      const { spawner } = subject(t)
      await spawner.start(AbortSignal.timeout(startDeadline))
      await Promise.all([spawner.stop({ now: false }), spawner.stop({ now: true })])
      await spawner.stop({ now: true })
      assert.equal((await spawner.poll()).kind, 'exited')
    })

    it('saves before the server can do anything', async (t) => {
      const tails: unknown[] = []
      const save = async () => void tails.push(await spawner.tail?.(5))
      const { spawner } = subject(t, ['--say=begun'], { save })
      await spawner.start(AbortSignal.timeout(startDeadline))
      assert.deepEqual(tails[0], [])
      assert.deepEqual(await spawner.tail?.(5), ['begun'])
      await spawner.stop({ now: true })
    })

    it('starts nothing that cannot be saved', async (t) => {
      const save = () => Promise.reject(new Error('disk full'))
      const { spawner } = subject(t, ['--say=begun'], { save })
      await assert.rejects(spawner.start(AbortSignal.timeout(startDeadline)), /disk full/)
      assert.equal((await spawner.poll()).kind, 'exited')
      assert.deepEqual(await spawner.tail?.(5), [])
    })

    it('saves nothing secret', async (t) => {
      const { spawner, context } = subject(t)
      await spawner.start(AbortSignal.timeout(startDeadline))
      const token = context.env(new URL('http://127.0.0.1:1'))['JUPYTERHUB_API_TOKEN'] ?? ''
      assert.ok(token)
      assert.equal(JSON.stringify(context.saved).includes(token), false)
      await spawner.stop({ now: true })
    })

    it('finds the server again from what was saved, and stops it', async (t) => {
      const { spawner, context } = subject(t)
      const url = await spawner.start(AbortSignal.timeout(startDeadline))
      const again = create(
        { ...context, saved: JSON.parse(JSON.stringify(context.saved)) as Json },
        [],
      )
      assert.equal((await again.poll()).kind, 'running')
      await again.stop({ now: false })
      assert.equal((await again.poll()).kind, 'exited')
      await assert.rejects(fetch(url))
      assert.equal((await create({ ...context }, []).poll()).kind, 'exited')
    })

    it('does not take what it cannot read for an ended server', async (t) => {
      const { spawner } = subject(t, [], { saved: { from: 'a newer version' } })
      assert.equal((await spawner.poll()).kind, 'unknown')
    })

    it('ends a server that ignores polite signals', async (t) => {
      const { spawner } = subject(t, ['--stubborn'])
      const url = await spawner.start(AbortSignal.timeout(startDeadline))
      await spawner.stop({ now: false })
      assert.equal((await spawner.poll()).kind, 'exited')
      await assert.rejects(fetch(url))
    })

    it('says why a start has failed, with the last lines of the log', async (t) => {
      const { spawner } = subject(t, ['--exit=3', '--say=sorry'])
      const start = spawner.start(AbortSignal.timeout(startDeadline))
      await assert.rejects(start, (error) => {
        return (
          error instanceof StartFailed && error.exit.cause === 'exited' && error.exit.code === 3
        )
      })
      assert.deepEqual(await spawner.tail?.(1), ['sorry'])
      assert.equal(await causeOf(spawner), 'exited')
    })

    it('can be started again', async (t) => {
      const { spawner } = subject(t)
      await spawner.start(AbortSignal.timeout(startDeadline))
      await spawner.stop({ now: true })
      const second = await spawner.start(AbortSignal.timeout(startDeadline))
      assert.equal((await fetch(new URL(`/user/${userName}/`, second))).status, 200)
      await spawner.stop({ now: true })
      assert.equal(await causeOf(spawner), 'stopped')
    })
  })
}

/** Why the server is not running; fails when it does. */
export async function causeOf(spawner: Spawner): Promise<string> {
  const result = await spawner.poll()
  assert.equal(result.kind, 'exited')
  return result.kind === 'exited' ? result.exit.cause : ''
}

/** For `assert.rejects`: a StartFailed with this cause. */
export function isStartFailed(cause: string): (error: unknown) => boolean {
  return (error) => error instanceof StartFailed && error.exit.cause === cause
}
