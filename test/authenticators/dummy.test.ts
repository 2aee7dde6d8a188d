import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { dummy } from '../../authenticators/dummy.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
} from '../contracts/authenticator.ts'

authenticatorContract('dummy', () => ({
  driver: dummy,
  options: { password: 'correct horse' },
  right: () => ({ form: { username: 'ada', password: 'correct horse' }, userName: 'ada' }),
  wrong: () => ({ form: { username: 'ada', password: 'wrong horse' } }),
}))

describe('dummy', () => {
  it('takes any password when there is none', async (t) => {
    const { authenticator } = await createAuthenticator(t, dummy, {})
    const verdict = await authenticator.authenticate(loginRequest({ form: { username: 'ada' } }))
    assert.equal(verdict.kind, 'identified')
  })

  it('is known as made for tests', () => {
    assert.equal(dummy.insecure, true)
  })
})
