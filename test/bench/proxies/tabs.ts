import { request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../../support/until.ts'
import { cpuOf, memoryOf } from '../process-figures.ts'
import { type Measure, figure, socketsOf } from './measure.ts'
import { token } from './proxies.ts'

/** Tabs that nobody closes: WebSockets to servers of which half die, and then go on asking. */
export const tabs: Measure = {
  name: 'tabs',
  rounds: 1,
  async run({ proxy, helpers, isQuick }) {
    const { api, port, pid } = proxy
    if (api === null) return []
    const doomed = await helpers.doomedTarget()
    const count = isQuick ? 500 : 2_000
    const paths = ['/tabs/alive', '/tabs/doomed'] as const
    try {
      await addRoute(api, paths[0], helpers.target)
      await addRoute(api, paths[1], doomed.target)
      for (const path of paths) await helpers.send({ kind: 'open', port, path, count: 50 })
      await helpers.send({ kind: 'close' })
      await sleep(1_000)
      const [sockets, { rss }] = [socketsOf(pid), memoryOf(pid)]
      for (const path of paths) await helpers.send({ kind: 'open', port, path, count: count / 2 })
      await doomed.stop()
      const before = cpuOf(pid)
      const again = { kind: 'reopen', port, path: paths[1], count: count / 2 } as const
      const { count: refused } = await helpers.send(again)
      const each = ((cpuOf(pid) - before) * 1000) / refused
      const left = sockets + count
      await until('its sockets are closed', () => socketsOf(pid) <= left, 10_000).catch(() => {})
      const label = `${count} WebSockets, half of the targets killed`
      const figures = [
        figure(`${label}: sockets beyond those of the others`, socketsOf(pid) - left, 'count'),
        figure(`${label}: Rss more than before`, memoryOf(pid).rss - rss, 'MiB'),
        figure(`${label}: CPU for each that asks again`, each, 'us'),
      ]
      await helpers.send({ kind: 'close' })
      await until('all are closed', () => socketsOf(pid) <= sockets, 10_000).catch(() => {})
      return [
        ...figures,
        figure(`${label}: sockets after all are closed`, socketsOf(pid) - sockets, 'count'),
      ]
    } finally {
      await doomed.stop()
      for (const path of paths) await call(api, 'DELETE', path)
    }
  },
}

async function addRoute(api: URL, path: string, target: URL): Promise<void> {
  const body = JSON.stringify({ target: target.origin, jupyterhub: true })
  const status = await call(api, 'POST', path, body)
  if (status !== 201) throw new Error(`${path} was not added: ${status}`)
}

function call(api: URL, method: string, path: string, body = ''): Promise<number> {
  const headers = { authorization: `token ${token}`, 'content-length': Buffer.byteLength(body) }
  const options = { host: api.hostname, port: api.port, path: `${api.pathname}${path}` }
  return new Promise((resolve, reject) => {
    const asked = request({ ...options, method, headers, agent: false }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0))
    })
    asked.once('error', reject)
    asked.end(body)
  })
}
