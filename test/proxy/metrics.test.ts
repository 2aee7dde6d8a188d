import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Metrics, addUp } from '../../proxy/metrics.ts'
import { ask } from './ask.ts'
import { type ProgramName, freePorts, startProgram } from './programs.ts'
import { get, rawClient } from './support.ts'

/** Families with their types, and series with the names of their labels and the quantiles. */
async function shapes(t: TestContext, name: ProgramName): Promise<Set<string>> {
  const [port = 0] = await freePorts(1)
  const flags = ['--metrics-ip', '127.0.0.1', '--metrics-port', String(port)]
  const proxy = await startProgram(t, name, { flags })
  assert.equal((await ask(`${proxy.url}/nowhere`)).status, 404)
  assert.equal((await proxy.api('GET', '/api/routes')).status, 200)
  const { text } = await ask(`http://127.0.0.1:${port}/metrics`)
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('# HELP'))
  return new Set(
    lines.map((line) =>
      line.startsWith('#')
        ? line
        : line
            .replace(/ \S+$/, '')
            .replace(/(type|space|kind|status|le|version|major|minor|patch)="[^"]*"/g, '$1'),
    ),
  )
}

test('what dashboards ask configurable-http-proxy for is here under the same names and labels', async (t) => {
  const [theirs, ours] = await Promise.all([
    shapes(t, 'configurable-http-proxy'),
    shapes(t, 'portico-proxy'),
  ])
  // Shows up with the first collection of garbage.
  const missing = [...theirs].filter((each) => !ours.has(each) && !each.startsWith('nodejs_gc_'))
  assert.deepEqual(missing, [])
  assert.ok(theirs.size > 60, `${theirs.size} shapes`)
})

test('a connection counts once, whatever protocol it asks for', async (t) => {
  const [port = 0] = await freePorts(1)
  const flags = ['--metrics-ip', '127.0.0.1', '--metrics-port', String(port)]
  const proxy = await startProgram(t, 'portico-proxy', { flags })
  using client = rawClient(proxy.port, get('/', 'Connection: Upgrade', 'Upgrade: h2c'))
  await client.until(/404/)
  const { text } = await ask(`http://127.0.0.1:${port}/metrics`)
  assert.match(text, /^proxy_open_connections 1$/m)
})

test('quantiles of a summary are right to a tenth, and of several processes the worst', () => {
  const metrics = new Metrics()
  for (let i = 1; i <= 1000; i += 1) metrics.time('find_target_for_req', i / 100)
  const snapshot = metrics.snapshot()
  const at = (quantile: number) => snapshot[`find_target_for_req{quantile="${quantile}"}`] ?? 0
  for (const quantile of [0.01, 0.05, 0.5, 0.9, 0.95, 0.99, 0.999]) {
    const exact = quantile / 100
    assert.ok(at(quantile) >= exact * 0.999 && at(quantile) <= exact * 1.1, `${quantile}`)
  }
  assert.equal(snapshot['find_target_for_req_count'], 1000)
  const both = addUp([snapshot, new Metrics().snapshot(), snapshot])
  assert.equal(both['find_target_for_req{quantile="0.5"}'], at(0.5))
  assert.equal(both['find_target_for_req_count'], 2000)
})
