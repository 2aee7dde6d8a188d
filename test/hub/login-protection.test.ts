import assert from 'node:assert/strict'
import { beforeEach, describe, it } from 'node:test'
import type { ConfigInput } from '../../hub/config.ts'
import { HubError } from '../../packages/core/errors.ts'
import { Browser, type Page } from '../support/browser.ts'
import { runCommand } from '../support/command-run.ts'
import { type Directory, directoryDriver } from '../support/directory.ts'
import { startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const people: Directory = new Map()
const letIn = { allowedBy: 'the directory' }

type Options = NonNullable<ConfigInput['authenticator']>

const startHub = (options: Options = {}, hub: NonNullable<ConfigInput['hub']> = {}) =>
  startTestHub({ config: { hub, authenticator: { driver: directoryDriver(people), ...options } } })

/** A wrong or right login from an address of its own. */
async function attempt(test: TestHub, username: string, password = 'x', address = '192.0.2.1') {
  const browser = new Browser(test.origin)
  await browser.get('/hub/login')
  const form = new URLSearchParams({ _xsrf: browser.cookie('_xsrf') ?? '', username, password })
  const started = performance.now()
  const page = await browser.send('POST', '/hub/login', {
    body: form.toString(),
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      'X-Forwarded-For': address,
    },
  })
  return { page, browser, ms: performance.now() - started }
}

/** A page without what differs from request to request. */
const textOf = ({ text }: Page, userName: string) =>
  text
    .replaceAll(/(_xsrf" value|data-xsrf|data-now)="[^"]*"/g, '')
    .replaceAll(`value="${userName}"`, '')

beforeEach(() => people.clear())

describe('a refused login', { timeout: 120_000 }, () => {
  it('has one status, text and least time, whatever it was refused for', async () => {
    await using test = await startHub({ refusalTime: 0.5, blockedUsers: ['blocked'] })
    people.set('known', letIn).set('blocked', letIn).set('stranger', {}).set('broken', 'fails')
    const names = ['unknown', 'known', 'blocked', 'stranger', 'broken', 'a/b']
    const refused = await Promise.all(
      names.map((name) => attempt(test, name, name === 'known' ? 'wrong' : 'x')),
    )
    const texts = new Set(refused.map(({ page }, index) => textOf(page, names[index] ?? '')))
    assert.equal(texts.size, 1)
    for (const { page, ms } of refused) {
      assert.equal(page.status, 403)
      assert.match(page.text, /Invalid username or password/)
      assert.ok(ms >= 500, `answered after ${ms} ms`)
    }
    for (const reason of ['nobody of this name', 'wrong password', 'blockedUsers', 'no allow rule'])
      assert.ok(
        test.logLines.some((line) => line.includes(reason)),
        reason,
      )
    assert.equal((await attempt(test, 'known')).page.status, 302)
  })

  it('makes the address that goes on guessing wait, and nobody else', async () => {
    await using test = await startHub({ freeFailures: 3 })
    people.set('ada', letIn).set('bob', letIn)
    for (let count = 0; count < 3; count += 1)
      assert.equal((await attempt(test, 'Ada', 'wrong')).page.status, 403)
    const { page } = await attempt(test, 'ada')
    assert.equal(page.status, 429)
    const wait = Number(page.headers.get('retry-after'))
    assert.ok(wait >= 1 && wait <= 30, `waits ${wait} s`)
    assert.match(page.text, /Too many wrong logins/)
    assert.match(page.text, /name="username"/)
    assert.equal((await attempt(test, 'ada', 'x', '192.0.2.2')).page.status, 302)
    assert.equal((await attempt(test, 'bob')).page.status, 302)
    await until('the wait is over', async () => {
      const again = await attempt(test, 'ada')
      return again.page.status === 302
    })
  })
})

describe('behind a front end', { timeout: 120_000 }, () => {
  it('addresses are those that the front ends have seen, and none that a stranger makes up', async () => {
    const config = {
      proxy: { trustedProxies: ['loopback', '198.51.100.0/24'] },
      authenticator: { driver: directoryDriver(people) },
    }
    await using test = await startTestHub({ config })
    const chains = {
      '192.0.2.9, 198.51.100.7': '192.0.2.9',
      '203.0.113.5, 192.0.2.10': '192.0.2.10',
      'unknown, 198.51.100.7': '198.51.100.7',
    }
    for (const [chain, peer] of Object.entries(chains)) {
      await attempt(test, 'nobody', 'x', chain)
      assert.match(
        test.logLines.findLast((line) => line.includes('nobody')) ?? '',
        new RegExp(`"${peer}"`),
      )
    }
  })
})

describe('admins of the config', { timeout: 120_000 }, () => {
  it('stay admins, whatever the authenticator says of them', async () => {
    const loadRoles = [{ name: 'admin', users: ['chief'] }]
    await using test = await startHub({}, { adminUsers: ['boss'], loadRoles })
    for (const name of ['boss', 'chief', 'ada']) {
      people.set(name, { ...letIn, admin: false })
      assert.equal((await attempt(test, name)).page.status, 302)
      assert.equal((await test.operator.user(name)).admin, name !== 'ada', name)
    }
  })

  it('are nobody else, also under a name that is mapped to theirs', async () => {
    const [userPassword, adminPassword] = ['for everybody', 'for those few who look after this hub']
    const base = { adminUsers: ['ada'], usernameMap: { jane: 'ada' }, allowAll: true }
    const shared = { driver: 'shared-password', userPassword, adminPassword, ...base }
    await using test = await startHub(shared)
    assert.equal((await attempt(test, 'jane', userPassword)).page.status, 403)
    assert.equal((await attempt(test, 'jane', adminPassword)).page.status, 302)
    await using native = await startHub({ driver: 'native', openSignup: true, ...base })
    const password = 'a rather long password'
    const stranger = new Browser(native.origin)
    await stranger.get('/hub/signup')
    await stranger.post('/hub/signup', { username: 'jane', password, repeated: password })
    assert.equal((await attempt(native, 'jane', password)).page.status, 403)
  })
})

describe('a session', { timeout: 120_000 }, () => {
  it('gets other secrets when its user becomes an admin, and when they are none any more', async () => {
    await using test = await startHub()
    people.set('ada', letIn)
    const { browser } = await attempt(test, 'ada')
    for (const admin of [true, false]) {
      const before = browser.cookieHeader('/hub/home')
      const xsrf = browser.cookie('_xsrf')
      await test.operator.updateUser('ada', { admin })
      const page = await browser.visit('/hub/home')
      assert.equal(page.status, 200)
      assert.notEqual(browser.cookie('_xsrf'), xsrf)
      const old = await new Browser(test.origin).get('/hub/api/user', { Cookie: before })
      assert.equal(old.status, 403)
      assert.equal((await browser.api('GET', '/hub/api/user')).status, 200)
    }
  })

  it('ends when nobody uses it, and lives on while somebody does', async () => {
    await using test = await startHub({}, { sessionIdleTimeout: 1, activityResolution: 0 })
    people.set('ada', letIn)
    const { browser } = await attempt(test, 'ada')
    const started = performance.now()
    while (performance.now() - started < 2_000)
      assert.equal((await browser.api('GET', '/hub/api/user')).status, 200)
    const idle = (await attempt(test, 'ada')).browser
    await until('it has ended', async () => {
      const quiet = performance.now() + 1_100
      while (performance.now() < quiet) await test.operator.user('ada')
      return (await idle.api('GET', '/hub/api/user')).status === 403
    })
  })
})

describe('the login page', { timeout: 120_000 }, () => {
  it('is the template of the config, when it has one', async () => {
    const customHtml = `<form id="ours" action="{{ authenticator_login_url }}" method="post">
      <input name="_xsrf" value="{{ xsrf }}"><p>{{ login_error }}</p><input name="username" value="{{ username }}"></form>`
    await using test = await startHub({ customHtml })
    const { page } = await attempt(test, '<b>eve', 'wrong')
    assert.match(page.text, /id="ours" action="\/hub\/login"/)
    assert.match(page.text, /Invalid username or password/)
    assert.match(page.text, /value="&lt;b&gt;eve"/)
    assert.match(page.text, /name="_xsrf" value="[^"]{20}/)
    assert.doesNotMatch(page.text, /id="login_form"/)
  })

  it('is left out when the request itself says who it is; logout then ends on a page', async () => {
    const byHeader = {
      ...directoryDriver(people),
      create: () => ({
        async authenticate({ headers }: { headers: Record<string, string | undefined> }) {
          const userName = headers['x-who']
          return userName === undefined
            ? ({ kind: 'denied', reason: 'no header' } as const)
            : ({ kind: 'identified', identity: { userName, ...letIn } } as const)
        },
      }),
    }
    await using test = await startHub({ driver: byHeader, autoLogin: true })
    const ada = new Browser(test.origin)
    assert.equal((await ada.get('/hub/login')).status, 403)
    const login = await ada.get('/hub/login?next=%2Fhub%2Ftoken', { 'X-Who': 'ada' })
    assert.deepEqual([login.status, login.headers.get('location')], [302, '/hub/token'])
    const left = await ada.get('/hub/logout')
    assert.equal(left.status, 200)
    assert.match(left.text, /You are logged out/)
    // Whose cookies do not come back would go round in circles.
    const lost = { 'X-Who': 'bob', Cookie: '' }
    const rounds: number[] = []
    for (let round = 0; round < 7; round += 1)
      rounds.push((await new Browser(test.origin).get('/hub/login', lost)).status)
    assert.deepEqual(rounds, [302, 302, 302, 302, 302, 400, 400])
    const page = await ada.get('/hub/login', lost)
    assert.match(page.text, /does not send the login cookie back/)
    assert.equal(page.headers.get('set-cookie')?.includes('jupyterhub-hub-login=') ?? false, false)
    assert.equal((await ada.get('/hub/login', { 'X-Who': 'ada' })).status, 302)
  })
})

describe('portico explain login', { timeout: 120_000 }, () => {
  it('names the rule that lets somebody in, or keeps them out', async () => {
    await using test = await startHub({
      blockedUsers: ['eve'],
      allowedGroups: ['staff'],
      usernamePattern: '[a-z]+',
    })
    await test.operator.createUsers(['ada'])
    await test.operator.createGroup('staff', { users: ['ada'] })
    const explain = async (name: string) => {
      const { out, status } = await runCommand(`explain login ${name} --data-dir ${test.dataDir}`, {
        cwd: test.dataDir,
      })
      return [status, out.join(' ')] as const
    }
    const [yes, why] = await explain('Ada')
    assert.equal(yes, 0)
    assert.match(why, /^ada may log in, by authenticator\.allowedGroups \(staff\)/)
    assert.deepEqual(await explain('eve'), [
      1,
      'eve (no user yet) may not log in: authenticator.blockedUsers.',
    ])
    assert.match((await explain('b4'))[1], /usernamePattern/)
    assert.match((await explain('bob'))[1], /no allow rule matches/)
  })
})

describe('users whom the authenticator does not know any more', { timeout: 120_000 }, () => {
  it('are deleted at a start that is told to', async () => {
    const known = new Set(['ada', 'bob'])
    const local = {
      ...directoryDriver(people),
      create: () => ({
        authenticate: () => Promise.resolve({ kind: 'denied', reason: 'closed' } as const),
        addUser: async (name: string) => {
          if (!known.has(name)) throw new HubError('invalid_request', `no account ${name}`)
        },
      }),
    }
    let test = await startHub({ driver: local })
    try {
      await test.operator.createUsers(['ada', 'bob'])
      known.delete('bob')
      test = await test.restart()
      await until('it is said', () =>
        test.logLines.some((line) => line.includes('bob is not fit for the authenticator')),
      )
      known.clear()
      test = await test.restart({ deleteInvalidUsers: true })
      await until('it is said', () =>
        test.logLines.some((line) => line.includes('none of the 2 users is known')),
      )
      assert.equal((await test.operator.users().page()).items.length, 2)
      known.add('ada')
      test = await test.restart({ deleteInvalidUsers: true })
      await until('bob is gone', async () => {
        const { items } = await test.operator.users().page()
        return items.map(({ name }) => name).join() === 'ada'
      })
    } finally {
      await test[Symbol.asyncDispose]()
    }
  })
})
