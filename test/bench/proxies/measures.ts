import { Agent, get } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../support/until.ts'
import { cpuOf, memoryOf } from '../process-figures.ts'
import type { Figure } from '../subject.ts'
import { type Measure, type ProxyBench, figure, socketsOf } from './measure.ts'
import { token } from './proxies.ts'
import { changeRoutes, tabs } from './tabs.ts'
import type { Traffic, TrafficResult } from './traffic.ts'

const mebibyte = 1024 * 1024

/** What `plan` costs the proxy, in milliseconds of its CPU. */
async function costOf(
  { proxy, helpers }: ProxyBench,
  plan: Traffic,
): Promise<{ readonly result: TrafficResult; readonly cpu: number }> {
  const before = cpuOf(proxy.pid)
  const result = await helpers.send(plan)
  return { result, cpu: cpuOf(proxy.pid) - before }
}

const idle: Measure = {
  name: 'idle',
  isRepeatable: false,
  async run({ proxy }) {
    await sleep(5_000)
    return [figure('idle: Rss', memoryOf(proxy.pid).rss, 'MiB')]
  },
}

const small: Measure = {
  name: 'small',
  isRepeatable: true,
  async run(bench) {
    const path = '/small'
    const plan = { kind: 'get', port: bench.proxy.port, path, connections: 32 } as const
    await bench.helpers.send({ ...plan, seconds: 0.5 })
    const { result, cpu } = await costOf(bench, { ...plan, seconds: bench.isQuick ? 1 : 3 })
    return [
      figure('GET of 100 bytes, 32 connections: CPU each', (cpu * 1000) / result.count, 'us'),
      figure('GET of 100 bytes, 32 connections', result.count / result.seconds, '1/s'),
      figure('GET of 100 bytes, 32 connections: 99th percentile', result.p99, 'ms'),
    ]
  },
}

const bulk: Measure = {
  name: 'bulk',
  isRepeatable: true,
  async run(bench) {
    const { port, pid } = bench.proxy
    const bytes = (bench.isQuick ? 256 : 512) * mebibyte
    const once = { kind: 'get', port, connections: 1, seconds: 0 } as const
    const large = { ...once, path: '/large', connections: 8, seconds: bench.isQuick ? 1 : 2 }
    const one = await costOf(bench, large)
    const down = await costOf(bench, { ...once, path: `/stream/${bytes}` })
    const up = await costOf(bench, { kind: 'up', port, bytes })
    const perGib = (cpu: number) => (cpu / 1000 / bytes) * 1024 * mebibyte
    return [
      figure('GET of 1 MiB, 8 connections: CPU each', one.cpu / one.result.count, 'ms'),
      figure('download: CPU per GiB', perGib(down.cpu), 's'),
      figure('upload: CPU per GiB', perGib(up.cpu), 's'),
      figure('after download and upload: Rss', memoryOf(pid).rss, 'MiB'),
    ]
  },
}

const echo: Measure = {
  name: 'echo',
  isRepeatable: true,
  async run(bench) {
    const { port } = bench.proxy
    const plan = { kind: 'echo', port, connections: 50, bytes: 64 } as const
    const { result, cpu } = await costOf(bench, { ...plan, seconds: bench.isQuick ? 1 : 3 })
    return [
      figure('WebSocket echo of 64 bytes, 50 connections', result.count / result.seconds, '1/s'),
      figure('WebSocket echo of 64 bytes: CPU each', (cpu * 1000) / result.count, 'us'),
    ]
  },
}

const held: Measure = {
  name: 'held',
  isRepeatable: false,
  async run(bench) {
    const { proxy, helpers, isQuick } = bench
    const count = isQuick ? 2_000 : 5_000
    // What the proxy grows by once is no part of what a connection costs.
    await helpers.send({ kind: 'open', port: proxy.port, count: 200 })
    await helpers.send({ kind: 'close' })
    await sleep(1_000)
    const before = memoryOf(proxy.pid).rss
    const { cpu } = await costOf(bench, { kind: 'open', port: proxy.port, count })
    await sleep(2_000)
    const grown = memoryOf(proxy.pid).rss - before
    await helpers.send({ kind: 'close' })
    return [
      figure(`opening one of ${count} WebSockets: CPU`, (cpu * 1000) / count, 'us'),
      figure(`one of ${count} idle WebSockets: Rss`, (grown * 1024) / count, 'KiB'),
    ]
  },
}

const aborted: Measure = {
  name: 'aborted',
  isRepeatable: false,
  async run({ proxy, helpers, isQuick }) {
    const { port, pid } = proxy
    await helpers.send({ kind: 'abort', port, count: 1_000 })
    await sleep(1_000)
    const [sockets, { rss }] = [socketsOf(pid), memoryOf(pid)]
    const count = isQuick ? 2_000 : 10_000
    await helpers.send({ kind: 'abort', port, count })
    await until('its sockets are closed', () => socketsOf(pid) <= sockets, 10_000).catch(() => {})
    return [
      figure(`left after ${count} aborted: sockets`, socketsOf(pid) - sockets, 'count'),
      figure(`left after ${count} aborted: Rss`, memoryOf(pid).rss - rss, 'MiB'),
    ]
  },
}

const routes: Measure = {
  name: 'routes',
  isRepeatable: false,
  async run(bench) {
    const { proxy, helpers, isQuick } = bench
    const { api, port } = proxy
    if (api === null) return []
    const figures: Figure[] = []
    let added = 0
    for (const count of isQuick ? [10, 1_000, 10_000] : [10, 1_000, 100_000]) {
      const began = performance.now()
      const before = cpuOf(proxy.pid)
      await addRoutes(bench, api, added, count)
      const seconds = (performance.now() - began) / 1000
      const each = ((cpuOf(proxy.pid) - before) * 1000) / (count - added)
      if (count >= 1_000) {
        figures.push(
          figure(`routes added up to ${count}, 8 at a time`, (count - added) / seconds, '1/s'),
        )
        figures.push(figure(`routes added up to ${count}: CPU each`, each, 'us'))
      }
      added = count
      const path = `/user/ada-${count - 1}/small`
      const plan = { kind: 'get', port, path, connections: 32, seconds: 1 } as const
      const { result, cpu } = await costOf(bench, plan)
      figures.push(figure(`GET with ${count} routes: CPU each`, (cpu * 1000) / result.count, 'us'))
    }
    const plan = { kind: 'get', port, path: '/small', connections: 4, seconds: 4 } as const
    const listed = helpers.send(plan)
    await listRoutes(api, 6)
    const whileListed = (await listed).p99
    const busy = helpers.send(plan)
    const change = await changeRoutes(api, helpers.target, { known: added, seconds: 3.5 })
    const whileAdded = (await busy).p99
    return [
      ...figures,
      figure(`GET while ${added} routes are listed: 99th percentile`, whileListed, 'ms'),
      figure(`GET while routes are added to ${added}: 99th percentile`, whileAdded, 'ms'),
      figure(`routes added meanwhile`, change / 3.5, '1/s'),
    ]
  },
}

/** In the order in which they are made: memory first, the many routes last. */
export const measures: readonly Measure[] = [idle, small, echo, bulk, held, aborted, tabs, routes]

const agent = new Agent({ keepAlive: true })

async function addRoutes({ helpers }: ProxyBench, api: URL, from: number, to: number) {
  const { port, pathname } = api
  const body = JSON.stringify({ target: helpers.target.origin, user: 'ada', jupyterhub: true })
  const path = `${pathname}/user/ada`
  await helpers.send({ kind: 'add', port: Number(port), path, token, body, from, to })
}

async function listRoutes(api: URL, times: number): Promise<void> {
  for (let i = 0; i < times; i += 1) {
    await list(api)
    await sleep(500)
  }
}

function list(api: URL): Promise<void> {
  const options = { agent, headers: { authorization: `token ${token}` } }
  return new Promise((resolve, reject) => {
    get(api, options, (answer) => void answer.resume().once('end', resolve)).once('error', reject)
  })
}
