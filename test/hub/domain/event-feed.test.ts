import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expandScopes } from '../../../packages/core/scopes.ts'
import type { Caller } from '../../../hub/domain/access.ts'
import { EventFeed, type EventFeedDeps, type FedEvent } from '../../../hub/domain/event-feed.ts'
import { createEvents, type Events, type HubEvent } from '../../../hub/events.ts'

const at = new Date('2026-01-02T03:04:05.000Z')

function feedOf(options: Partial<EventFeedDeps> = {}): { events: Events; feed: EventFeed } {
  const events = createEvents()
  const groups: Readonly<Record<string, readonly string[]>> = { ada: ['physics'] }
  const access = { groupsOf: async (user: string) => groups[user] ?? [] }
  return { events, feed: new EventFeed({ events, access, clock: () => at, ...options }) }
}

/** A service that holds these scopes. */
function callerWith(...scopes: readonly string[]): Caller {
  return {
    owner: { kind: 'service', service: { id: 1, name: 'reader', admin: false } },
    name: 'reader',
    groups: [],
    roles: [],
    scopes: expandScopes(scopes, { serviceName: 'reader' }),
    proof: { kind: 'socket' },
  }
}

function following(
  feed: EventFeed,
  caller: Caller,
  options: {
    readonly after?: string
    readonly signal?: AbortSignal
    identify?: () => Promise<Caller | null>
  } = {},
) {
  const {
    after = null,
    signal = new AbortController().signal,
    identify = async () => caller,
  } = options
  return feed.follow({ caller, after, signal, identify })
}

/** Reads so many events; keep-alives are left out. */
async function take(stream: AsyncGenerator<FedEvent | null>, count: number): Promise<FedEvent[]> {
  const events: FedEvent[] = []
  while (events.length < count) {
    const { done, value } = await stream.next()
    assert.ok(!done, `the stream ended after ${events.length} events`)
    if (value) events.push(value)
  }
  return events
}

const login = (user: string): HubEvent => ({ kind: 'login', user, peer: '192.0.2.7' })
const kinds = (events: readonly FedEvent[]) => events.map(({ facts }) => facts.kind)
const admin = callerWith(
  'admin:users',
  'admin:servers',
  'tokens',
  'admin:groups',
  'read:services',
  'shares',
  'read:roles',
)

test('gives what happens from the moment of following on', async () => {
  const { events, feed } = feedOf()
  events.emit(login('early'))
  const stream = following(feed, admin)
  assert.equal((await stream.next()).value?.facts.kind, 'following')
  events.emit(login('ada'))
  const [event] = await take(stream, 1)
  assert.deepEqual(event?.facts, {
    kind: 'login',
    at: at.toISOString(),
    user: 'ada',
    peer: '192.0.2.7',
  })
})

test('goes on after an event that is known, and says when some may be missing', async () => {
  const { events, feed } = feedOf({ capacity: 10 })
  const stream = following(feed, admin)
  await stream.next()
  for (const user of ['u1', 'u2', 'u3']) events.emit(login(user))
  const [first] = await take(stream, 1)
  const again = await take(following(feed, admin, { after: first?.id ?? '' }), 3)
  assert.deepEqual(
    again.map(({ facts }) => facts['user'] ?? facts.kind),
    ['following', 'u2', 'u3'],
  )
  for (let index = 0; index < 50; index += 1) events.emit(login(`more${index}`))
  for (const after of [first?.id ?? '', 'abcd-1', 'nonsense', `${first?.id}99`])
    assert.deepEqual(kinds(await take(following(feed, admin, { after }), 1)), ['gap'])
})

/** By kind: what it takes to see it, and what does not do. */
const subjects: readonly [event: HubEvent, enough: string, tooLittle: string][] = [
  [login('ada'), 'read:users:activity!user=ada', 'read:users:activity!user=eve'],
  [login('ada'), 'read:users:activity!group=physics', 'read:users:activity!group=chess'],
  [
    { kind: 'login-failed', user: 'ada', peer: '192.0.2.7', reason: 'wrong password' },
    'admin:users',
    'read:users',
  ],
  [{ kind: 'user-blocked', user: 'ada', by: 'x' }, 'admin:users!user=ada', 'read:users'],
  [{ kind: 'user-created', user: 'ada', by: 'x' }, 'list:users', 'read:servers!user=eve'],
  [
    { kind: 'user-renamed', user: 'ada', from: 'b', by: 'x' },
    'read:users!user=ada',
    'read:users!user=b',
  ],
  [{ kind: 'admin-changed', user: 'ada', admin: true, by: 'x' }, 'read:roles:users', 'read:hub'],
  [
    { kind: 'server-started', user: 'ada', server: 's' },
    'read:servers!server=ada/s',
    'read:servers!server=ada/',
  ],
  [
    { kind: 'server-failed', user: 'ada', server: '', cause: 'crashed' },
    'read:servers!user=ada',
    'access:servers',
  ],
  [
    { kind: 'share-granted', user: 'ada', server: '', with: 'user:eve', by: 'ada' },
    'read:shares!user=ada',
    'read:users:shares!user=eve',
  ],
  [
    { kind: 'token-issued', user: 'ada', token: 'a1', by: 'ada' },
    'read:tokens!user=ada',
    'read:users',
  ],
  [{ kind: 'group-created', group: 'g', by: 'x' }, 'list:groups', 'read:groups:name!group=h'],
  [
    { kind: 'group-members-changed', group: 'g', added: ['ada'], removed: [], by: 'x' },
    'read:groups!group=g',
    'read:groups:name',
  ],
  [
    { kind: 'service-created', service: 's', by: 'x' },
    'read:services:name!service=s',
    'read:users',
  ],
  [{ kind: 'service-failed', service: 's', cause: 'crashed' }, 'read:services', 'list:services'],
]

for (const [event, enough, tooLittle] of subjects)
  test(`${event.kind} is for ${enough}, not for ${tooLittle}`, async () => {
    const { events, feed } = feedOf()
    const last: HubEvent = { kind: 'server-stopped', user: 'last', server: '' }
    for (const [scope, expected] of [
      [enough, [event.kind, 'server-stopped']],
      [tooLittle, ['server-stopped']],
    ] as const) {
      const stream = following(feed, callerWith(scope, 'read:servers!user=last'))
      await stream.next()
      events.emit(event)
      events.emit(last)
      assert.deepEqual(kinds(await take(stream, expected.length)), expected)
    }
  })

test('addresses, reasons and the names of others are only for those who may know them', async () => {
  const { events, feed } = feedOf()
  const stream = following(
    feed,
    callerWith('read:users:activity', 'read:tokens', 'read:users:name!user=ada'),
  )
  await stream.next()
  events.emit(login('ada'))
  events.emit({ kind: 'token-issued', user: 'ada', token: 'a1', by: 'boss' })
  events.emit({ kind: 'token-revoked', user: 'ada', token: 'a1', by: 'ada' })
  assert.deepEqual(
    (await take(stream, 3)).map(({ facts: { at: _at, ...facts } }) => facts),
    [
      { kind: 'login', user: 'ada' },
      { kind: 'token-issued', user: 'ada', token: 'a1' },
      { kind: 'token-revoked', user: 'ada', token: 'a1', by: 'ada' },
    ],
  )
})

test('rights count at the moment of delivery, and without them the stream ends', async () => {
  const { events, feed } = feedOf()
  let now: Caller | null = admin
  const stream = following(feed, admin, { identify: async () => now })
  await stream.next()
  events.emit(login('u1'))
  events.emit(login('u2'))
  events.emit({ kind: 'server-started', user: 'u3', server: '' })
  await take(stream, 1)
  now = callerWith('read:servers')
  assert.deepEqual(kinds(await take(stream, 1)), ['server-started'])
  events.emit({ kind: 'server-stopped', user: 'u3', server: '' })
  now = null
  assert.equal((await stream.next()).done, true)
})

test('who falls behind what is kept is let go', async () => {
  const { events, feed } = feedOf({ capacity: 10 })
  const stream = following(feed, admin)
  await stream.next()
  for (let index = 0; index < 30; index += 1) events.emit(login(`u${index}`))
  assert.equal((await stream.next()).done, true)
})

test('ends when its client has gone, and when the hub ends', async () => {
  const { feed } = feedOf()
  const gone = new AbortController()
  const streams = [following(feed, admin, { signal: gone.signal }), following(feed, admin)]
  for (const stream of streams) await stream.next()
  const ends = streams.map((stream) => stream.next())
  gone.abort()
  assert.equal((await ends[0])?.done, true)
  feed.close()
  assert.equal((await ends[1])?.done, true)
})

test('nobody can open streams without end', async () => {
  const { feed } = feedOf({ limits: { all: 3, each: 2 } })
  const other: Caller = { ...admin, name: 'other' }
  const open = [following(feed, admin), following(feed, admin), following(feed, other)]
  for (const stream of open) await stream.next()
  for (const caller of [admin, other, { ...admin, name: 'third' }])
    assert.throws(() => following(feed, caller), { code: 'too_many_requests' })
  await open[0]?.return(undefined)
  await following(feed, { ...admin, name: 'third' }).next()
})
