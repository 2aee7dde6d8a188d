import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { sharedPassword } from '../../authenticators/shared-password.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
} from '../contracts/authenticator.ts'
import { authenticatorContext, type RecordedOptions } from '../support/authenticator-context.ts'

const userPassword = 'workshop-2026'
const adminPassword = 'a long password for the few who run this'

authenticatorContract('shared-password', () => ({
  driver: sharedPassword,
  options: { userPassword },
  right: () => ({ form: { username: 'ada', password: userPassword }, userName: 'ada' }),
  wrong: () => ({ form: { username: 'ada', password: 'another-one' } }),
}))

describe('shared-password', () => {
  async function kinds(t: TestContext, options: object, given: RecordedOptions = {}) {
    const context = await authenticatorContext(t, { admins: ['grace'], ...given })
    const { authenticator } = await createAuthenticator(t, sharedPassword, { ...options }, context)
    return async (username: string, password: string) => {
      const verdict = await authenticator.authenticate(
        loginRequest({ form: { username, password } }),
      )
      return verdict.kind === 'identified' ? verdict.identity : null
    }
  }

  it('has one password for users, another for admins, and neither works for the others', async (t) => {
    const login = await kinds(t, { userPassword, adminPassword })
    assert.deepEqual(await login('ada', userPassword), { userName: 'ada', admin: false })
    assert.deepEqual(await login('grace', adminPassword), { userName: 'grace', admin: true })
    assert.equal(await login('ada', adminPassword), null)
    for (const name of ['grace', 'GRACE', 'ｇrace'])
      assert.equal(await login(name, userPassword), null)
  })

  it('lets nobody in whose password is not set', async (t) => {
    const users = await kinds(t, { userPassword })
    const admins = await kinds(t, { adminPassword })
    for (const password of ['', 'undefined', userPassword, adminPassword]) {
      assert.equal(await users('grace', password), null)
      assert.equal(await admins('ada', password), null)
    }
  })

  it('puts those who use a password of a group into it', async (t) => {
    const passwordGroups = [{ password: 'for-physics', groups: ['physics', 'lab'] }]
    const options = { userPassword, passwordGroups }
    const login = await kinds(t, options, { manageGroups: true })
    assert.deepEqual((await login('ada', 'for-physics'))?.groups, ['physics', 'lab'])
    assert.deepEqual((await login('ada', userPassword))?.groups, [])
    assert.equal(await login('grace', 'for-physics'), null)
    await assert.rejects(kinds(t, options), /manageGroups/)
  })

  it('refuses passwords that are short, the same or missing', () => {
    for (const [options, text] of [
      [{}, /nobody could log in/],
      [{ userPassword: 'short' }, /8 characters/],
      [{ userPassword, adminPassword: userPassword }, /32 characters/],
      [{ userPassword: adminPassword, adminPassword }, /must differ/],
    ] as const) {
      const { error } = sharedPassword.config.safeParse(options)
      assert.match(error?.issues.map(({ message }) => message).join('\n') ?? '', text)
    }
  })

  it('says at start that names prove nothing', async (t) => {
    const { context } = await createAuthenticator(t, sharedPassword, { userPassword })
    assert.match(context.lines.join('\n'), /^warn .*whomever they like/)
  })
})
