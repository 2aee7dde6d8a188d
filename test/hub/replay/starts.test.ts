import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { singleUser, startTestHub, type TestHub } from '../../support/start-hub.ts'
import { until } from '../../support/until.ts'

const patience = 60_000

/** A file for each user whose server is to come up late. */
const folder = mkdtempSync(join(tmpdir(), 'portico-starts-'))
const held = (user: string) => join(folder, user)

/** Servers that behave as their user's name says. */
const [node, program] = singleUser()
const script = `case "$JUPYTERHUB_USER" in
  bad*) exit 3 ;;
  never*) exec '${node}' '${program}' --never-listen ;;
  slow*) exec '${node}' '${program}' --unready-while='${folder}'/"$JUPYTERHUB_USER" ;;
  stubborn*) exec '${node}' '${program}' --stubborn ;;
  *) exec '${node}' '${program}' ;;
esac`

/** What JupyterHub's own tests ask of starts and stops that are slow, fail or never end. */
describe("JupyterHub's tests of starts, by a hub without patience", () => {
  let test: TestHub
  let root: CallApi
  let token = ''

  before(async () => {
    test = await startTestHub({
      cmd: ['/bin/sh', '-c', script],
      config: {
        hub: {
          adminUsers: ['root'],
          slowSpawnTimeout: 0,
          slowStopTimeout: 0,
          activeServerLimit: 3,
          concurrentSpawnLimit: 1,
        },
        spawner: { httpTimeout: 20 },
      },
    })
    const names = [
      'quick',
      'bad',
      'slow',
      'slow2',
      'never',
      'idle',
      'other',
      'more',
      'stubborn',
      'absent',
    ]
    await test.operator.createUsers(names)
    token = (await test.operator.createToken('root')).token
    root = apiCaller(test, token)
  })
  after(async () => {
    for (const user of ['slow', 'slow2']) rmSync(held(user), { force: true })
    await test[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const server = async (user: string) => (await root('GET', `users/${user}/server`)).json
  const settled = (user: string) =>
    until(`${user} is settled`, async () => (await server(user))['pending'] === null, patience)
  const stopped = (user: string) =>
    until(`${user} is stopped`, async () => (await server(user))['stopped'] === true, patience)

  /** Every event of a start, to the end of its stream; `begun` is called with the first one. */
  async function progress(user: string, begun?: () => void) {
    const answer = await fetch(`${test.origin}/hub/api/users/${user}/server/progress`, {
      headers: { Authorization: `token ${token}` },
      signal: AbortSignal.timeout(patience),
    })
    const type = answer.headers.get('content-type')
    if (type !== 'text/event-stream') return { status: answer.status, type, events: [] }
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of answer.body ?? []) {
      text += decoder.decode(chunk as Uint8Array, { stream: true })
      if (text.includes('data: ')) begun?.()
    }
    assert.doesNotMatch(text, /^(?:event|id|retry):/m)
    const events = [...text.matchAll(/^data: (.*)$/gm)].map(
      ([, line = '']) => JSON.parse(line) as Record<string, unknown>,
    )
    return { status: answer.status, type, events }
  }

  it('starts and stops are activity of the user, whoever asks for them', async () => {
    const active = async () => {
      const { json } = await root('GET', 'users/absent')
      const at = json['last_activity'] as string | null
      return at === null ? null : Date.parse(at)
    }
    assert.equal(await active(), null)
    await root('POST', 'users/absent/server')
    await settled('absent')
    const started = (await active()) ?? 0
    assert.equal(started, Date.parse(String((await server('absent'))['started'])))
    await root('DELETE', 'users/absent/server')
    await stopped('absent')
    const { last_activity: ended } = await server('absent')
    assert.ok(Date.parse(String(ended)) > started)
    assert.ok(((await active()) ?? 0) >= started)
  })

  it('a start that takes longer is answered at once, shown as pending, and asked for twice', async () => {
    writeFileSync(held('slow'), '')
    const first = await root('POST', 'users/slow/server')
    assert.deepEqual([first.status, first.text], [202, ''])
    const { json } = await root('GET', 'users/slow')
    assert.deepEqual([json['pending'], json['server']], ['spawn', null])
    const shown = await server('slow')
    assert.deepEqual([shown['pending'], shown['ready'], shown['stopped']], ['spawn', false, false])
    assert.equal((await root('POST', 'users/slow/server')).status, 202)
    const throttled = await root('POST', 'users/other/server')
    assert.equal(throttled.status, 429, 'one start at a time')
    assert.match(throttled.text, /Too many users|try again/i)
    const { events } = await progress('slow', () => rmSync(held('slow'), { force: true }))
    assert.deepEqual(events[0], { progress: 0, message: 'Server requested' })
    assert.deepEqual(events.at(-1), {
      progress: 100,
      ready: true,
      message: 'Server ready at /user/slow/',
      html_message: 'Server ready at <a href="/user/slow/">/user/slow/</a>',
      url: '/user/slow/',
    })
    assert.equal((await root('GET', 'users/slow')).json['server'], '/user/slow/')
    assert.equal((await root('POST', 'users/slow/server')).status, 400, 'it runs')
    const late = await progress('slow')
    assert.deepEqual(late.events, [events.at(-1)], 'for a server that is ready, one event')
  })

  it('says when to come back', async () => {
    writeFileSync(held('slow2'), '')
    assert.equal((await root('POST', 'users/slow2/server')).status, 202)
    const answer = await fetch(`${test.origin}/hub/api/users/other/server`, {
      method: 'POST',
      headers: { Authorization: `token ${token}` },
    })
    assert.equal(answer.status, 429)
    const seconds = Number(answer.headers.get('retry-after'))
    assert.ok(Number.isInteger(seconds) && seconds >= 30 && seconds <= 60, String(seconds))
    await answer.body?.cancel()
    const deleted = await root('DELETE', 'users/slow2/server')
    assert.ok([202, 204].includes(deleted.status), 'a start is cancelled by a stop')
    await stopped('slow2')
    rmSync(held('slow2'), { force: true })
    const { events } = await progress('slow2')
    assert.equal(events.length <= 1, true)
  })

  it('a start that fails says so on its stream, also afterwards, and leaves nothing', async () => {
    const { status } = await root('POST', 'users/bad/server')
    assert.ok(status === 202 || status === 500, String(status))
    const { events } = await progress('bad')
    const last = events.at(-1) ?? {}
    assert.deepEqual([last['progress'], last['failed']], [100, true])
    assert.match(String(last['message']), /^Spawn failed: ./)
    await stopped('bad')
    const again = await progress('bad')
    assert.deepEqual([again.events.length, again.events[0]?.['failed']], [1, true])
    const model = await root('GET', 'users/bad')
    assert.deepEqual([model.json['pending'], model.json['server']], [null, null])
    const { json } = await root('GET', 'users/bad/tokens')
    assert.deepEqual(json['api_tokens'], [], 'no token of the failed start is left')
    assert.equal((await root('DELETE', 'users/bad/server')).status, 204)
  })

  it('a server that never answers is starting until somebody stops it', async () => {
    assert.equal((await root('POST', 'users/never/server')).status, 202)
    assert.equal((await server('never'))['pending'], 'spawn')
    assert.ok([202, 204].includes((await root('DELETE', 'users/never/server')).status))
    await stopped('never')
    const [last] = (await progress('never')).events.slice(-1)
    assert.ok(last === undefined || last['failed'] === true)
  })

  it('has no stream for a server that nobody starts, or that is not there', async () => {
    assert.equal((await progress('idle')).status, 404)
    assert.match((await root('GET', 'users/idle/servers//progress')).text, /is not starting/)
    assert.equal((await progress('nobody')).status, 404)
    assert.equal((await root('GET', 'users/idle/servers/none/progress')).status, 404)
  })

  it('a stop that takes longer is answered at once, and asked for twice', async () => {
    assert.equal((await root('POST', 'users/stubborn/server')).status, 202)
    await settled('stubborn')
    assert.equal((await root('DELETE', 'users/stubborn/server')).status, 202)
    assert.equal((await server('stubborn'))['pending'], 'stop')
    assert.equal((await progress('stubborn')).status, 400)
    assert.equal((await root('DELETE', 'users/stubborn/server')).status, 202)
    assert.equal((await root('POST', 'users/stubborn/server')).status, 400, 'while it stops')
    assert.equal((await root('DELETE', 'users/stubborn')).status, 400, 'so cannot its user')
    await stopped('stubborn')
    assert.equal((await root('DELETE', 'users/stubborn/server')).status, 204)
  })

  it('beyond the number of servers there may be, nothing starts, and no time is named', async () => {
    for (const user of ['quick', 'idle']) {
      assert.equal((await root('POST', `users/${user}/server`)).status, 202)
      await settled(user)
    }
    const answer = await fetch(`${test.origin}/hub/api/users/more/server`, {
      method: 'POST',
      headers: { Authorization: `token ${token}` },
    })
    assert.deepEqual([answer.status, answer.headers.get('retry-after')], [429, null])
    await answer.body?.cancel()
    assert.deepEqual((await root('GET', 'users/more')).json['pending'], null)
    for (const state of ['ready', 'active']) {
      const { text } = await root('GET', `users?state=${state}`)
      const names = (JSON.parse(text) as { name: string }[]).map(({ name }) => name)
      assert.deepEqual(names.toSorted(), ['idle', 'quick', 'slow'], state)
    }
    await root('DELETE', 'users/quick/server')
    await stopped('quick')
    assert.equal((await root('POST', 'users/more/server')).status, 202)
    await settled('more')
  })

  it('forgets the options of an earlier start only when it is given others', async () => {
    await root('DELETE', 'users/more/server')
    await stopped('more')
    for (const [body, options] of [
      [{ user_options: { a: 1 } }, { a: 1 }],
      [undefined, { a: 1 }],
      [{ user_options: null }, { a: 1 }],
      [{ old: 'form' }, { old: 'form' }],
      [{ display_name: 'Shown' }, { old: 'form' }],
      [{}, {}],
    ] as const) {
      assert.equal((await root('POST', 'users/more/server', body)).status, 202)
      await settled('more')
      assert.deepEqual((await server('more'))['user_options'], options, JSON.stringify(body))
      await root('DELETE', 'users/more/server')
      await stopped('more')
    }
  })
})
