import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PasswordHasher } from '../../authenticators/password-hash.ts'
import { passwordProblem } from '../../authenticators/password-rules.ts'
import { HubError } from '../../packages/core/errors.ts'

describe('stored passwords', () => {
  const hasher = new PasswordHasher()

  it('match the whole password in any spelling of its letters, and nothing else', async () => {
    const password = `${'x'.repeat(90)}pässwörd`
    const stored = await hasher.hash(password)
    assert.match(stored, /^\$scrypt\$ln=15,r=8,p=3\$[\w+/]{22}\$[\w+/]{43}$/)
    assert.equal(await hasher.matches(password.normalize('NFD'), stored), true)
    for (const other of ['', password.slice(0, 90), `${password}!`, password.toUpperCase()])
      assert.equal(await hasher.matches(other, stored), false)
    assert.notEqual(await hasher.hash(password), stored)
    assert.equal(await hasher.matches('', null), false)
  })

  it('of lower cost are known as such', async () => {
    const stored = await hasher.hash('correct horse')
    assert.equal(hasher.isOutdated(stored), false)
    assert.equal(hasher.isOutdated(stored.replace('ln=15', 'ln=14')), true)
  })

  it('are checked a few at a time, and too many are refused rather than kept', async () => {
    const quick = new PasswordHasher(12)
    const all = await Promise.allSettled(Array.from({ length: 40 }, () => quick.matches('x', null)))
    const refused = all.filter((result) => result.status === 'rejected')
    assert.equal(refused.length, 6)
    for (const { reason } of refused)
      assert.ok(reason instanceof HubError && reason.code === 'unavailable' && reason.retryAfter)
    assert.equal(await quick.matches('x', null), false)
  })
})

describe('new passwords', () => {
  const problem = (password: string, repeated = password) =>
    passwordProblem(
      { minimumPasswordLength: 8, checkCommonPassword: true },
      { name: 'ada-lovelace', password, repeated },
    )

  it('are refused when anybody would try them first', () => {
    for (const password of [
      'short',
      'Password',
      'password123!',
      'Jupyter2026',
      '12345678',
      '98765432',
      'aaaaaaaaa',
      'abcabcabc',
      'ada-lovelace1',
      '2026-11-22',
      'x'.repeat(1_025),
      'nul\0in the middle',
    ])
      assert.notEqual(problem(password), null, password)
    assert.notEqual(problem('correct horse', 'correct house'), null)
  })

  it('are taken otherwise', () => {
    for (const password of [
      'correct horse',
      'gr8 expectations',
      'Zürich-3-Enten',
      '日本語のパスワード',
    ])
      assert.equal(problem(password), null, password)
  })
})
