import assert from 'node:assert/strict'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { configurableHttpProxy } from '../../proxy/client.ts'
import { pathOfRoutespec, routespecOfPath } from '../../proxy/routespec.ts'
import { startTestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'
import { proxyContract } from '../contracts/proxy.ts'
import { ask } from './ask.ts'

const manifest = fileURLToPath(import.meta.resolve('configurable-http-proxy/package.json'))
const peer = join(dirname(manifest), 'bin/configurable-http-proxy')

proxyContract('portico-proxy', configurableHttpProxy, {})
proxyContract('configurable-http-proxy', configurableHttpProxy, {
  command: [process.execPath, peer],
})

test('route specs survive the way through the proxy', () => {
  for (const spec of ['/', '/user/a@b/', '/user/%E7%A7%80%20x/', '/~x/%25/', '/hub.test/%2B/']) {
    assert.equal(routespecOfPath(pathOfRoutespec(spec)), spec)
  }
})

test('the command may be our own program by its name, with more flags; a stopped server gets the status of old', async () => {
  const command = ['portico-proxy', '--custom-header', 'x-flag: one']
  const hub = { useLegacyStoppedServerStatusCode: true }
  const config = { hub, proxy: { command } }
  await using test = await startTestHub({ config })
  const url = `${test.origin}/user/ada/env`
  const headers = { accept: 'application/json' }
  await test.operator.createUsers(['ada'])
  await test.operator.startServer('ada')
  const server = await until('the server answers', async () => {
    const answer = await ask(url, { headers })
    return answer.status === 200 && answer
  })
  assert.match(server.text, /"x-flag":"one"/)
  await test.operator.stopServer('ada')
  const stopped = await until('it is stopped', async () => {
    const answer = await ask(url, { headers })
    return answer.text.includes('"stopped"') && answer
  })
  assert.deepEqual([stopped.status, stopped.headers['retry-after']], [503, undefined])
})

test('options have the names and defaults of JupyterHub', () => {
  const { apiUrl, shouldStart, checkRunningInterval, concurrency } =
    configurableHttpProxy.config.parse({}) as Record<string, unknown>
  assert.deepEqual(
    { apiUrl, shouldStart, checkRunningInterval, concurrency },
    {
      apiUrl: 'http://127.0.0.1:8001',
      shouldStart: true,
      checkRunningInterval: 5,
      concurrency: 10,
    },
  )
  for (const wrong of [
    { apiURL: 'x' },
    { apiUrl: 'unix:///x' },
    { command: [] },
    { concurrency: 0 },
    { trustedProxies: ['localhost'] },
  ]) {
    assert.ok(!configurableHttpProxy.config.safeParse(wrong).success)
  }
})
