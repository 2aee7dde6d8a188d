import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { fernet } from '../../../hub/store/fernet.ts'

const [older, newer] = [randomBytes(32), randomBytes(32)]
const secret = Buffer.from('{"access_token":"été"}')

describe('what is encrypted at rest', () => {
  it('is read with any of the keys, and written with the first', () => {
    const old = fernet([older])?.encrypt(secret)
    assert.ok(old)
    assert.ok(!old.includes('access_token'))
    assert.deepEqual(fernet([newer, older])?.decrypt(old), secret)
    assert.equal(fernet([newer])?.decrypt(old), null)
    const rotated = fernet([newer, older])?.encrypt(secret)
    assert.ok(rotated)
    assert.deepEqual(fernet([newer])?.decrypt(rotated), secret)
  })

  it('is not accepted when a bit of it has changed', () => {
    const cipher = fernet([older])
    const token = cipher?.encrypt(secret)
    assert.ok(cipher && token)
    const bytes = Buffer.from(token.toString('latin1'), 'base64url')
    for (let index = 0; index < bytes.length; index += 1) {
      const changed = Buffer.from(bytes)
      changed[index] = (changed[index] ?? 0) ^ 1
      assert.equal(cipher.decrypt(Buffer.from(changed.toString('base64url'))), null, `${index}`)
    }
    for (const text of ['', 'gAAAAA', '\0', token.subarray(4).toString()])
      assert.equal(cipher.decrypt(Buffer.from(text)), null)
  })

  it('cannot be kept without a key', () => {
    assert.equal(fernet([]), null)
  })

  const python = spawnSync('python3', ['-c', 'import cryptography.fernet']).status === 0
  const skip = python ? false : 'needs python3-cryptography'
  it('is what JupyterHub reads and writes', { skip }, () => {
    const script = `
import sys, base64
from cryptography.fernet import Fernet
f = Fernet(base64.urlsafe_b64encode(bytes.fromhex(sys.argv[1])))
print(f.decrypt(sys.argv[2].encode()).decode())
print(f.encrypt(b'from python').decode())`
    const cipher = fernet([older])
    const token = cipher?.encrypt(secret).toString('latin1') ?? ''
    const output = execFileSync('python3', ['-c', script, older.toString('hex'), token], {
      encoding: 'utf8',
    })
    const [read, written = ''] = output.trim().split('\n')
    assert.equal(read, secret.toString())
    assert.equal(cipher?.decrypt(Buffer.from(written))?.toString(), 'from python')
  })
})
