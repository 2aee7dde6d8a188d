import assert from 'node:assert/strict'
import { request } from 'node:http'
import { after, before, describe, test } from 'node:test'
import { type Client, createClient, type EventModel } from '../../../packages/client/index.ts'
import { Browser } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

let hub: TestHub

before(async () => {
  hub = await startTestHub({ config: { authenticator: { allowAll: true } } })
})
after(() => hub[Symbol.asyncDispose]())

type Events = AsyncGenerator<EventModel & { readonly id: string }>

/** A client with a token of this user, who is made. */
async function clientOf(user: string, scopes?: readonly string[]) {
  await hub.operator.createUser(user)
  const { token, id } = await hub.operator.createToken(user, scopes ? { scopes } : {})
  return { client: createClient({ url: hub.origin, token }), token, id }
}

/** A stream that is open: what happens from now on is in it. */
async function follow(client: Client, after?: string): Promise<Events> {
  const events = client.events(after === undefined ? {} : { after })
  assert.equal((await events.next()).value?.kind, 'following')
  return events
}

async function take(events: Events, count: number) {
  const taken: (EventModel & { readonly id: string })[] = []
  while (taken.length < count) {
    const { done, value } = await events.next()
    assert.ok(!done, `the stream ended after ${taken.map(({ kind }) => kind).join(', ')}`)
    taken.push(value)
  }
  return taken
}

const ends = async (events: Events): Promise<void> => {
  for (;;) if ((await events.next()).done) return
}

describe('GET /events', { timeout: 120_000 }, () => {
  test('tells the operator of users, groups and servers as it happens', async () => {
    const events = await follow(hub.operator)
    await hub.operator.createUser('ada')
    await hub.operator.createGroup('physics', { users: ['ada'] })
    await hub.operator.startServer('ada')
    await hub.operator.stopServer('ada')
    const wanted = [
      'user-created',
      'group-created',
      'server-starting',
      'server-started',
      'server-stopping',
      'server-stopped',
    ]
    const seen: string[] = []
    for await (const event of events) {
      if (wanted.includes(event.kind)) seen.push(event.kind)
      if (event.kind === 'server-stopped') break
    }
    assert.deepEqual(seen, wanted)
  })

  test('tells a user of their own server only, and tells the rest of nobody', async () => {
    const { client } = await clientOf('own')
    const events = await follow(client)
    await hub.operator.createUser('other')
    await hub.operator.startServer('other')
    await hub.operator.startServer('own')
    const seen = await take(events, 2)
    assert.deepEqual(
      seen.map(({ kind, user, server }) => [kind, user, server]),
      [
        ['server-starting', 'own', ''],
        ['server-started', 'own', ''],
      ],
    )
    await events.return(undefined)
  })

  test('goes on where a connection broke, and tells of a gap after a restart', async () => {
    const { client } = await clientOf('again')
    const first = await follow(client)
    await hub.operator.createToken('again', { note: 'one' })
    const [issued] = await take(first, 1)
    await first.return(undefined)
    await hub.operator.createToken('again', { note: 'two' })
    const second = await follow(client, issued?.id)
    assert.equal((await take(second, 1))[0]?.kind, 'token-issued')
    await second.return(undefined)
    const [gap] = await take(client.events({ after: 'feedbeef-12' }), 1)
    assert.equal(gap?.kind, 'gap')
  })

  test('ends with the token that it was opened with', async () => {
    const { client, id } = await clientOf('revoked')
    const events = await follow(client)
    await hub.operator.revokeToken('revoked', id)
    await ends(events)
  })

  test('ends with the login that it was opened with', async () => {
    const browser = new Browser(hub.origin)
    await browser.logIn(hub.baseUrl, 'visitor')
    const ended = streamOf(browser)
    await ended.opened
    await browser.send('GET', '/hub/logout')
    await ended.closed
  })

  test('is for those alone who say who they are', async () => {
    const stranger = createClient({ url: hub.origin })
    await assert.rejects(stranger.events().next(), { status: 403 })
  })

  test('is open so many times at once for one caller, and then no more', async () => {
    const { client } = await clientOf('greedy')
    const open = await Promise.all(Array.from({ length: 20 }, () => follow(client)))
    await assert.rejects(client.events().next(), { status: 429, retryAfter: 30 })
    for (const events of open) await events.return(undefined)
  })
})

/** The stream as an EventSource of the browser's page would read it. */
function streamOf(browser: Browser) {
  const xsrf = browser.cookie('_xsrf') ?? ''
  const path = `/hub/api/events?_xsrf=${encodeURIComponent(xsrf)}`
  const headers = {
    Cookie: browser.cookieHeader(path),
    'Sec-Fetch-Site': 'same-origin',
    'Sec-Fetch-Mode': 'cors',
  }
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  const closed = new Promise<void>((resolve, reject) => {
    request(`${hub.origin}${path}`, { headers }, (response) => {
      assert.equal(response.statusCode, 200)
      response.once('data', open)
      response.on('close', resolve)
    })
      .on('error', reject)
      .end()
  })
  return { opened, closed }
}
