import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import type { Authenticator, Identity } from 'portico/authenticator'
import type { ConfigInput } from '../../hub/config.ts'
import { openDatabase } from '../../hub/store/database.ts'
import { fernet } from '../../hub/store/fernet.ts'
import { apiCaller } from '../support/api-caller.ts'
import { Browser } from '../support/browser.ts'
import { type Directory, directoryDriver } from '../support/directory.ts'
import { startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const patience = 60_000
const people: Directory = new Map()
const letIn = { allowedBy: 'the directory' }

type Options = NonNullable<ConfigInput['authenticator']>

const startHub = (options: Options, spawner: NonNullable<ConfigInput['spawner']> = {}) =>
  startTestHub({
    config: { authenticator: { driver: directoryDriver(people), ...options }, spawner },
    secrets: { JUPYTERHUB_CRYPT_KEY: 'ab'.repeat(32) },
  })

async function logIn(test: TestHub, name: string): Promise<Browser> {
  const browser = new Browser(test.origin)
  await browser.logIn('/', name)
  return browser
}

const tokenOf = async (test: TestHub, name: string) =>
  apiCaller(test, (await test.operator.createToken(name)).token)

const statusOf = async (browser: Browser) => (await browser.api('GET', '/hub/api/user')).status

const groupsOf = async (test: TestHub, name: string) =>
  (await test.operator.user(name)).groups ?? []

/** A hook that makes nobody an admin, knows no group `wheel`, and refuses the group `refused`. */
const withoutWheel = (identity: Identity): Identity | null =>
  identity.groups?.includes('refused')
    ? null
    : {
        ...identity,
        admin: false,
        groups: (identity.groups ?? []).filter((name) => name !== 'wheel'),
      }

beforeEach(() => people.clear())

describe('a refresh', { timeout: 240_000 }, () => {
  let test: TestHub
  before(async () => {
    test = await startHub({
      authRefreshAge: 0.05,
      manageGroups: true,
      manageRoles: true,
      postAuthHook: (identity) => (identity.userName === 'gus' ? withoutWheel(identity) : identity),
    })
  })
  after(() => test[Symbol.asyncDispose]())

  it('replaces groups and roles, as a login does; the API can change groups in between', async () => {
    const roles = [{ name: 'reader', scopes: ['read:metrics'] }]
    people.set('ada', { ...letIn, groups: ['staff', 'chess'], roles })
    const ada = await logIn(test, 'ada')
    assert.deepEqual(await groupsOf(test, 'ada'), ['chess', 'staff'])
    const scopes = async () =>
      (JSON.parse((await ada.api('GET', '/hub/api/user')).text) as { scopes: string[] }).scopes
    assert.ok((await scopes()).includes('read:metrics'))
    people.set('ada', { ...letIn, groups: ['staff', 'go'], roles: [] })
    await until('the groups follow', async () => {
      await statusOf(ada)
      return (await groupsOf(test, 'ada')).join() === 'go,staff'
    })
    assert.ok(!(await scopes()).includes('read:metrics'))
  })

  it('ends sessions and tokens of somebody who is not let in any more', async () => {
    people.set('bob', letIn)
    const bob = await logIn(test, 'bob')
    const token = await tokenOf(test, 'bob')
    assert.equal((await token('GET', 'user')).status, 200)
    people.set('bob', {})
    await until('the token is worthless', async () => (await token('GET', 'user')).status === 403)
    assert.equal(await statusOf(bob), 403)
    assert.deepEqual(await test.operator.tokens('bob'), [])
    people.set('bob', letIn)
    await logIn(test, 'bob')
    assert.equal((await token('GET', 'user')).status, 403)
    assert.ok(test.logLines.some((line) => line.includes('bob is not let in any more')))
  })

  it('lets tokens rest while a new login is wanted, and wakes them by it', async () => {
    people.set('cleo', letIn)
    const cleo = await logIn(test, 'cleo')
    const token = await tokenOf(test, 'cleo')
    people.set('cleo', 'gone')
    await until('a login is wanted', async () => (await token('GET', 'user')).status === 403)
    assert.equal(await statusOf(cleo), 403)
    people.set('cleo', letIn)
    await logIn(test, 'cleo')
    assert.equal((await token('GET', 'user')).status, 200)
  })

  it('asks the hook of logins too: what it takes away does not come back', async () => {
    people.set('gus', { ...letIn, admin: true, groups: ['chess', 'wheel'] })
    const gus = await logIn(test, 'gus')
    people.set('gus', { ...letIn, admin: true, groups: ['go', 'wheel'] })
    await until('the groups follow', async () => {
      assert.equal(await statusOf(gus), 200)
      return (await groupsOf(test, 'gus')).includes('go')
    })
    assert.deepEqual(await groupsOf(test, 'gus'), ['go'])
    assert.equal((await test.operator.user('gus')).admin, false)
    people.set('gus', { ...letIn, groups: ['refused'] })
    await until('the login ends', async () => (await statusOf(gus)) === 403)
    assert.ok(test.logLines.some((line) => line.includes('authenticator.postAuthHook')))
  })

  it('keeps everybody while the authenticator does not answer', async () => {
    people.set('dora', letIn)
    const dora = await logIn(test, 'dora')
    people.set('dora', 'fails')
    await until('it was asked', async () => {
      assert.equal(await statusOf(dora), 200)
      return test.logLines.some((line) => line.includes('dora could not be refreshed'))
    })
  })

  it('does not take another account for the user', async () => {
    const issuer = 'https://provider.test'
    people.set('emil', { ...letIn, issuer, subject: '1' })
    const emil = await logIn(test, 'emil')
    people.set('emil', { ...letIn, issuer, subject: '2' })
    await until('the login ends', async () => (await statusOf(emil)) === 403)
    const again = new Browser(test.origin)
    await again.get('/hub/login')
    const page = await again.post('/hub/login', { username: 'emil', password: 'x' })
    assert.equal(page.status, 403)
  })
})

describe('auth state', { timeout: 240_000 }, () => {
  it('is kept encrypted, shown to who may see it, given to hooks and to refreshes', async () => {
    const seen: unknown[] = []
    await using test = await startHub(
      { enableAuthState: true },
      { authStateHook: (request, state) => void seen.push(request.userName, state) },
    )
    people.set('ada', { ...letIn, authState: { access_token: 'very-secret' } })
    const ada = await logIn(test, 'ada')
    const shown = await test.operator.user('ada')
    assert.deepEqual(shown.auth_state, { access_token: 'very-secret' })
    const own = await ada.api('GET', '/hub/api/users/ada')
    assert.ok(!own.text.includes('auth_state'))
    const patch = { auth_state: { access_token: 'new' } }
    const { token } = await test.operator.createToken('ada', { scopes: ['read:users!user=ada'] })
    assert.equal((await apiCaller(test, token)('PATCH', 'users/ada', patch)).status, 403)
    await test.operator.createUsers(['root'], { admin: true })
    const root = await tokenOf(test, 'root')
    const changed = await root('PATCH', 'users/ada', patch)
    assert.equal(changed.status, 200)
    assert.match(changed.text, /"auth_state":\{"access_token":"new"\}/)
    assert.match((await root('GET', 'users/ada')).text, /"auth_state":\{"access_token":"new"\}/)
    assert.equal((await root('POST', 'users/ada/server')).status, 201)
    assert.deepEqual(seen, ['ada', { access_token: 'new' }])
    for (const file of ['portico.sqlite', 'portico.sqlite-wal'])
      assert.ok(!readFileSync(join(test.dataDir, file), 'latin1').includes('very-secret'))
  })

  it('is given back at logout, which goes on where the authenticator says, also when it fails', async () => {
    class Provider implements Authenticator {
      readonly #home = 'https://provider.test/bye?was='
      authenticate = () =>
        Promise.resolve({
          kind: 'identified' as const,
          identity: { userName: 'ada', ...letIn, authState: 'the-state' },
        })
      logOut(state: unknown): Promise<void> {
        return Promise.reject(new Error(`no answer about ${String(state)}`))
      }
      logoutUrl(state: unknown): string {
        return `${this.#home}${String(state)}`
      }
    }
    const driver = { ...directoryDriver(people), create: () => new Provider() }
    await using test = await startHub({ driver, enableAuthState: true })
    const ada = await logIn(test, 'ada')
    const left = await ada.get('/hub/logout')
    assert.equal(left.headers.get('location'), 'https://provider.test/bye?was=the-state')
    assert.ok(test.logLines.some((line) => line.includes('no answer about the-state')))
  })

  it('that no key can read any more wants a new login', async () => {
    await using test = await startHub({ enableAuthState: true, authRefreshAge: 0.05 })
    people.set('ada', { ...letIn, authState: { access_token: 'secret' } })
    const ada = await logIn(test, 'ada')
    assert.equal(await statusOf(ada), 200)
    people.set('ada', letIn)
    {
      await using database = await openDatabase(join(test.dataDir, 'portico.sqlite'))
      const foreign = fernet([Buffer.alloc(32, 7)])?.encrypt(Buffer.from('{}')) ?? null
      await database.db.updateTable('users').set({ encrypted_auth_state: foreign }).execute()
    }
    await until('a login is wanted', async () => (await statusOf(ada)) === 403)
    assert.ok(test.logLines.some((line) => line.includes('no key in JUPYTERHUB_CRYPT_KEY fits')))
    const again = await logIn(test, 'ada')
    for (const _ of [1, 2, 3]) assert.equal(await statusOf(again), 200)
  })

  it('is refused where it is not kept', async () => {
    await using test = await startHub({})
    people.set('ada', { ...letIn, authState: { secret: 1 } })
    await logIn(test, 'ada')
    assert.equal((await test.operator.user('ada')).auth_state, null)
    const root = apiCaller(
      test,
      (await test.operator.createUsers(['root'], { admin: true }),
      (await test.operator.createToken('root')).token),
    )
    const refused = await root('PATCH', 'users/ada', { auth_state: { a: 1 } })
    assert.equal(refused.status, 400)
    assert.match(refused.text, /enableAuthState/)
    await assert.rejects(
      startTestHub({
        config: { authenticator: { driver: directoryDriver(people), enableAuthState: true } },
      }),
      /JUPYTERHUB_CRYPT_KEY/,
    )
  })
})

describe('who is not let in any more', { timeout: 240_000 }, () => {
  it('gets no server started, and loses the running ones where the config says so', async () => {
    await using test = await startHub({
      authRefreshAge: 3600,
      refreshPreSpawn: true,
      stopServersOfRefused: true,
    })
    people.set('ada', letIn)
    const ada = await logIn(test, 'ada')
    assert.equal((await ada.api('POST', '/hub/api/users/ada/server')).status, 201)
    people.set('ada', {})
    const refused = await ada.api('POST', '/hub/api/users/ada/servers/lab')
    assert.equal(refused.status, 403)
    assert.match(refused.text, /login again/)
    await until(
      'the server is stopped',
      async () => (await test.operator.user('ada')).server === null,
      patience,
    )
  })

  it('is blocked for what came before the block, at the next start', async () => {
    let test = await startHub({ allowAll: true })
    try {
      people.set('ada', { ...letIn, admin: true })
      const ada = await logIn(test, 'ada')
      const token = await tokenOf(test, 'ada')
      assert.equal((await ada.api('POST', '/hub/api/users/ada/server')).status, 201)
      test = await test.restart({ blockedUsers: ['ada'] })
      assert.equal((await token('GET', 'user')).status, 403)
      assert.equal(await statusOf(ada), 403)
      await until(
        'the server is stopped',
        async () => (await test.operator.user('ada')).server === null,
        patience,
      )
      assert.equal((await test.operator.user('ada')).admin, false)
      assert.deepEqual(await test.operator.tokens('ada'), [])
      test = await test.restart({ blockedUsers: [] })
      assert.equal((await token('GET', 'user')).status, 403)
    } finally {
      await test[Symbol.asyncDispose]()
    }
  })
})
