import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { dummy } from '../../../authenticators/dummy.ts'
import { apiCaller } from '../../support/api-caller.ts'
import { Browser } from '../../support/browser.ts'
import { runs } from '../../support/hub-process.ts'
import { singleUser, startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

const patience = 30_000

const options = {
  config: {
    hub: { adminUsers: ['root'], allowNamedServers: true },
    authenticator: { allowAll: true },
  },
}

const asRoot = async (test: TestHub) =>
  apiCaller(test, (await test.operator.createToken('root')).token)

async function pidOf(test: TestHub, path: string): Promise<number> {
  const reply = await fetch(`${test.origin}${path}`)
  return ((await reply.json()) as { pid: number }).pid
}

describe('deleting a user', () => {
  it('stops all of their servers, also those that an earlier hub has started', async () => {
    let test = await startTestHub(options)
    try {
      await test.operator.createUsers(['ada'])
      let root = await asRoot(test)
      for (const path of ['server', 'servers/lab'])
        assert.equal((await root('POST', `users/ada/${path}`)).status, 201)
      const pids = [await pidOf(test, '/user/ada/'), await pidOf(test, '/user/ada/lab/')]
      test = await test.restart()
      root = await asRoot(test)
      assert.equal((await root('DELETE', 'users/ada')).status, 204)
      for (const pid of pids) await until('it is gone', () => !runs(pid), patience)
      assert.equal((await root('GET', 'users/ada')).status, 404)
      assert.equal((await root('DELETE', 'users/ada')).status, 404)
      assert.equal((await root('DELETE', 'users/root')).status, 400)
    } finally {
      await test[Symbol.asyncDispose]()
    }
  })

  it('waits for a server that is stopping, and does nothing if that takes long', async () => {
    await using test = await startTestHub({
      cmd: singleUser('--stubborn'),
      config: {
        hub: { ...options.config.hub, slowStopTimeout: 0.1 },
        spawner: { interruptTimeout: 0.7, termTimeout: 0.7 },
      },
    })
    await test.operator.createUsers(['ada'])
    const root = await asRoot(test)
    assert.equal((await root('POST', 'users/ada/server')).status, 201)
    for (const _attempt of [1, 2]) {
      const { status, text } = await root('DELETE', 'users/ada')
      assert.equal(status, 400)
      assert.match(text, /still stopping/)
    }
    await until(
      'it is deleted',
      async () => (await root('DELETE', 'users/ada')).status === 204,
      patience,
    )
  })
})

describe('making users', () => {
  it('makes none that the authenticator refuses, nor any after it', async () => {
    const picky = {
      ...dummy,
      name: 'picky',
      async create(...given: Parameters<typeof dummy.create>) {
        return Object.assign(await dummy.create(...given), {
          async addUser(name: string) {
            if (name.startsWith('bad')) throw new Error('no such account')
          },
        })
      },
    }
    await using test = await startTestHub({
      config: { hub: options.config.hub, authenticator: { driver: picky } },
    })
    const root = await asRoot(test)
    const refused = await root('POST', 'users', { usernames: ['good', 'bad1', 'later'] })
    assert.equal(refused.status, 400)
    assert.match(refused.text, /bad1: no such account/)
    assert.equal((await root('GET', 'users/good')).status, 200)
    for (const name of ['bad1', 'later'])
      assert.equal((await root('GET', `users/${name}`)).status, 404)
    assert.equal((await root('POST', 'users/bad2')).status, 400)
    assert.equal((await root('POST', 'users/later')).status, 201)
  })
})

describe('changing a user', () => {
  it('renames nobody whose servers run, and ends what names the old name', async () => {
    await using test = await startTestHub(options)
    await test.operator.createUsers(['ada', 'bob'])
    const root = await asRoot(test)
    const ada = new Browser(test.origin)
    await ada.logIn('/', 'ada')
    const made = await root('POST', 'users/root/tokens', {
      scopes: ['read:users!user=ada', 'read:servers!server=ada/lab', 'read:users!user=bob'],
    })
    const narrow = apiCaller(test, String(made.json['token']))
    await root('POST', 'users/ada/server')
    assert.equal((await root('PATCH', 'users/ada', { name: 'eve' })).status, 409)
    await root('DELETE', 'users/ada/server')
    const renamed = await root('PATCH', 'users/ada', { name: 'EVE', admin: true })
    assert.equal(renamed.status, 200)
    assert.equal(renamed.json['name'], 'eve')
    assert.equal(renamed.json['admin'], true)
    assert.equal((await root('GET', 'users/ada')).status, 404)
    assert.equal((await ada.get('/hub/home')).status, 302)
    await root('POST', 'users/ada')
    const { json } = await narrow('GET', 'user')
    const scopes = (json['scopes'] as string[]).filter((scope) => /ada|eve|bob/.test(scope))
    assert.ok(scopes.includes('read:users!user=eve'))
    assert.ok(scopes.includes('read:servers!server=eve/lab'))
    assert.ok(scopes.includes('read:users!user=bob'))
    assert.ok(scopes.every((scope) => !scope.includes('ada')))
  })

  it('changes all of it or nothing, and takes what makes sense', async () => {
    await using test = await startTestHub(options)
    await test.operator.createUsers(['ada', 'bob'])
    const root = await asRoot(test)
    const bodies: readonly (readonly [body: unknown, status: number])[] = [
      [{ name: 'BOB', admin: true }, 400],
      [{ name: '\uff42ob' }, 400],
      [{ name: 'a\u0000' }, 400],
      [{ name: 'a/b' }, 400],
      [{ name: '..' }, 400],
      [{ name: '' }, 400],
      [{ name: 'a\ud800' }, 400],
      [{ name: 3 }, 400],
      [{ admin: 'yes' }, 400],
      [{ auth_state: { a: 1 }, admin: true }, 400],
      [{ auth_state: 'x' }, 400],
      [{ groups: ['x'] }, 400],
      [{ roles: ['x'] }, 400],
      [[], 400],
      [null, 400],
      [{}, 200],
    ]
    for (const [body, wanted] of bodies) {
      const { status, text } = await root('PATCH', 'users/ada', body)
      assert.equal(status, wanted, `${JSON.stringify(body)}: ${text}`)
      assert.equal((await root('GET', 'users/ada')).json['admin'], false)
    }
    const state = await root('PATCH', 'users/ada', { auth_state: { a: 1 } })
    assert.match(state.text, /JUPYTERHUB_CRYPT_KEY/)
    for (const name of ['ADA', '\uff21da', 'Ada'])
      assert.equal((await root('POST', `users/${encodeURIComponent(name)}`)).status, 409)
    assert.equal((await root('POST', 'users', { usernames: ['New', 'new', 'ada'] })).status, 201)
    assert.equal((await root('POST', 'users/ada/admin-access')).status, 403)
  })
})

describe('the deprecated endpoints about credentials', () => {
  it('tell callers with a token whose token or cookie they were shown', async () => {
    await using test = await startTestHub(options)
    await test.operator.createUsers(['ada'])
    const { token } = await test.operator.createToken('ada')
    const ada = new Browser(test.origin)
    await ada.logIn('/', 'ada')
    const root = await asRoot(test)
    const byToken = await root('GET', `authorizations/token/${token}`)
    assert.equal(byToken.json['name'], 'ada')
    assert.equal(byToken.json['kind'], 'user')
    assert.equal((await root('GET', 'authorizations/token/unknown')).status, 404)
    const name = 'jupyterhub-hub-login'
    const value = encodeURIComponent((ada.cookie(name) ?? '').replaceAll('"', ''))
    const byCookie = await root('GET', `authorizations/cookie/${name}/${value}`)
    assert.equal(byCookie.json['name'], 'ada')
    assert.equal((await root('GET', `authorizations/cookie/other/${value}`)).status, 404)
    assert.equal((await root('GET', `authorizations/cookie/${name}/x`)).status, 404)
    const gone = await root('POST', 'authorizations/token')
    assert.equal(gone.status, 404)
    assert.match(gone.text, /users\/NAME\/tokens/)
    const path = `/hub/api/authorizations/token/${token}`
    assert.equal((await ada.api('GET', path)).status, 403)
    assert.ok(test.logLines.every((line) => !line.includes(token)))
  })
})
