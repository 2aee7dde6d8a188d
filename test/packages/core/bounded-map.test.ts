import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { BoundedMap } from '../../../packages/core/bounded-map.ts'

type Step =
  | { readonly kind: 'set'; readonly key: number }
  | { readonly kind: 'delete'; readonly key: number }
  | { readonly kind: 'clear' }

const key = fc.integer({ min: 0, max: 12 })
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('set' as const), key }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('clear' as const) }) },
)

describe('a bounded map', () => {
  it('holds the entries that were set last, whatever is deleted in between', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), fc.array(step), (capacity, steps) => {
        const map = new BoundedMap<number, number>(capacity)
        let wanted: [number, number][] = []
        for (const [index, taken] of steps.entries()) {
          if (taken.kind === 'clear') {
            map.clear()
            wanted = []
            continue
          }
          wanted = wanted.filter(([held]) => held !== taken.key)
          if (taken.kind === 'delete') {
            map.delete(taken.key)
            continue
          }
          wanted.push([taken.key, index])
          const gone = wanted.length > capacity ? wanted.shift()?.[0] : undefined
          assert.equal(map.set(taken.key, index), gone)
        }
        assert.deepEqual([...map.entries()], wanted)
        assert.equal(map.size, wanted.length)
        for (const [held, value] of wanted) assert.equal(map.get(held), value)
      }),
    )
  })

  it('keeps nothing of values that others have taken the place of, also while it has room', async () => {
    const map = new BoundedMap<number, object>(1_000)
    const values: WeakRef<object>[] = []
    for (let index = 0; index < 5_000; index += 1) {
      const value = { index }
      values.push(new WeakRef(value))
      map.set(index % 20, value)
    }
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    await turn()
    collect()
    const held = values.filter((value) => value.deref() !== undefined).length
    assert.ok(held >= 20 && held < 200, `${held} values`)
    assert.equal(map.size, 20)
  })
})
