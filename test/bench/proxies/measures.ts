import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../support/until.ts'
import { memoryOf } from '../process-figures.ts'
import { type Measure, costOf, figure, socketsOf } from './measure.ts'
import { tableMeasures } from './table.ts'
import { tabs } from './tabs.ts'

const mebibyte = 1024 * 1024
const echo50 = { kind: 'echo', connections: 50, bytes: 64 } as const
const small32 = { kind: 'get', path: '/small', connections: 32 } as const

const idle: Measure = {
  name: 'idle',
  rounds: 1,
  async run({ proxy }) {
    await sleep(5_000)
    return [figure('idle: Rss', memoryOf(proxy.pid).rss, 'MiB')]
  },
}

const small: Measure = {
  name: 'small',
  rounds: 5,
  warmUp: ({ proxy, helpers }) => helpers.send({ ...small32, port: proxy.port, seconds: 2 }),
  async run(bench) {
    const plan = { ...small32, port: bench.proxy.port, seconds: bench.isQuick ? 1 : 2 }
    const { result, cpu } = await costOf(bench, plan)
    return [
      figure('GET of 100 bytes, 32 connections: CPU each', (cpu * 1000) / result.count, 'us'),
      figure('GET of 100 bytes, 32 connections', result.count / result.seconds, '1/s'),
      figure('GET of 100 bytes, 32 connections: 99th percentile', result.p99, 'ms'),
    ]
  },
}

const bulk: Measure = {
  name: 'bulk',
  rounds: 3,
  warmUp: async ({ proxy: { port }, helpers }) => {
    const bytes = 128 * mebibyte
    const path = `/stream/${bytes}`
    await helpers.send({ kind: 'get', port, path, connections: 1, seconds: 0 })
    await helpers.send({ kind: 'up', port, bytes })
  },
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

/** Where the proxy has not all of its core, messages a second are those of the client and the backend. */
const echo: Measure = {
  name: 'echo',
  rounds: 7,
  warmUp: ({ proxy, helpers }) => helpers.send({ ...echo50, port: proxy.port, seconds: 1.5 }),
  async run(bench) {
    const plan = { ...echo50, port: bench.proxy.port, seconds: bench.isQuick ? 1 : 2 }
    const { result, cpu } = await costOf(bench, plan)
    return [
      figure('WebSocket echo of 64 bytes, 50 connections', result.count / result.seconds, '1/s'),
      figure('WebSocket echo of 64 bytes: CPU each', (cpu * 1000) / result.count, 'us'),
      figure('WebSocket echo: share of its core', cpu / result.seconds / 10, '%'),
    ]
  },
}

const opening: Measure = {
  name: 'opening',
  rounds: 7,
  async warmUp({ proxy, helpers }) {
    for (let i = 0; i < 6; i += 1) {
      await helpers.send({ kind: 'open', port: proxy.port, count: 1_000 })
      await helpers.send({ kind: 'close' })
    }
  },
  async run(bench) {
    const { proxy, helpers } = bench
    const count = 2_000
    const { cpu } = await costOf(bench, { kind: 'open', port: proxy.port, count })
    await helpers.send({ kind: 'close' })
    await sleep(300)
    return [figure(`opening one of ${count} WebSockets: CPU`, (cpu * 1000) / count, 'us')]
  },
}

/** On proxies without a past: one that has been larger has room for them. */
const held: Measure = {
  name: 'held',
  rounds: 1,
  isFresh: true,
  async run({ proxy, helpers, isQuick }) {
    const count = isQuick ? 2_000 : 5_000
    // What the proxy grows by once is no part of what a connection costs.
    await helpers.send({ kind: 'open', port: proxy.port, count: 200 })
    await helpers.send({ kind: 'close' })
    await sleep(1_000)
    const before = memoryOf(proxy.pid).rss
    await helpers.send({ kind: 'open', port: proxy.port, count })
    await sleep(2_000)
    const grown = memoryOf(proxy.pid).rss - before
    await helpers.send({ kind: 'close' })
    return [figure(`one of ${count} idle WebSockets: Rss`, (grown * 1024) / count, 'KiB')]
  },
}

const aborted: Measure = {
  name: 'aborted',
  rounds: 1,
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

/** In the order in which they are made: memory first, the many routes last. */
export const measures: readonly Measure[] = [
  idle,
  small,
  echo,
  bulk,
  opening,
  held,
  aborted,
  tabs,
  ...tableMeasures,
]
