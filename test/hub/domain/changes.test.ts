import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Changes } from '../../../hub/domain/changes.ts'

describe('a change', () => {
  it('makes stale what was read before it, and nothing that is read after it', () => {
    const changes = new Changes()
    const before = changes.now
    changes.touchRights(1)
    assert.ok(changes.rightsOf(1) > before)
    assert.ok(changes.rightsOf(1) <= changes.now)
  })

  it('of one owner leaves the others alone', () => {
    const changes = new Changes()
    const before = changes.now
    changes.touchRights(1)
    changes.touchService(1)
    assert.ok(changes.rightsOf(2) <= before)
    assert.ok(changes.factsOf(2) <= before)
    assert.ok(changes.serviceOf(2) <= before)
  })

  it('of rights is one of facts, but not the other way round', () => {
    const changes = new Changes()
    const before = changes.now
    changes.touchRights(1)
    changes.touchFacts(2)
    assert.ok(changes.factsOf(1) > before)
    assert.ok(changes.factsOf(2) > before)
    assert.ok(changes.rightsOf(2) <= before)
  })

  it('of everything reaches every owner, also those who changed before', () => {
    const changes = new Changes()
    changes.touchRights(1)
    const before = changes.now
    changes.touchAll()
    for (const moment of [changes.rightsOf(1), changes.factsOf(7), changes.serviceOf(3)])
      assert.ok(moment > before)
  })

  it('is never lost when more owners change than are remembered', () => {
    const changes = new Changes()
    const before = changes.now
    const ids = Array.from({ length: 250_000 }, (_, id) => id)
    changes.touchFacts(...ids.slice(0, 100_000))
    changes.touchFacts(...ids.slice(100_000, 200_000))
    changes.touchFacts(...ids.slice(200_000))
    assert.ok(ids.every((id) => changes.factsOf(id) > before))
  })
})
