import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { fromBase32, toBase32, totpStep, totpUri } from '../../authenticators/totp.ts'

const secret = Buffer.from('12345678901234567890')
const at = (seconds: number): Date => new Date(seconds * 1_000)

describe('one-time codes', () => {
  it('are those of RFC 6238, appendix B', () => {
    for (const [seconds, code] of [
      [59, '287082'],
      [1_111_111_109, '081804'],
      [1_111_111_111, '050471'],
      [1_234_567_890, '005924'],
      [2_000_000_000, '279037'],
      [20_000_000_000, '353130'],
    ] as const)
      assert.equal(totpStep(secret, code, at(seconds)), Math.floor(seconds / 30))
  })

  it('are good for the step before and the step after, and typed with a gap', () => {
    for (const seconds of [30, 59, 89]) assert.equal(totpStep(secret, '287 082', at(seconds)), 1)
    for (const seconds of [91, 200]) assert.equal(totpStep(secret, '287082', at(seconds)), null)
  })

  it('are six digits and nothing else', () => {
    for (const code of ['', '28708', '2870820', '28708a', '２８７０８２', '-87082', '287082\0'])
      assert.equal(totpStep(secret, code, at(59)), null)
  })

  it('come from secrets that apps can read', () => {
    assert.equal(toBase32(secret), 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ')
    for (let length = 1; length < 30; length += 1) {
      const bytes = randomBytes(length)
      assert.deepEqual(fromBase32(toBase32(bytes)), bytes)
    }
    for (const text of ['', 'gezd', 'A=', 'A 1', '018']) assert.equal(fromBase32(text), null)
    assert.equal(
      totpUri(secret, 'a&b'),
      'otpauth://totp/Portico%3Aa%26b?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Portico',
    )
  })
})
