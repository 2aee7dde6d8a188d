import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { Browser } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

describe('pages of named servers', () => {
  let test: TestHub
  let root: CallApi
  let ada: Browser

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['root'],
          allowNamedServers: true,
          namedServerLimitPerUser: 5,
          defaultServerName: 'main',
        },
        authenticator: { allowAll: true },
      },
    })
    await test.operator.createUsers(['ada', 'bob'])
    root = apiCaller(test, (await test.operator.createToken('root')).token)
    ada = new Browser(test.origin)
    await ada.logIn('/', 'ada')
  })
  after(() => test[Symbol.asyncDispose]())

  it('add one from the home page, by the name that was typed', async () => {
    const empty = await ada.get('/hub/home')
    assert.match(empty.text, /<form id="add-server"[^>]* method="post"/)
    const added = await ada.post('/hub/home', { name: '  Ünï   Côde ' })
    assert.equal(added.status, 303)
    assert.equal(added.headers.get('location'), '/hub/spawn/ada/uni-code')
    const again = await ada.post('/hub/home', { name: 'uni code' })
    assert.match(again.headers.get('location') ?? '', /^\/hub\/spawn\/ada\/uni-code-[0-9a-f]{8}$/)
    const home = await ada.get('/hub/home')
    assert.match(home.text, /Ünï Côde/)
    assert.match(home.text, /data-api="\/hub\/api\/users\/ada\/servers\/uni-code"/)
    await root('DELETE', 'users/ada/servers/uni-code', { remove: true })
  })

  it('say what is wrong with a new one, and keep what was typed', async () => {
    const none = await ada.post('/hub/home', { name: '   ' })
    assert.equal(none.status, 400)
    assert.match(none.text, /role="alert" id="new-server-error">[^<]+/)
    for (const name of ['a', 'b', 'c', 'd', 'e']) await root('PUT', `users/bob/servers/${name}`)
    const bob = new Browser(test.origin)
    await bob.logIn('/', 'bob')
    const full = await bob.post('/hub/home', { name: 'One <more>' })
    assert.equal(full.status, 400)
    assert.match(full.text, /maximum of 5 named servers/)
    assert.match(full.text, /value="One &lt;more&gt;"/)
    const foreign = await ada.post('/hub/home', { name: 'x', _xsrf: 'wrong' })
    assert.equal(foreign.status, 403)
  })

  it('start one from an address with its display name and options', async () => {
    const query = 'display_name=My%20Server&opt-x=1&y=2'
    const started = await ada.get(`/hub/spawn/ada/ok1?${query}`)
    assert.equal(started.status, 302)
    const location = started.headers.get('location') ?? ''
    assert.ok(
      ['/user/ada/ok1/', '/hub/spawn-pending/ada/ok1?opt-x=1&y=2'].includes(location),
      location,
    )
    await until(
      'it is up',
      async () => (await root('GET', 'users/ada/servers/ok1')).json['ready'] === true,
      30_000,
    )
    const { json } = await root('GET', 'users/ada/servers/ok1')
    assert.equal(json['display_name'], 'My Server')
    assert.deepEqual(json['user_options'], { x: ['1'] })
    const pending = await ada.get('/hub/spawn-pending/ada/ok1')
    assert.equal(pending.headers.get('location'), '/user/ada/ok1/')
    const back = await ada.get('/hub/user/ada/ok1/lab?a=b')
    assert.equal(back.headers.get('location'), '/user/ada/ok1/lab?a=b&redirects=1')
    await root('DELETE', 'users/ada/servers/ok1')
    const stopped = await ada.get('/hub/user/ada/ok1/lab?a=b')
    assert.equal(stopped.status, 424)
    assert.match(stopped.text, /\/hub\/spawn\/ada\/ok1\?next=/)
    assert.match(stopped.text, /My Server/)
  })

  it('refuse names that are none', async () => {
    assert.equal((await ada.get('/hub/spawn/ada/Not_A_Slug')).status, 400)
    const posted = await ada.post('/hub/spawn/ada/Not_A_Slug')
    assert.equal(posted.status, 400)
    assert.match(posted.text, /id="spawn_form"/)
    assert.equal((await ada.get('/hub/spawn/ada/a?opt-=1')).status, 400)
    assert.equal((await ada.get('/hub/spawn-pending/ada/none')).status, 404)
    assert.equal((await ada.get('/hub/spawn/bob/a')).status, 404)
  })

  it('add the slash that addresses of servers and services end in', async () => {
    const stranger = new Browser(test.origin)
    for (const [from, to] of [
      ['/user/bob', '/user/bob/'],
      ['/user/b%20b?a=b/c', '/user/b%20b/?a=b/c'],
      ['/services/grades?next=//x', '/services/grades/?next=//x'],
    ] as const) {
      const { status, headers } = await stranger.get(from)
      assert.deepEqual([status, headers.get('location')], [301, to])
    }
    const below = await stranger.get('/user/bob/lab')
    assert.deepEqual([below.status, below.headers.get('location')], [302, '/hub/user/bob/lab'])
  })

  it('lead to the configured server from anywhere', async () => {
    const { headers } = await ada.get('/hub/user-redirect/tree/a%20b?c=d')
    const next = encodeURIComponent('/user/ada/main/tree/a%20b?c=d')
    assert.equal(headers.get('location'), `/hub/spawn/ada/main?next=${next}`)
  })
})
