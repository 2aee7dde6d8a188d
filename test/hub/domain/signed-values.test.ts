import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { sameText, signValue, verifyValue } from '../../../hub/domain/signed-values.ts'

/** Written by tornado 6.2's `create_signed_value(key, name, value, version=2)` at this time. */
const key = Buffer.from(Array.from({ length: 32 }, (_, index) => index))
const seconds = 1_795_299_889
const vectors = [
  {
    name: 'jupyterhub-hub-login',
    value: '0123456789abcdef0123456789abcdef',
    signed:
      '2|1:0|10:1795299889|20:jupyterhub-hub-login|44:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=|3fd9fbc0d187b6778de90f987f4eafc340eb92ce15caae437c516a041fcf3fdb',
  },
  {
    name: '_xsrf',
    value: 'None:Tfu8zSn6KvO6yMwZVbbhEvvhZgdVKegMP4I-yHpvDsQ=',
    signed:
      '2|1:0|10:1795299889|5:_xsrf|68:Tm9uZTpUZnU4elNuNkt2TzZ5TXdaVmJiaEV2dmhaZ2RWS2VnTVA0SS15SHB2RHNRPQ==|5bcf83c726a920fa1004120c36faa9657e523aa72fe08e16f7687553a4fb4cd7',
  },
  {
    name: 'empty',
    value: '',
    signed:
      '2|1:0|10:1795299889|5:empty|0:|fd9e43494dc4d0c94bda9115976c3493cdf345658af29e89886ceb2c266bf17f',
  },
]
const signedAt = new Date(seconds * 1000)
const after = (days: number) => ({
  maxAgeDays: 14,
  now: new Date((seconds + days * 86_400) * 1000),
})

describe('a signed value', () => {
  for (const { name, value, signed } of vectors) {
    it(`is byte for byte tornado's for ${name}`, () => {
      assert.equal(signValue(key, name, value, signedAt), signed)
    })
    it(`of tornado is read for ${name}`, () => {
      assert.equal(verifyValue(key, name, signed, after(1)), value)
    })
  }

  const [login] = vectors
  const { name = '', value = '', signed = '' } = login ?? {}

  it('ends with its age, and does not come from the far future', () => {
    assert.equal(verifyValue(key, name, signed, after(13.9)), value)
    assert.equal(verifyValue(key, name, signed, after(14.1)), null)
    assert.equal(verifyValue(key, name, signed, after(-30)), value)
    assert.equal(verifyValue(key, name, signed, after(-32)), null)
  })

  it('is worthless under another key or another name', () => {
    assert.equal(verifyValue(Buffer.alloc(32, 7), name, signed, after(1)), null)
    assert.equal(verifyValue(key, '_xsrf', signed, after(1)), null)
  })

  it('is worthless with any one character changed, dropped or added', () => {
    for (let at = 0; at < signed.length; at += 1) {
      const other = signed[at] === 'a' ? 'b' : 'a'
      for (const put of [other, '', `${signed[at]}${other}`]) {
        const forged = signed.slice(0, at) + put + signed.slice(at + 1)
        assert.equal(verifyValue(key, name, forged, after(1)), null, forged)
      }
    }
  })

  it('does not throw on what is none', () => {
    const odd = [
      '',
      '2|',
      '2||',
      '1|x|y',
      '2|1:0',
      '|',
      '2|-1:x|',
      `2|${'9'.repeat(5000)}:`,
      '\u0000',
    ]
    for (const text of odd) assert.equal(verifyValue(key, name, text, after(1)), null, text)
  })

  it('keeps any text', () => {
    for (const text of ['|', 'é\u{1f600}', '\u0000', 'a'.repeat(1000)])
      assert.equal(verifyValue(key, 'n', signValue(key, 'n', text, signedAt), after(0)), text)
  })
})

describe('comparing secrets', () => {
  it('takes texts of any length', () => {
    assert.ok(sameText('same', 'same'))
    for (const other of ['', 'sam', 'same ', 'samé', 's'.repeat(10_000)])
      assert.ok(!sameText('same', other))
  })
})
