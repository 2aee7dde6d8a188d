import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LoginDelays } from '../../authenticators/login-delays.ts'
import { HubError } from '../../packages/core/errors.ts'

const isSlow = (error: unknown): boolean =>
  error instanceof HubError && error.code === 'too_many_requests' && (error.retryAfter ?? 0) >= 1

describe('delays of logins', () => {
  function subject() {
    let now = 1_000
    const delays = new LoginDelays({ free: 3, longest: 60_000, clock: () => now })
    const fail = (times: number, address = 'a') => {
      for (let index = 0; index < times; index += 1) delays.failed('ada', address)
    }
    const pass = (ms: number) => (now += ms)
    const refuses = (name: string, address: string): boolean => {
      try {
        delays.check(name, address)
        return false
      } catch (error) {
        assert.ok(isSlow(error))
        return true
      }
    }
    return { delays, fail, pass, refuses }
  }

  it('begin after the free failures and grow to their limit', () => {
    const { fail, pass, refuses } = subject()
    fail(2)
    assert.equal(refuses('ada', 'a'), false)
    fail(1)
    assert.equal(refuses('ada', 'a'), true)
    pass(501)
    assert.equal(refuses('ada', 'a'), false)
    fail(20)
    pass(59_000)
    assert.equal(refuses('ada', 'a'), true)
    pass(1_001)
    assert.equal(refuses('ada', 'a'), false)
  })

  it('never refuse the owner, who comes from elsewhere, and hold them for seconds at most', async (t) => {
    const { delays, fail, refuses } = subject()
    fail(1_000)
    assert.equal(refuses('ada', 'b'), false)
    assert.equal(refuses('grace', 'a'), false)
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let isOver = false
    const slowed = delays.slow('ada', new AbortController().signal).then(() => (isOver = true))
    t.mock.timers.tick(2_999)
    await Promise.resolve()
    assert.equal(isOver, false)
    t.mock.timers.tick(1)
    await slowed
    await delays.slow('grace', new AbortController().signal)
  })

  it('are over after a success, and after a quarter of an hour', () => {
    const { delays, fail, pass, refuses } = subject()
    fail(9)
    delays.succeeded('ada', 'a')
    assert.equal(refuses('ada', 'a'), false)
    fail(9)
    pass(901_000)
    assert.equal(refuses('ada', 'a'), false)
    fail(1)
    assert.equal(refuses('ada', 'a'), false)
  })

  it('do not grow with the number of names', () => {
    const { delays, refuses } = subject()
    for (let index = 0; index < 30_000; index += 1)
      for (let times = 0; times < 4; times += 1) delays.failed(`name ${index}`, 'a')
    assert.equal(refuses('name 0', 'a'), false)
    assert.equal(refuses('name 29999', 'a'), true)
  })
})
