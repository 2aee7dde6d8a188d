import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LoginGuard } from '../../../hub/domain/login-guard.ts'
import type { Throttle } from '../../../hub/metrics.ts'
import { HubError } from '../../../packages/core/errors.ts'

/** A guard that answers at once, and a clock that the test moves. */
function subject(freeFailures = 3) {
  let now = 1_000
  const throttles: Throttle[] = []
  const told: string[] = []
  const guard = new LoginGuard({
    refusalTime: 0,
    freeFailures,
    throttled: (name, peer) => told.push(`${name} ${peer}`),
    metrics: { loginThrottled: (by) => throttles.push(by) },
    clock: () => now,
  })
  const fail = async (name: string | null, peer: string) => {
    using attempt = guard.begin(name, peer)
    await attempt.refused(AbortSignal.timeout(60_000))
  }
  /** Seconds to wait; 0 when the attempt may go on. */
  const waitOf = (name: string | null, peer: string): number => {
    try {
      guard.begin(name, peer)[Symbol.dispose]()
      return 0
    } catch (error) {
      assert.ok(error instanceof HubError && error.code === 'too_many_requests')
      return error.retryAfter ?? -1
    }
  }
  const pass = (ms: number) => (now += ms)
  return { guard, throttles, told, fail, waitOf, pass }
}

describe('the guard of logins', () => {
  it('lets one address wait longer and longer for one name, and tells of it once', async () => {
    const { fail, waitOf, pass, told, throttles } = subject()
    for (let count = 0; count < 3; count += 1) await fail('Ada', 'a')
    for (const wait of [1, 2, 4, 8, 16, 30, 30]) {
      assert.equal(waitOf('ada', 'a'), wait)
      pass(wait * 1_000)
      assert.equal(waitOf('ada', 'a'), 0)
      await fail('ada', 'a')
    }
    assert.deepEqual(told, ['Ada a'])
    assert.deepEqual(new Set(throttles), new Set(['name_and_address']))
    assert.deepEqual([waitOf('ada', 'b'), waitOf('bob', 'a')], [0, 0])
  })

  it('forgets after a success, and after a quarter of an hour', async () => {
    const { guard, fail, waitOf, pass } = subject()
    for (let count = 0; count < 3; count += 1) await fail('ada', 'a')
    pass(2_000)
    const attempt = guard.begin('ada', 'a')
    attempt.succeeded()
    attempt[Symbol.dispose]()
    await fail('ada', 'a')
    assert.equal(waitOf('ada', 'a'), 0)
    for (let count = 0; count < 3; count += 1) {
      pass(60_000)
      await fail('ada', 'a')
    }
    pass(901_000)
    await fail('ada', 'a')
    assert.equal(waitOf('ada', 'a'), 0)
  })

  it('lets an address wait a little that fails under many names, or under none', async () => {
    const { fail, waitOf, pass, throttles } = subject()
    for (let count = 0; count < 15; count += 1) await fail(`name ${count}`, 'a')
    for (let count = 0; count < 15; count += 1) await fail(null, 'a')
    assert.equal(waitOf('somebody', 'a'), 1)
    assert.equal(waitOf(null, 'a'), 1)
    assert.deepEqual(new Set(throttles), new Set(['address']))
    assert.deepEqual([waitOf('somebody', 'b'), waitOf('', 'a')], [0, 0])
    for (let count = 0; count < 9; count += 1) {
      pass(10_000)
      await fail(`other ${count}`, 'a')
    }
    assert.equal(waitOf('somebody', 'a'), 5)
  })

  it('slows a name at which many addresses guess, and never refuses it', async () => {
    const { fail, waitOf, throttles } = subject(1)
    for (let count = 0; count < 11; count += 1) await fail('ada', `address ${count}`)
    assert.equal(waitOf('ada', 'home'), 0)
    assert.deepEqual(throttles, ['name'])
  })

  it('remembers no more than so many', async () => {
    const { fail, waitOf } = subject(1)
    for (let count = 0; count < 10_001; count += 1) await fail(`name ${count}`, `${count}`)
    assert.equal(waitOf('name 0', '0'), 0)
    assert.equal(waitOf('name 10000', '10000'), 1)
  })

  it('is none where nothing is to be counted', async () => {
    const { fail, waitOf } = subject(0)
    for (let count = 0; count < 50; count += 1) await fail('ada', 'a')
    assert.equal(waitOf('ada', 'a'), 0)
  })

  it('sends away who comes while a thousand others are logging in', () => {
    const { guard, throttles } = subject()
    const under = Array.from({ length: 1_000 }, (_, index) => guard.begin(`${index}`, `${index}`))
    assert.throws(() => guard.begin('ada', 'b'), { code: 'unavailable', retryAfter: 1 })
    assert.deepEqual(throttles, ['load'])
    for (const attempt of under) attempt[Symbol.dispose]()
    guard.begin('ada', 'b')[Symbol.dispose]()
  })

  it('takes a network of one site for one address', async () => {
    const { fail, waitOf } = subject()
    for (const peer of ['2001:db8:1:2::1', '2001:DB8:1:2:ffff::2', '2001:db8:1:2:a:b:c:d'])
      await fail('ada', peer)
    assert.equal(waitOf('ada', '2001:db8:1:2:9::9'), 1)
    assert.equal(waitOf('ada', '2001:db8:1:3::1'), 0)
    for (const peer of ['192.0.2.7', '::ffff:192.0.2.7', '::FFFF:192.0.2.7'])
      await fail('bob', peer)
    assert.equal(waitOf('bob', '192.0.2.7'), 1)
    assert.equal(waitOf('bob', '::ffff:192.0.2.8'), 0)
  })

  it('lets nobody guess more often by guessing at once', async () => {
    const { guard, fail, waitOf } = subject()
    const open = [1, 2, 3].map(() => guard.begin('ada', 'a'))
    assert.equal(waitOf('ada', 'a'), 1)
    assert.deepEqual([waitOf('Ada', 'b'), waitOf('bob', 'a')], [0, 0])
    for (const attempt of open) attempt[Symbol.dispose]()
    assert.equal(waitOf('ada', 'a'), 0)
    await fail('ada', 'a')
    await fail('ada', 'a')
    using _one = guard.begin('ada', 'a')
    assert.equal(waitOf('ada', 'a'), 1)
  })

  it('does not give all its places to one address', () => {
    const { guard } = subject()
    const open: Disposable[] = []
    const fill = (peer: string): number => {
      const before = open.length
      try {
        for (;;) open.push(guard.begin(`name-${open.length}`, peer))
      } catch (error) {
        assert.ok(error instanceof HubError && error.code === 'unavailable')
        return open.length - before
      }
    }
    const first = fill('a')
    assert.ok(first >= 100 && first < 1_000, `${first} places`)
    assert.equal(fill('b'), first)
    for (const attempt of open.splice(0)) attempt[Symbol.dispose]()
    assert.equal(fill('a'), first)
  })
})
