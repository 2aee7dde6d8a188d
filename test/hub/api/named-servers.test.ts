import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { startTestHub, singleUser, type TestHub } from '../../support/start-hub.ts'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { until } from '../../support/until.ts'

const patience = 30_000

describe('named servers in the API', () => {
  let test: TestHub
  let call: CallApi

  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['root'],
          allowNamedServers: true,
          namedServerLimitPerUser: ({ userName }) => (userName === 'limited' ? 2 : 0),
        },
      },
    })
    await test.operator.createUsers(['ada', 'bob', 'limited', 'grace'])
    call = apiCaller(test, (await test.operator.createToken('root')).token)
  })
  after(() => test[Symbol.asyncDispose]())

  const serversOf = async (user: string, query = '?include_stopped_servers=1') =>
    (await call('GET', `users/${user}${query}`)).json['servers'] as Record<
      string,
      Record<string, unknown>
    >

  it('are made without being started, with a name to show and options', async () => {
    const body = { display_name: 'My Thesis', user_options: { size: 'big' } }
    const made = await call('PUT', 'users/ada/servers/thesis', body)
    assert.equal(made.status, 201)
    assert.equal(made.json['name'], 'thesis')
    assert.equal(made.json['display_name'], 'My Thesis')
    assert.equal(made.json['full_name'], 'ada/thesis')
    assert.deepEqual(made.json['user_options'], { size: 'big' })
    assert.equal(made.json['stopped'], true)
    assert.equal(made.json['url'], '/user/ada/thesis/')
    assert.equal(made.json['progress_url'], '/hub/api/users/ada/servers/thesis/progress')
    assert.equal((await call('PUT', 'users/ada/servers/thesis')).status, 409)
    assert.equal((await call('PUT', 'users/ada/server')).status, 409)
    assert.equal((await call('PUT', 'users/ada/servers/')).status, 409)
    const plain = await call('PUT', 'users/ada/servers/plain', { display_name: '' })
    assert.equal(plain.status, 201)
    assert.equal(plain.json['display_name'], 'plain', 'its name, when it has no other to show')
    assert.equal((await call('GET', 'users/ada/server')).json['display_name'], '')
    await call('DELETE', 'users/ada/servers/plain', { remove: true })
    assert.deepEqual(Object.keys(await serversOf('ada', '')), [])
    assert.ok('thesis' in (await serversOf('ada')))
  })

  it('start by themselves or made by the start, keep their options, and stop', async () => {
    const body = { display_name: 'Second', user_options: { a: 1 } }
    assert.equal((await call('POST', 'users/ada/servers/second', body)).status, 201)
    const { json } = await call('GET', 'users/ada/servers/second')
    assert.equal(json['ready'], true)
    assert.equal(json['display_name'], 'Second')
    const page = await fetch(`${test.origin}/user/ada/second/x`)
    const reply = (await page.json()) as Record<string, unknown>
    assert.equal(reply['server'], 'second')
    assert.equal(reply['prefix'], '/user/ada/second/')
    assert.equal((await call('POST', 'users/ada/servers/second')).status, 400)
    assert.equal((await call('DELETE', 'users/ada/servers/second')).status, 204)
    assert.equal((await call('DELETE', 'users/ada/servers/second')).status, 204)
    assert.equal((await call('POST', 'users/ada/servers/second', null)).status, 201)
    assert.deepEqual((await serversOf('ada'))['second']?.['user_options'], { a: 1 })
    const removed = await call('DELETE', 'users/ada/servers/second', { remove: true })
    assert.equal(removed.status, 204)
    assert.equal((await call('GET', 'users/ada/servers/second')).status, 404)
    assert.equal((await call('DELETE', 'users/ada/servers/second')).status, 404)
  })

  for (const name of ['UPPER', '1a', 'a--b', 'a-', 'a%2Fb', 'a_b', 'a%00', 'x'.repeat(31)])
    it(`may not be called ${name}`, async () => {
      for (const method of ['PUT', 'POST']) {
        const { status, text } = await call(method, `users/bob/servers/${name}`)
        assert.equal(status, 400)
        assert.match(text, /Invalid server_name:/)
      }
    })

  const badBodies: readonly unknown[] = [
    [1],
    'text',
    { display_name: 3 },
    { display_name: ' x' },
    { display_name: 'a\u0000' },
    { display_name: 'a  b' },
    { user_options: [] },
    { user_options: 'x' },
  ]
  for (const body of badBodies)
    it(`are not made from ${JSON.stringify(body)}`, async () => {
      for (const method of ['PUT', 'POST'])
        assert.equal((await call(method, 'users/bob/servers/new', body)).status, 400)
      assert.deepEqual(Object.keys(await serversOf('bob')), [''])
    })

  it('are limited in number, also when several are made at once', async () => {
    const answers = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => call('PUT', `users/limited/servers/${name}`)),
    )
    const refused = answers.filter(({ status }) => status === 400)
    assert.equal(refused.length, 2)
    assert.match(refused[0]?.text ?? '', /limited already has the maximum of 2 named servers/)
    const [known = ''] = Object.keys(await serversOf('limited')).filter((name) => name !== '')
    assert.equal((await call('POST', `users/limited/servers/${known}`)).status, 201)
    assert.equal((await call('PATCH', 'users/limited/server', { name: 'e' })).status, 400)
    await call('DELETE', `users/limited/servers/${known}`, { remove: true })
    assert.equal((await call('PATCH', 'users/limited/server', { name: 'e' })).status, 200)
  })

  describe('that are changed', () => {
    it('get another name, display name and options at once', async () => {
      await call('PUT', 'users/grace/servers/old', { display_name: 'Old', user_options: { a: 1 } })
      const edit = { name: 'new', display_name: 'New', user_options: { b: 2 } }
      const { status, json } = await call('PATCH', 'users/grace/servers/old', edit)
      assert.equal(status, 200)
      assert.equal(json['name'], 'new')
      assert.equal(json['display_name'], 'New')
      assert.deepEqual(json['user_options'], { b: 2 })
      assert.equal((await call('GET', 'users/grace/servers/old')).status, 404)
      assert.equal((await call('GET', 'users/grace/servers/new')).status, 200)
    })

    it('leave a fresh default server behind when the default one gets a name', async () => {
      await call('POST', 'users/grace/server', { user_options: { from: 'default' } })
      assert.equal((await call('PATCH', 'users/grace/server', { name: 'first' })).status, 400)
      await call('DELETE', 'users/grace/server')
      const { json } = await call('PATCH', 'users/grace/server', { name: 'first' })
      assert.deepEqual(json['user_options'], { from: 'default' })
      const fresh = await call('GET', 'users/grace/server')
      assert.equal(fresh.status, 200)
      assert.deepEqual(fresh.json['user_options'], {})
    })

    const refused: readonly (readonly [server: string, body: unknown, status: number])[] = [
      ['servers/none', { name: 'x' }, 404],
      ['servers/kept', {}, 400],
      ['servers/kept', null, 400],
      ['servers/kept', { name: 'taken' }, 409],
      ['servers/kept', { name: 'Not a slug' }, 400],
      ['servers/kept', { name: 'a\ud800' }, 400],
      ['servers/kept', { name: '' }, 409],
      ['servers/kept', { display_name: 'a\nb' }, 400],
      ['servers/kept', { display_name: 3 }, 400],
      ['servers/kept', { user_options: [1] }, 400],
      ['servers/kept', { user_options: null }, 400],
      ['servers/kept', { state: {} }, 400],
      ['server', { name: 'taken' }, 409],
    ]
    for (const [server, body, wanted] of refused)
      it(`are not changed to ${JSON.stringify(body)} at ${server}`, async () => {
        await call('PUT', 'users/grace/servers/kept', { display_name: 'Kept' })
        await call('PUT', 'users/grace/servers/taken')
        assert.equal((await call('PATCH', `users/grace/${server}`, body)).status, wanted)
        const { json } = await call('GET', 'users/grace/servers/kept')
        assert.equal(json['display_name'], 'Kept')
      })

    it('are one server when two renames come at once', async () => {
      await call('PUT', 'users/grace/servers/race')
      const answers = await Promise.all(
        ['race-a', 'race-b'].map((name) => call('PATCH', 'users/grace/servers/race', { name })),
      )
      const statuses = answers.map(({ status }) => status)
      assert.deepEqual(
        statuses.toSorted((a, b) => a - b),
        [200, 404],
      )
      const left = Object.keys(await serversOf('grace')).filter((name) => name.startsWith('race'))
      assert.equal(left.length, 1)
    })

    it('either start or are renamed when both come at once', async () => {
      await call('PUT', 'users/grace/servers/both')
      const [started, renamed] = await Promise.all([
        call('POST', 'users/grace/servers/both'),
        call('PATCH', 'users/grace/servers/both', { name: 'other' }),
      ])
      assert.equal(started.status, 201)
      assert.ok([200, 400].includes(renamed.status))
      assert.equal((await call('GET', 'users/grace/servers/both')).json['ready'], true)
      await call('DELETE', 'users/grace/servers/both', { remove: true })
    })
  })

  for (const body of [true, 'x', [null], { remove: 'yes' }])
    it(`are not stopped with the body ${JSON.stringify(body)}`, async () => {
      assert.equal((await call('DELETE', 'users/ada/server', body)).status, 400)
    })

  it('do not include the default one when it is to be removed', async () => {
    assert.equal((await call('DELETE', 'users/ada/server', { remove: true })).status, 400)
  })

  it('tell what is going on, and that nothing is', async () => {
    await call('PUT', 'users/ada/servers/told')
    assert.equal((await call('GET', 'users/ada/servers/told/progress')).status, 404)
    assert.equal((await call('GET', 'users/ada/servers/none/progress')).status, 404)
    await call('POST', 'users/ada/servers/told')
    const { text } = await call('GET', 'users/ada/servers/told/progress')
    assert.match(text, /"ready":true/)
    assert.match(text, /"url":"\/user\/ada\/told\/"/)
  })
})

describe('named servers that stop slowly', () => {
  it('are removed when the stop ends, also by the next hub', async () => {
    let test = await startTestHub({
      cmd: singleUser('--stubborn'),
      config: {
        hub: { adminUsers: ['root'], allowNamedServers: true, slowStopTimeout: 0.1 },
        spawner: { interruptTimeout: 1, termTimeout: 1 },
      },
    })
    try {
      await test.operator.createUsers(['ada'])
      const { token } = await test.operator.createToken('root')
      let call = apiCaller(test, token)
      for (const name of ['one', 'two'])
        assert.equal((await call('POST', `users/ada/servers/${name}`)).status, 201)
      const remove = (name: string) => call('DELETE', `users/ada/servers/${name}`, { remove: true })
      assert.equal((await remove('one')).status, 202)
      await until(
        'it is gone',
        async () => (await call('GET', 'users/ada/servers/one')).status === 404,
        patience,
      )
      assert.equal((await call('DELETE', 'users/ada/servers/two')).status, 202)
      assert.equal((await remove('two')).status, 202)
      test = await test.restart()
      call = apiCaller(test, token)
      await until(
        'it is gone',
        async () => (await call('GET', 'users/ada/servers/two')).status === 404,
        patience,
      )
    } finally {
      await test[Symbol.asyncDispose]()
    }
  })
})

describe('a hub without named servers', () => {
  it('makes, starts, renames and stops none', async () => {
    await using test = await startTestHub({ config: { hub: { adminUsers: ['root'] } } })
    await test.operator.createUsers(['ada'])
    const call = apiCaller(test, (await test.operator.createToken('root')).token)
    for (const method of ['PUT', 'POST', 'DELETE']) {
      const { status, text } = await call(method, 'users/ada/servers/x')
      assert.equal(status, 400)
      assert.match(text, /Named servers are not enabled/)
    }
    assert.equal((await call('PATCH', 'users/ada/server', { name: 'x' })).status, 400)
    assert.equal((await call('PATCH', 'users/ada/server', { display_name: 'x' })).status, 400)
    const options = { user_options: { a: 1 } }
    assert.equal((await call('PATCH', 'users/ada/server', options)).status, 200)
    assert.equal((await call('POST', 'users/ada/servers/')).status, 201)
    assert.deepEqual((await call('GET', 'users/ada/server')).json['user_options'], { a: 1 })
  })
})
