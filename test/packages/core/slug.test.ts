import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { displayName, isSafeSlug, readableSlug, safeSlug } from '../../../packages/core/slug.ts'

const digest = (name: string): string => createHash('sha256').update(name).digest('hex').slice(0, 8)

describe('names of servers', () => {
  for (const name of ['a', 'a1', 'a-1', 'x'.repeat(30), 'a-b-c'])
    it(`may be ${name}`, () => assert.ok(isSafeSlug(name)))

  for (const name of ['', '1a', '-a', 'a-', 'a--b', 'A', 'a_b', 'a/b', 'a b', 'é', 'x'.repeat(31)])
    it(`may not be ${JSON.stringify(name)}`, () => assert.ok(!isSafeSlug(name)))

  const cases: readonly (readonly [name: string, stem: string, readable: string])[] = [
    ['My Server', 'my-server', 'my-server'],
    ['Ünï Côde', 'uni-code', 'uni-code'],
    ['123', 'x-123', 'x-123'],
    ['---', 'x', 'x'],
    ['', 'x', 'x'],
    ['user@example.org', 'user-example-org', 'user-example-org'],
    ['a--b', 'a-b', 'a-b'],
    ['日本語', 'x', 'x'],
    ['x'.repeat(40), 'x'.repeat(21), 'x'.repeat(30)],
  ]
  for (const [name, stem, readable] of cases)
    it(`come from ${JSON.stringify(name)} by dropping what is not allowed`, () => {
      assert.equal(safeSlug(name), `${stem}-${digest(name)}`)
      assert.equal(readableSlug(name), readable)
      assert.ok(isSafeSlug(safeSlug(name)) && isSafeSlug(readable))
    })

  it('stay as they are when they are plain', () => {
    for (const name of ['jupyter', 'a1', 'x'.repeat(30)]) assert.equal(safeSlug(name), name)
  })
})

describe('display names', () => {
  it('are composed', () => assert.equal(displayName('e\u0301'), 'é'))

  for (const name of ['', ' a', 'a ', 'a  b', 'a\nb', 'a\u00a0b', 'a\u200bb', 'x'.repeat(256)])
    it(`may not be ${JSON.stringify(name.slice(0, 10))} for a new server`, () =>
      assert.equal(displayName(name), null))

  it('of known servers may hold more spaces, but nothing that cannot be seen', () => {
    assert.equal(displayName('a  b', 'known'), 'a  b')
    assert.equal(displayName('a\nb', 'known'), null)
  })
})
