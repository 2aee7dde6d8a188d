import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import {
  type AuthenticatorDriver,
  type AuthenticatorPage,
  defineAuthenticator,
  type Identity,
  type LoginRequest,
  type RouteLogin,
  type RouteVisit,
} from 'portico/authenticator'
import { z } from 'zod'
import { authenticators } from '../../authenticators/index.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
  settledVerdict,
} from '../contracts/authenticator.ts'
import { authenticatorContext } from '../support/authenticator-context.ts'
import { Browser } from '../support/browser.ts'
import { startTestHub } from '../support/start-hub.ts'

const multi = authenticators.find(({ name }) => name === 'multi') as AuthenticatorDriver
const [staffPassword, guestPassword] = ['for-the-staff', 'for-the-guests']
const staff = { driver: 'shared-password', name: 'staff', userPassword: staffPassword }
const guests = {
  driver: 'shared-password',
  name: 'guests',
  label: 'a ticket',
  userPassword: guestPassword,
}

/** Says that somebody is who the form says, with everything an identity may hold. */
const full = defineAuthenticator({
  name: 'full',
  config: z.strictObject({}),
  create: () => ({
    authenticate: ({ form }) =>
      Promise.resolve({
        kind: 'identified',
        identity: {
          userName: form['username'] ?? '',
          groups: ['admins'],
          allowedBy: 'authenticator.allowedGroups (admins)',
          authState: { access_token: 'x' },
        },
      }),
    refresh: (identity) =>
      Promise.resolve(identity.userName === 'ada' ? { ...identity, groups: ['fresh'] } : null),
    logoutUrl: () => 'https://provider.test/logout',
    logOut: (state) => Promise.resolve(void revoked.push(state)),
    strategy: {
      authenticate(this: { success(identity: Identity): void }) {
        this.success({ userName: 'ada', issuer: 'https://provider.test', subject: '7' })
      },
    },
  }),
})

/** What `full` was told of logouts. */
const revoked: unknown[] = []

authenticatorContract('multi', () => ({ driver: multi, options: { providers: [staff, guests] } }))

async function subject(t: TestContext, providers: readonly object[]) {
  const context = await authenticatorContext(t, { manageGroups: true, admins: ['staff:grace'] })
  const { authenticator } = await createAuthenticator(t, multi, { providers }, context)
  const call = async (place: string, form: Record<string, string> = {}, userName?: string) => {
    const [method, path = ''] = place.split(' ')
    const [bare] = path.split('?')
    const route = authenticator.routes?.find((each) => each.method === method && each.path === bare)
    assert.ok(route, place)
    const visit: RouteVisit = {
      ...loginRequest({ form }),
      userName: userName ?? null,
      admin: false,
    }
    const answer = await route.handle(new Request(new URL(path, 'http://hub.test/')), visit)
    assert.ok(!(answer instanceof Response))
    return answer as unknown as Omit<AuthenticatorPage, 'kind'> & Omit<RouteLogin, 'kind'>
  }
  const logIn = async (name: string, username: string, password: string) => {
    const verdict = await settledVerdict(await call(`POST /${name}/login`, { username, password }))
    return verdict.kind === 'identified' ? verdict.identity : verdict.reason
  }
  return { authenticator, context, call, logIn }
}

describe('several authenticators', () => {
  it('keep the names of their people apart', async (t) => {
    const { logIn } = await subject(t, [staff, { ...guests, usernamePrefix: '' }])
    const name = async (...given: [string, string, string]) => {
      const found = await logIn(...given)
      return typeof found === 'string' ? null : found.userName
    }
    assert.equal(await name('staff', 'ada', staffPassword), 'staff:ada')
    assert.equal(await name('guests', 'ada', guestPassword), 'ada')
    assert.equal(await name('staff', 'ada', guestPassword), null)
    for (const trick of ['staff:ada', 'STAFF:ada', 'staff：ada', ':'])
      assert.match(JSON.stringify(await logIn('guests', trick, guestPassword)), /colon/)
  })

  it('know the admins of the config by their whole names', async (t) => {
    const { logIn } = await subject(t, [staff, guests])
    assert.match(JSON.stringify(await logIn('staff', 'grace', staffPassword)), /an admin/)
    const guest = await logIn('guests', 'grace', guestPassword)
    assert.deepEqual(guest, { userName: 'guests:grace', admin: false, groups: [] })
  })

  it('offer each a way in on the login page, and come back to where one wanted to go', async (t) => {
    const { authenticator, call } = await subject(t, [staff, guests, { driver: full, name: 'sso' }])
    assert.deepEqual(authenticator.loginForm?.links, [
      { label: 'Log in with staff', path: '/staff/login' },
      { label: 'Log in with a ticket', path: '/guests/login' },
      { label: 'Log in with sso', path: '/sso/oauth_login' },
    ])
    const page = await call('GET /guests/login?next=%2Fuser%2Fx')
    assert.equal(page.form?.action, '/guests/login?next=%2Fuser%2Fx')
    const answer = await call('POST /guests/login?next=%2Fuser%2Fx', { username: 'x' })
    assert.equal(answer.next, '/user/x')
    assert.match(answer.refusal?.error ?? '', /Invalid username or password/)
  })

  it('ask for a one-time password each as it is told to', async (t) => {
    const context = await authenticatorContext(t, { manageGroups: true, otpPrompt: 'Token' })
    const providers = [
      staff,
      { ...guests, requestOtp: false },
      { ...staff, name: 'pin', requestOtp: true, otpPrompt: 'PIN' },
    ]
    const { authenticator } = await createAuthenticator(t, multi, { providers }, context)
    const labels = async (name: string) => {
      const path = `/${name}/login`
      const route = authenticator.routes?.find((each) => each.path === path)
      const visit: RouteVisit = { ...loginRequest(), userName: null, admin: false }
      const page = await route?.handle(new Request(`http://hub.test${path}`), visit)
      assert.ok(page && 'form' in page)
      return page.form?.fields.map(({ label }) => label)
    }
    assert.deepEqual(await labels('staff'), ['Username', 'Password', 'Token'])
    assert.deepEqual(await labels('guests'), ['Username', 'Password'])
    assert.deepEqual(await labels('pin'), ['Username', 'Password', 'PIN'])
  })

  it('keep groups, rules and states apart, there and back', async (t) => {
    const { authenticator } = await subject(t, [staff, { driver: full, name: 'sso' }])
    const strategy = authenticator.strategies?.['/sso']
    assert.ok(strategy)
    const identity = await new Promise<Identity>((resolve) => {
      const own = Object.assign(Object.create(strategy) as typeof strategy, { success: resolve })
      own.authenticate({})
    })
    assert.deepEqual(identity, {
      userName: 'sso:ada',
      issuer: 'https://provider.test',
      subject: '7',
    })
    const stored = { ...identity, groups: ['sso:admins'] }
    assert.deepEqual(await authenticator.refresh?.(stored), { ...stored, groups: ['sso:fresh'] })
    assert.equal(await authenticator.refresh?.({ userName: 'sso:bob' }), null)
    assert.equal(await authenticator.refresh?.({ userName: 'ada' }), null)
    // Tokens go to no other provider than their own.
    const foreign = { access_token: 'x', portico_provider: 'staff' }
    assert.equal(await authenticator.refresh?.({ ...stored, authState: foreign }), null)
    const { logoutUrl } = authenticator
    assert.ok(typeof logoutUrl === 'function')
    const state = { access_token: 'x', portico_provider: 'sso' }
    assert.equal(await logoutUrl.call(authenticator, state), 'https://provider.test/logout')
    assert.equal(await logoutUrl.call(authenticator, { access_token: 'x' }), undefined)
    await authenticator.logOut?.(state)
    await authenticator.logOut?.({ access_token: 'y' })
    assert.deepEqual(revoked, [state])
  })

  it('keep somebody of whom only a login can tell, and the rule that let them in', async (t) => {
    const { authenticator } = await subject(t, [{ driver: full, name: 'sso' }])
    const known = { userName: 'sso:ada', allowedBy: 'sso: authenticator.allowedGroups (admins)' }
    assert.equal((await authenticator.refresh?.(known))?.allowedBy, known.allowedBy)
    const silent = {
      ...full,
      create: async (...given: Parameters<typeof full.create>) => {
        const made = await full.create(...given)
        return { authenticate: (request: LoginRequest) => made.authenticate(request) }
      },
    }
    const providers = [{ driver: silent, name: 'silent' }]
    const options = { providers, refreshPreSpawn: true, usernameMap: { 'silent:zoe': 'zoe' } }
    await using test = await startTestHub({
      config: { authenticator: { driver: 'multi', ...options } },
    })
    for (const [username, name] of [
      ['ada', 'silent:ada'],
      ['zoe', 'zoe'],
    ] as const) {
      const browser = new Browser(test.origin)
      await browser.get('/hub/silent/login')
      assert.equal((await browser.post('/hub/silent/login', { username })).status, 302)
      const started = await browser.api('POST', `/hub/api/users/${name}/server`)
      assert.equal(started.status, 201, started.text)
    }
  })

  it('have their pages below their names, for their own people', async (t) => {
    const { authenticator, context, call } = await subject(t, [
      guests,
      { driver: 'native', name: 'local', scryptCost: 12 },
    ])
    const password = 'correct horse'
    const page = await call('GET /local/signup')
    assert.equal(page.form?.action, '/local/signup')
    assert.deepEqual(page.links, [{ label: 'Log in', path: '/login' }])
    await call('POST /local/signup', { username: 'zoe', password, repeated: password })
    assert.equal((await context.passwords.pending(9))[0]?.userName, 'local:zoe')
    const list = await call('GET /local/signups', {}, 'guests:boss')
    const { action, hidden = {} } = list.entries?.[0]?.buttons[0] ?? { action: '' }
    assert.equal(action, '/local/signups')
    await call('POST /local/signups', hidden, 'guests:boss')
    assert.equal(await authenticator.allowedBy?.('local:zoe'), 'local: authenticator.allowApproved')
    assert.equal(await authenticator.allowedBy?.('guests:zoe'), undefined)
    const verdict = await settledVerdict(
      await call('POST /local/login', { username: 'zoe', password }),
    )
    assert.equal(verdict.kind, 'identified')
    const next = { current: password, password: 'staple battery', repeated: 'staple battery' }
    const foreign = await call('POST /local/change-password', next, 'guests:zoe')
    assert.equal(foreign.status, 403)
    const own = await call('POST /local/change-password', next, 'local:zoe')
    assert.equal(own.error, undefined)
    assert.deepEqual(context.loggedOut, ['local:zoe'])
    assert.match(authenticator.issueLink?.().path ?? '', /^\/local\/signup#/)
  })

  it('refuse combinations that would mix people up or let anybody in', () => {
    for (const [providers, text] of [
      [[], /at least one/],
      [[staff, { ...guests, name: 'staff' }], /taken by another/],
      [
        [
          { ...staff, usernamePrefix: '' },
          { ...guests, usernamePrefix: '' },
        ],
        /mixed up/,
      ],
      [[{ ...staff, usernamePrefix: 'x' }], /ends with a colon/],
      [[{ driver: 'dummy', name: 'x' }], /'dummy' is none/],
      [[{ driver: 'multi', name: 'x' }], /'multi' is none/],
      [[{ driver: 'nothing', name: 'x' }], /'nothing' is none/],
      [[{ ...staff, userPassword: 'short' }], /8 characters/],
      [[{ ...staff, surplus: 1 }], /surplus/],
      [[{ ...staff, name: '../x' }], /lower case/],
    ] as const) {
      const { error } = multi.config.safeParse({ providers })
      assert.match(error?.issues.map(({ message }) => message).join('\n') ?? '', text)
    }
  })

  it('let somebody in when one of them does', () => {
    const allows = (...providers: object[]) => multi.allows?.(multi.config.parse({ providers }))
    const local = { driver: 'native', name: 'local' }
    const machine = { driver: 'pam', name: 'machine' }
    assert.equal(allows(staff, guests, machine), false)
    assert.equal(allows(staff, local), true)
    assert.equal(allows(staff, { ...local, openSignup: true }), false)
    assert.equal(allows({ ...machine, allowedGroups: ['users'] }), true)
  })

  it('log people in through the hub', async () => {
    await using test = await startTestHub({
      config: {
        authenticator: {
          driver: 'multi',
          providers: [staff, guests],
          allowedUsers: ['guests:ada'],
        },
      },
    })
    const browser = new Browser(test.origin)
    const login = await browser.get('/hub/login?next=%2Fhub%2Ftoken')
    assert.match(
      login.text,
      /href="\/hub\/guests\/login\?next=%2Fhub%2Ftoken">Log in with a ticket/,
    )
    assert.doesNotMatch(login.text, /id="login_form"/)
    const there = '/hub/guests/login?next=%2Fhub%2Fhome'
    assert.match((await browser.get(there)).text, /Log in with a ticket/)
    const refused = await browser.post(there, { username: 'ada', password: staffPassword })
    assert.equal(refused.status, 403)
    assert.match(refused.text, /Invalid username or password/)
    const done = await browser.post(there, { username: 'ada', password: guestPassword })
    assert.deepEqual([done.status, done.headers.get('location')], [302, '/hub/home'])
    assert.match((await browser.get('/hub/home')).text, /guests:ada/)
    const stranger = new Browser(test.origin)
    await stranger.get('/hub/staff/login')
    const form = { username: 'ada', password: staffPassword }
    assert.equal((await stranger.post('/hub/staff/login', form)).status, 403)
  })

  it('make guessing slow each for itself, and say on the form how long to wait', async () => {
    await using test = await startTestHub({
      config: {
        authenticator: {
          driver: 'multi',
          providers: [staff, guests],
          allowedUsers: ['guests:ada', 'staff:ada'],
          freeFailures: 2,
          refusalTime: 0.3,
        },
      },
    })
    const browser = new Browser(test.origin)
    await browser.get('/hub/guests/login')
    const attempt = async (name: string, password: string) => {
      const started = performance.now()
      const page = await browser.post(`/hub/${name}/login`, { username: 'ada', password })
      return { ...page, ms: performance.now() - started }
    }
    for (let count = 0; count < 2; count += 1) {
      const { status, ms } = await attempt('guests', 'wrong')
      assert.equal(status, 403)
      assert.ok(ms >= 300, `answered after ${ms} ms`)
    }
    const waiting = await attempt('guests', guestPassword)
    assert.equal(waiting.status, 429)
    assert.ok(Number(waiting.headers.get('retry-after')) >= 1)
    assert.match(waiting.text, /Too many wrong logins\. Wait \d+ second/)
    assert.match(waiting.text, /action="\/hub\/guests\/login"/)
    assert.equal((await attempt('staff', staffPassword)).status, 302)
  })
})
