import { type Measure, type ProxyBench, costOf, figure } from './measure.ts'
import { token } from './proxies.ts'
import type { Traffic } from './traffic.ts'

const few = 10
const some = 1_000
/** Added before those that count. */
const warmUp = 2_000
const rounds = 5

function perRound({ isQuick }: ProxyBench): number {
  return isQuick ? 3_500 : 19_400
}

const lookup: Measure = {
  name: 'few routes',
  rounds: 1,
  async run(bench) {
    if (bench.proxy.api === null) return []
    await add(bench, few)
    const amongFew = await lookupAmong(bench)
    await add(bench, some - few)
    return [amongFew, await lookupAmong(bench)]
  },
}

const adds: Measure = {
  name: 'adding routes',
  rounds,
  warmUp: (bench) => add(bench, warmUp),
  async run(bench) {
    if (bench.proxy.api === null) return []
    const { result, cpu } = await add(bench, perRound(bench))
    return [
      figure('routes added, 8 at a time', result.count / result.seconds, '1/s'),
      figure('routes added: CPU each', (cpu * 1000) / result.count, 'us'),
    ]
  },
}

/** Requests at a steady pace, so that those count that wait while the proxy does something else. */
const listed: Measure = {
  name: 'many routes',
  rounds: 1,
  async run(bench) {
    const { proxy, helpers, added } = bench
    const { api, port } = proxy
    if (api === null) return []
    const among = await lookupAmong(bench)
    const seconds = bench.isQuick ? 2 : 5
    const pace = { kind: 'paced', port, path: '/small', connections: 8, perSecond: 500 } as const
    const list = { kind: 'list', port: Number(api.port), path: api.pathname, token } as const
    const [whileListed, lists] = await Promise.all([
      helpers.send({ ...pace, seconds }),
      helpers.sendBeside({ ...list, seconds }),
    ])
    const plan = adding(bench, seconds * 200)
    const [whileAdded] = await Promise.all([
      helpers.send({ ...pace, seconds }),
      helpers.sendBeside({ ...plan, connections: 4, perSecond: 200 }),
    ])
    return [
      among,
      figure(`GET while ${added} routes are listed: 99th percentile`, whileListed.p99, 'ms'),
      figure(`lists of ${added} routes meanwhile`, lists.count / lists.seconds, '1/s'),
      figure('GET while 200 routes a second are added: 99th percentile', whileAdded.p99, 'ms'),
    ]
  },
}

/** Each fills the table further: they come last. */
export const tableMeasures: readonly Measure[] = [lookup, adds, listed]

async function add(bench: ProxyBench, count: number) {
  if (bench.proxy.api === null) return { result: { count: 0, seconds: 0, p99: 0 }, cpu: 0 }
  return costOf(bench, adding(bench, count))
}

function adding(bench: ProxyBench, count: number): Traffic & { kind: 'add' } {
  const { port = '', pathname = '' } = bench.proxy.api ?? {}
  const target = bench.helpers.target.origin
  const body = JSON.stringify({ target, user: 'ada', jupyterhub: true })
  const from = bench.added
  bench.added += count
  const path = `${pathname}/user/ada`
  const to = bench.added
  return { kind: 'add', port: Number(port), path, token, body, from, to, connections: 8 }
}

/** The least of three: both ends of the comparison lie minutes apart, on a machine that others use. */
async function lookupAmong(bench: ProxyBench) {
  const { port } = bench.proxy
  const path = `/user/ada-${bench.added - 1}/small`
  const plan = {
    kind: 'get',
    port,
    path,
    connections: 32,
    seconds: bench.isQuick ? 0.5 : 1,
  } as const
  await bench.helpers.send({ ...plan, seconds: 1 })
  const costs: number[] = []
  for (let round = 0; round < 3; round += 1) {
    const { result, cpu } = await costOf(bench, plan)
    costs.push((cpu * 1000) / result.count)
  }
  return figure(`GET with ${bench.added} routes: CPU each`, Math.min(...costs), 'us')
}
