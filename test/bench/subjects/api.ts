import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '../../../packages/client/index.ts'
import type { BenchHub } from '../contender.ts'
import type { LoadRequest } from '../load-generator.ts'
import { measureRequests } from '../measure.ts'
import { cpuOf, memoryOf } from '../process-figures.ts'
import { type Seed, seededName, seededToken } from '../seeds/seed.ts'
import type { Bench, Figure, Subject } from '../subject.ts'

/** The REST API as scripts, services and servers use it, on databases filled for the purpose. */
export const api: Subject = {
  name: 'api',
  summary: 'the REST API and a start with 50,000 users and 1,000 running servers',
  applies: (hub) => hub.processes !== null,
  rounds: () => 1,
  async measure(bench) {
    const few = await withSeeded(bench, { users: 1_000, groups: 20, running: 100 }, (hub) =>
      lists({ ...bench, hub }, '1,000 users'),
    )
    const many = await withSeeded(bench, campus, (hub) => figuresOf({ ...bench, hub }))
    return [...few, ...many, ...(await creations(bench))]
  },
}

const campus: Seed = { users: 50_000, groups: 200, running: 1_000 }

async function withSeeded(
  { contender, launcher }: Bench,
  seed: Seed,
  measure: (hub: BenchHub) => Promise<readonly Figure[]>,
): Promise<readonly Figure[]> {
  const hub = await contender.start(launcher, seed)
  try {
    return await measure(hub)
  } finally {
    await hub.stop()
  }
}

async function figuresOf(bench: Bench): Promise<readonly Figure[]> {
  const { hub } = bench
  const start: Figure = {
    label: 'start with 50,000 users: first /hub/health',
    value: hub.startSeconds ?? Number.NaN,
    unit: 's',
  }
  const atRest = await memoryAtRest(hub)
  return [
    start,
    ...atRest,
    ...(await oneUser(bench)),
    ...(await lists(bench, '50,000 users')),
    ...(await pagesInTurn(bench)),
    ...(await loginPage(bench)),
    ...(await activity(bench)),
    ...memoryFigure(hub, 'after load'),
  ]
}

/** Milliseconds after which a started hub has settled. */
const settled = 20_000

async function memoryAtRest(hub: BenchHub): Promise<readonly Figure[]> {
  const rest = hub.startedAt + settled - performance.now()
  if (rest > 0) await sleep(rest)
  return memoryFigure(hub, 'at rest')
}

function memoryFigure({ processes }: BenchHub, when: string): readonly Figure[] {
  if (!processes) return []
  return [
    {
      label: `hub with 50,000 users, ${when}: Pss`,
      value: memoryOf(processes.hub).pss,
      unit: 'MiB',
    },
  ]
}

const headersOf = (hub: BenchHub) => ({ Authorization: `token ${hub.token}` })

const direct = (hub: BenchHub, path: string): URL => new URL(path, hub.direct ?? hub.front)

async function oneUser(bench: Bench): Promise<readonly Figure[]> {
  const { hub } = bench
  const same = await measureRequests(bench, {
    label: 'GET /users/NAME, c=32',
    url: direct(hub, `hub/api/users/${seededName(5_000)}`),
    headers: headersOf(hub),
    connections: 32,
    seconds: secondsOf(bench),
  })
  const others = await measureRequests(bench, {
    label: 'GET /users/NAME of 5,000 in turn, c=32',
    url: direct(hub, 'hub/api/'),
    headers: {},
    turns: Array.from({ length: 5_000 }, (_, index) => ({
      method: 'GET',
      path: `/hub/api/users/${seededName(index * 9)}`,
      headers: headersOf(hub),
      body: '',
    })),
    connections: 32,
    seconds: secondsOf(bench),
  })
  return [...same, ...others]
}

async function lists(bench: Bench, size: string): Promise<readonly Figure[]> {
  const { hub } = bench
  const figures: Figure[] = []
  for (const query of ['limit=50', 'limit=50&sort=-last_activity&name_filter=x'])
    figures.push(
      ...(await measureRequests(bench, {
        label: `GET /users?${query}, ${size}, c=32`,
        url: direct(hub, `hub/api/users?${query}`),
        headers: headersOf(hub),
        connections: 32,
        seconds: secondsOf(bench),
      })),
    )
  return figures
}

/** As a script goes through everybody: each request is for another page. */
async function pagesInTurn(bench: Bench): Promise<readonly Figure[]> {
  const { hub } = bench
  const figures: Figure[] = []
  for (const { query, pages } of [
    { query: 'limit=50', pages: 900 },
    { query: 'limit=50&sort=-last_activity&name_filter=x', pages: 200 },
  ])
    figures.push(
      ...(await measureRequests(bench, {
        label: `GET /users?${query}, ${pages} pages in turn, c=32`,
        url: direct(hub, 'hub/api/'),
        headers: {},
        turns: Array.from({ length: pages }, (_, page) => ({
          method: 'GET',
          path: `/hub/api/users?${query}&offset=${page * 50}`,
          headers: headersOf(hub),
          body: '',
        })),
        connections: 32,
        seconds: secondsOf(bench),
      })),
    )
  return figures
}

function loginPage(bench: Bench): Promise<readonly Figure[]> {
  return measureRequests(bench, {
    label: 'GET /login, c=32',
    url: direct(bench.hub, 'hub/login'),
    headers: { Accept: 'text/html' },
    connections: 32,
    seconds: secondsOf(bench),
  })
}

/** Reports a second of 10,000 servers that report every 300 s. */
const reportRate = 10_000 / 300

/** What servers report of themselves, each with its own token. */
async function activity(bench: Bench): Promise<readonly Figure[]> {
  const { hub } = bench
  const reports = Array.from({ length: campus.running }, (_, index) => report(index))
  const label = 'POST /users/NAME/activity by 1,000 servers, c=32'
  const figures = await measureRequests(bench, {
    label,
    url: direct(hub, 'hub/api/'),
    headers: {},
    turns: reports,
    connections: 32,
    seconds: secondsOf(bench),
  })
  const cpu =
    figures.find((figure) => figure.label === `${label}: hub CPU each`)?.value ?? Number.NaN
  const share = (reportRate * cpu) / 10
  return [
    ...figures,
    { label: 'core for 10,000 servers reporting every 300 s', value: share, unit: '%' },
  ]
}

function report(index: number): LoadRequest {
  const name = seededName(index)
  const at = new Date().toISOString()
  return {
    method: 'POST',
    path: `/hub/api/users/${name}/activity`,
    headers: { Authorization: `token ${seededToken(index)}` },
    body: JSON.stringify({ last_activity: at, servers: { '': { last_activity: at } } }),
  }
}

/** Users made in batches of 100, on a hub that is otherwise empty. */
async function creations({ hub, isQuick }: Bench): Promise<readonly Figure[]> {
  if (!hub.processes) return []
  const batches = isQuick ? 10 : 50
  const client = createClient({ url: direct(hub, '').href, token: hub.token, timeout: 120 })
  const before = cpuOf(hub.processes.hub)
  const began = performance.now()
  for (let batch = 0; batch < batches; batch += 1)
    await client.createUsers(Array.from({ length: 100 }, (_, index) => `made-${batch}-${index}`))
  const count = batches * 100
  const seconds = (performance.now() - began) / 1000
  const cpu = (cpuOf(hub.processes.hub) - before) / count
  return [
    { label: 'users created in batches of 100', value: count / seconds, unit: '1/s' },
    { label: 'users created in batches of 100: hub CPU each', value: cpu * 1000, unit: 'us' },
  ]
}

function secondsOf({ isQuick, isFull }: Bench): number {
  if (isFull) return 30
  return isQuick ? 2 : 5
}
