import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { header } from '../../authenticators/header.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
} from '../contracts/authenticator.ts'
import { authenticatorContext } from '../support/authenticator-context.ts'

const secret = '0123456789abcdef0123456789abcdef'
const options = { trustedPeers: ['10.1.0.0/16', 'fd00::7'], secret }
const right = {
  'x-forwarded-for': '192.0.2.9, 10.1.2.3',
  'x-remote-user': 'ada',
  'x-remote-user-secret': secret,
}

authenticatorContract('header', () => ({
  driver: header,
  options,
  right: () => ({ headers: right, userName: 'ada' }),
  wrong: () => ({ headers: { ...right, 'x-remote-user-secret': 'x' } }),
}))

describe('header', () => {
  async function login(
    t: TestContext,
    headers: Readonly<Record<string, string | undefined>>,
    given: object = options,
  ) {
    const context = await authenticatorContext(t, { manageGroups: true })
    const { authenticator } = await createAuthenticator(t, header, { ...given }, context)
    const verdict = await authenticator.authenticate(
      loginRequest({ headers: { ...right, ...headers }, form: { username: 'root' } }),
    )
    return verdict.kind === 'identified' ? verdict.identity : verdict.reason
  }

  it('believes only the front ends that are listed, by whom the proxy has seen last', async (t) => {
    for (const peers of ['10.1.2.3', 'fd00::7', '::ffff:10.1.0.1', '203.0.113.1, 10.1.2.3'])
      assert.deepEqual(await login(t, { 'x-forwarded-for': peers }), { userName: 'ada' })
    for (const peers of [
      '10.2.0.1',
      '10.1.2.3, 203.0.113.1',
      'fd00::8',
      '127.0.0.1',
      '',
      'unknown',
      '10.1.2.3,',
      undefined,
    ])
      assert.match(
        JSON.stringify(await login(t, { 'x-forwarded-for': peers })),
        /not in trustedPeers/,
      )
  })

  it('believes nobody who does not know the secret', async (t) => {
    for (const given of [undefined, '', secret.slice(1), `${secret} `])
      assert.match(JSON.stringify(await login(t, { 'x-remote-user-secret': given })), /secret/)
  })

  it('takes one name, in UTF-8, and nothing from the form', async (t) => {
    const utf8 = Buffer.from('zoé').toString('latin1')
    assert.deepEqual(await login(t, { 'x-remote-user': utf8 }), { userName: 'zoé' })
    for (const name of [undefined, '', '  ', 'zo\u00e9'])
      assert.match(
        JSON.stringify(await login(t, { 'x-remote-user': name })),
        /no x-remote-user header/,
      )
    assert.match(JSON.stringify(await login(t, { 'x-remote-user': 'ada, root' })), /more than one/)
  })

  it('takes groups from their header, and none is a list too', async (t) => {
    const given = { ...options, groupsHeader: 'X-Groups' }
    const found = async (groups: string | undefined) => {
      const identity = await login(t, { 'x-groups': groups }, given)
      return typeof identity === 'string' ? identity : identity.groups
    }
    assert.deepEqual(await found('lab, physics,'), ['lab', 'physics'])
    assert.deepEqual(await found(''), [])
    // Front ends leave out a header that would be empty: old groups must not stay for that.
    assert.deepEqual(await found(undefined), [])
    assert.match(JSON.stringify(await found('lab, zo\u00e9')), /x-groups is not UTF-8/)
  })

  it('starts only with front ends and a secret, and says what they must do', async (t) => {
    for (const given of [{}, { trustedPeers: [] }, { trustedPeers: ['10.0.0.0/33'] }])
      assert.equal(header.config.safeParse({ ...given, secret }).success, false)
    // Of these Node keeps the first value, which may be the browser's.
    for (const name of ['From', 'authorization', 'User-Agent'])
      for (const option of ['headerName', 'secretHeader', 'groupsHeader'])
        assert.equal(header.config.safeParse({ ...options, [option]: name }).success, false, name)
    const { trustedPeers } = options
    await assert.rejects(createAuthenticator(t, header, { trustedPeers }), /secret is required/)
    const { context } = await createAuthenticator(t, header, {
      trustedPeers,
      trustWithoutSecret: true,
    })
    assert.match(context.lines.join('\n'), /10\.1\.0\.0\/16, fd00::7 must drop x-remote-user/)
    await assert.rejects(
      createAuthenticator(t, header, { ...options, groupsHeader: 'x' }),
      /manageGroups/,
    )
  })
})
