import assert from 'node:assert/strict'
import { createHmac, randomBytes } from 'node:crypto'
import { before, describe, it, type TestContext } from 'node:test'
import type { Authenticator, AuthenticatorPage, RouteVisit } from 'portico/authenticator'
import { native } from '../../authenticators/native.ts'
import { PasswordHasher } from '../../authenticators/password-hash.ts'
import { fromBase32 } from '../../authenticators/totp.ts'
import { fernet } from '../../hub/store/fernet.ts'
import { HubError } from '../../packages/core/errors.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
} from '../contracts/authenticator.ts'
import {
  authenticatorContext,
  type RecordedContext,
  type RecordedOptions,
} from '../support/authenticator-context.ts'

const password = 'correct horse'
let passwordHash = ''
before(async () => {
  passwordHash = await new PasswordHasher(12).hash(password)
})

authenticatorContract('native', () => ({
  driver: native,
  options: { scryptCost: 12 },
  prepare: async ({ passwords }) => {
    await passwords.add('ada', { passwordHash, approved: true })
  },
  right: () => ({ form: { username: 'Ada', password }, userName: 'ada' }),
  wrong: () => ({ form: { username: 'ada', password: 'wrong horse' } }),
}))

interface Subject {
  readonly authenticator: Authenticator
  readonly context: RecordedContext
  readonly login: (
    username: string,
    more?: Record<string, string>,
    address?: string,
  ) => Promise<string | null>
  /** Calls a page as somebody; the page that answers. */
  readonly page: (place: string, visit?: Partial<RouteVisit>) => Promise<AuthenticatorPage>
  readonly signUp: (username: string, more?: Record<string, string>) => Promise<AuthenticatorPage>
}

async function subject(
  t: TestContext,
  options: Record<string, unknown> = {},
  given: RecordedOptions = {},
): Promise<Subject> {
  const context = await authenticatorContext(t, given)
  const { authenticator } = await createAuthenticator(
    t,
    native,
    { scryptCost: 12, ...options },
    context,
  )
  const page: Subject['page'] = async (place, visit = {}) => {
    const [method, path] = place.split(' ')
    const route = authenticator.routes?.find((each) => each.method === method && each.path === path)
    assert.ok(route, place)
    const full: RouteVisit = {
      userName: null,
      admin: false,
      peerAddress: '192.0.2.1',
      form: {},
      signal: AbortSignal.timeout(60_000),
      ...visit,
    }
    const answer = await route.handle(new Request('http://hub.test/'), full)
    assert.ok(!(answer instanceof Response) && answer.kind === 'page')
    return answer
  }
  return {
    authenticator,
    context,
    page,
    async login(username, more = {}, peerAddress = '192.0.2.1') {
      const form = { username, password, ...more }
      const verdict = await authenticator.authenticate(loginRequest({ form, peerAddress }))
      return verdict.kind === 'identified' ? null : verdict.reason
    },
    signUp: (username, more = {}) =>
      page('POST /signup', { form: { username, password, repeated: password, ...more } }),
  }
}

function mustWait(error: unknown): boolean {
  assert.ok(error instanceof HubError)
  assert.equal(error.code, 'too_many_requests')
  assert.ok((error.retryAfter ?? 0) > 0)
  return true
}

describe('signing up', () => {
  it('lets in once an admin has approved it', async (t) => {
    const { authenticator, signUp, page, login } = await subject(t)
    assert.match((await signUp('Zoe')).text?.[0] ?? '', /administrator will now look/)
    assert.match((await login('zoe')) ?? '', /not been approved/)
    assert.equal(await authenticator.allowedBy?.('zoe'), null)
    const list = await page('GET /signups')
    assert.deepEqual(
      list.entries?.map(({ title }) => title),
      ['zoe'],
    )
    const approve = list.entries?.[0]?.buttons[0]?.hidden ?? {}
    const rest = await page('POST /signups', { userName: 'grace', admin: true, form: approve })
    assert.deepEqual(rest.entries, [])
    assert.equal(await login('zoe'), null)
    assert.equal(await authenticator.allowedBy?.('zoe'), 'authenticator.allowApproved')
    const again = await page('POST /signups', { userName: 'grace', admin: true, form: approve })
    assert.match(again.error ?? '', /does not wait/)
  })

  it('leaves nothing when it is discarded', async (t) => {
    const { signUp, page, login, context } = await subject(t)
    await signUp('zoe')
    const form = { username: 'zoe', action: 'discard' }
    await page('POST /signups', { userName: 'grace', admin: true, form })
    assert.equal(await context.passwords.find('zoe'), null)
    assert.match((await login('zoe')) ?? '', /nobody/)
    await signUp('zoe')
    assert.equal((await context.passwords.find('zoe'))?.userExisted, false)
  })

  it('says the same for a name that is taken, and changes nothing of it', async (t) => {
    const { context, signUp, login } = await subject(t)
    await context.passwords.add('ada', { passwordHash, approved: true })
    const other = { password: 'another horse', repeated: 'another horse' }
    assert.deepEqual(await signUp('ada', other), await signUp('free', other))
    assert.deepEqual(await signUp('ADA', other), await signUp('free', other))
    assert.equal(await login('ada'), null)
    assert.match((await login('ada', { password: 'another horse' })) ?? '', /wrong password/)
  })

  it('without approval is only for names that nobody has and the config does not name', async (t) => {
    const { context, signUp, login } = await subject(
      t,
      { openSignup: true },
      { admins: ['grace'], reserved: ['bob'] },
    )
    await context.passwords.add('old', { passwordHash, approved: true })
    const texts = new Set<string>()
    for (const name of ['zoe', 'grace', 'bob', 'old']) texts.add(JSON.stringify(await signUp(name)))
    assert.equal(texts.size, 1, 'a stranger learns which names have rights')
    assert.equal(await login('zoe'), null)
    for (const name of ['grace', 'bob']) assert.match((await login(name)) ?? '', /approved/)
    // The user stays when they have been in use, and only their password goes.
    await context.passwords.approve('grace')
    assert.equal(await login('grace'), null)
  })

  it('with a link is approved, for any name, once', async (t) => {
    const { authenticator, signUp, login } = await subject(
      t,
      { enableSignup: false },
      { admins: ['grace'] },
    )
    assert.match((await signUp('zoe')).error ?? '', /invitation/)
    const link = authenticator.issueLink?.()
    assert.match(link?.path ?? '', /^\/signup#[\w-]{43}$/)
    const invitation = link?.path.split('#')[1] ?? ''
    const short = { invitation, password: 'x', repeated: 'x' }
    assert.match((await signUp('grace', short)).error ?? '', /at least 8/)
    await signUp('grace', { invitation })
    assert.equal(await login('grace'), null)
    assert.match((await signUp('zoe', { invitation })).error ?? '', /invitation/)
  })

  it('refuses names and passwords with the reason, and more than may wait', async (t) => {
    const { signUp, context } = await subject(t, { maxPending: 2 })
    for (const name of ['', '-x', '../x', 'a b', 'a,b', 'a/b', 'zoé', 'a\0b', 'x'.repeat(65), '.a'])
      assert.match((await signUp(name)).error ?? '', /A name has/, JSON.stringify(name))
    assert.match((await signUp('a', { repeated: 'x' })).error ?? '', /not the same/)
    for (const name of ['a', 'b', 'c']) await signUp(name)
    assert.match((await signUp('d')).error ?? '', /Too many sign-ups/)
    assert.equal(await context.passwords.countPending(), 2)
  })
})

describe('passwords of the hub', () => {
  it('are guessed as slowly on their own pages as at a login, and signing up is no faster', async (t) => {
    const { context, page, signUp } = await subject(t, {}, { freeFailures: 2 })
    await context.passwords.add('ada', { passwordHash, approved: true })
    const next = { password: 'staple battery', repeated: 'staple battery' }
    const change = (current: string, peerAddress = '192.0.2.1') =>
      page('POST /change-password', { userName: 'ada', peerAddress, form: { ...next, current } })
    for (let index = 0; index < 2; index += 1) await change('guess')
    await assert.rejects(change(password), mustWait)
    assert.throws(() => context.attempt('ada', '192.0.2.1'), mustWait)
    assert.equal((await change(password, '192.0.2.77')).error, undefined)
    for (let index = 2; index < 20; index += 1) await signUp(`zoe${index}`)
    await assert.rejects(signUp('zoe20'), mustWait)
  })

  it('are changed by their owner, who is logged out everywhere', async (t) => {
    const { context, page, login } = await subject(t)
    await context.passwords.add('ada', { passwordHash, approved: true })
    const next = { password: 'staple battery', repeated: 'staple battery' }
    const change = (form: Record<string, string>) =>
      page('POST /change-password', { userName: 'ada', form })
    assert.match((await change({ ...next, current: 'wrong' })).error ?? '', /present password/)
    assert.match((await change({ ...next, current: password, repeated: '' })).error ?? '', /same/)
    assert.equal(await login('ada'), null)
    assert.deepEqual(context.loggedOut, [])
    assert.equal((await change({ ...next, current: password })).error, undefined)
    assert.deepEqual(context.loggedOut, ['ada'])
    assert.match((await login('ada')) ?? '', /wrong password/)
    assert.equal(await login('ada', { password: 'staple battery' }), null)
  })

  it('are set by an admin, for whom one-time codes are no obstacle', async (t) => {
    const cipher = fernet([randomBytes(32)])
    const { context, page, login } = await subject(t, { enableTotp: true }, { cipher })
    await context.passwords.add('ada', { passwordHash, approved: true })
    await context.passwords.setTotpSecret('ada', randomBytes(20))
    assert.match((await login('ada')) ?? '', /one-time code/)
    const form = { username: 'Ada', password: 'staple battery', repeated: 'staple battery' }
    await page('POST /reset-password', { userName: 'grace', admin: true, form })
    assert.equal(await login('ada', { password: 'staple battery' }), null)
    const unknown = await page('POST /reset-password', {
      userName: 'grace',
      admin: true,
      form: { ...form, username: 'nobody' },
    })
    assert.match(unknown.error ?? '', /Nobody of that name/)
  })

  it('end a session when they are gone at the next refresh', async (t) => {
    const { authenticator, context } = await subject(t)
    await context.passwords.add('ada', { passwordHash, approved: true })
    assert.ok(await authenticator.refresh?.({ userName: 'ada' }))
    await context.passwords.remove('ada')
    assert.equal(await authenticator.refresh?.({ userName: 'ada' }), null)
  })

  it('are computed anew when their cost has become low', async (t) => {
    const { context, login } = await subject(t)
    const weak = '$scrypt$ln=4,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$'
    const { scryptSync } = await import('node:crypto')
    const key = scryptSync(password, Buffer.alloc(16), 32, { N: 16, r: 8, p: 1 })
    const stored = weak + key.toString('base64').replaceAll('=', '')
    await context.passwords.add('ada', { passwordHash: stored, approved: true })
    assert.equal(await login('ada'), null)
    assert.match((await context.passwords.find('ada'))?.passwordHash ?? '', /ln=12/)
    assert.equal(await login('ada'), null)
  })

  it('are only asked for on pages for those whom they concern', async (t) => {
    const { authenticator } = await subject(t)
    const access = new Map(authenticator.routes?.map((route) => [route.path, route.access]))
    assert.deepEqual(Object.fromEntries(access), {
      '/signup': 'anyone',
      '/signups': 'admin',
      '/change-password': 'user',
      '/reset-password': 'admin',
    })
  })
})

describe('one-time codes of the hub', () => {
  const cipher = fernet([randomBytes(32)])
  const codeOf = (secret: Buffer, steps = 0): string => {
    const counter = Buffer.alloc(8)
    counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps))
    const mac = createHmac('sha1', secret).update(counter).digest()
    const number = mac.readUInt32BE((mac.at(-1) ?? 0) & 15) & 0x7fff_ffff
    return String(number % 1_000_000).padStart(6, '0')
  }

  it('are turned on with a code, asked for at every login, and good once', async (t) => {
    const { context, page, login } = await subject(t, { enableTotp: true }, { cipher })
    await context.passwords.add('ada', { passwordHash, approved: true })
    const visit = (form: Record<string, string>) => ({ userName: 'ada', form })
    const offered = await page('GET /one-time-codes', visit({}))
    const hidden = offered.form?.hidden ?? {}
    const secret = fromBase32(hidden['secret'] ?? '')
    assert.ok(secret)
    assert.match(offered.text?.join(' ') ?? '', /otpauth:\/\/totp\/Portico/)
    const turn = (form: Record<string, string>) => page('POST /one-time-codes', visit(form))
    const wrong = await turn({ ...hidden, current: password, otp: '000000' })
    assert.match(wrong.error ?? '', /code is wrong/)
    assert.deepEqual(wrong.form?.hidden, hidden)
    assert.match(
      (await turn({ ...hidden, current: 'x', otp: codeOf(secret) })).error ?? '',
      /present password/,
    )
    assert.equal(await login('ada'), null)
    const code = codeOf(secret)
    assert.equal((await turn({ ...hidden, current: password, otp: code })).error, undefined)
    assert.match((await login('ada')) ?? '', /wrong one-time code/)
    assert.match((await login('ada', { otp: code })) ?? '', /used before/)
    const next = codeOf(secret, 1)
    assert.equal(await login('ada', { otp: next }), null)
    assert.match((await login('ada', { otp: next })) ?? '', /used before/)
    assert.match((await login('ada', { otp: codeOf(secret) })) ?? '', /used before/)
  })

  it('need a key, and let nobody in without a code when it is lost', async (t) => {
    await assert.rejects(subject(t, { enableTotp: true }), /JUPYTERHUB_CRYPT_KEY/)
    const { context, login } = await subject(t, {}, { cipher })
    await context.passwords.add('ada', { passwordHash, approved: true })
    await context.passwords.setTotpSecret('ada', randomBytes(20))
    assert.match((await login('ada')) ?? '', /one-time code/)
  })
})
