import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { HubError } from '../../../packages/core/errors.ts'
import { LoginGuard } from '../../../hub/domain/login-guard.ts'

const signal = AbortSignal.timeout(60_000)

function subject(freeFailures = 3) {
  const guard = new LoginGuard({ refusalTime: 0, freeFailures, throttled: () => {} })
  const fail = async (name: string, peer: string): Promise<void> => {
    using attempt = guard.begin(name, peer)
    await attempt.refused(signal)
  }
  const mustWait = (name: string, peer: string): boolean => {
    try {
      guard.begin(name, peer)[Symbol.dispose]()
      return false
    } catch (error) {
      return error instanceof HubError && error.code === 'too_many_requests'
    }
  }
  return { guard, fail, mustWait }
}

describe('the login guard', () => {
  it('takes a network of one site for one address', async () => {
    const { fail, mustWait } = subject()
    for (const peer of ['2001:db8:1:2::1', '2001:DB8:1:2:ffff::2', '2001:db8:1:2:a:b:c:d'])
      await fail('ada', peer)
    assert.equal(mustWait('ada', '2001:db8:1:2:9::9'), true)
    assert.equal(mustWait('ada', '2001:db8:1:3::1'), false)
    for (const peer of ['192.0.2.7', '::ffff:192.0.2.7', '::FFFF:192.0.2.7'])
      await fail('bob', peer)
    assert.equal(mustWait('bob', '192.0.2.7'), true)
    assert.equal(mustWait('bob', '::ffff:192.0.2.8'), false)
  })

  it('lets nobody guess more often by guessing at once', async () => {
    const { guard, fail, mustWait } = subject()
    const [peer, elsewhere] = ['192.0.2.1', '192.0.2.2']
    const open = [1, 2, 3].map(() => guard.begin('ada', peer))
    assert.equal(mustWait('ada', peer), true)
    assert.equal(mustWait('Ada', elsewhere), false)
    assert.equal(mustWait('bob', peer), false)
    for (const attempt of open) attempt[Symbol.dispose]()
    assert.equal(mustWait('ada', peer), false)
    await fail('ada', peer)
    await fail('ada', peer)
    using _one = guard.begin('ada', peer)
    assert.equal(mustWait('ada', peer), true)
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
    const first = fill('192.0.2.1')
    assert.ok(first >= 100 && first < 1_000, `${first} places`)
    assert.equal(fill('192.0.2.2'), first)
    for (const attempt of open.splice(0)) attempt[Symbol.dispose]()
    assert.equal(fill('192.0.2.1'), first)
  })
})
