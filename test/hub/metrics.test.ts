import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { createClient } from '../../packages/client/index.ts'
import { Browser } from '../support/browser.ts'
import { temporaryFolder } from '../support/folder.ts'
import { startTestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const limit = { timeout: 120_000 }

/** JupyterHub 6: what is there from the start, as `name{labels}`. */
const fromTheStart = [
  ...['success', 'failure', 'error'].map(
    (status) => `server_spawn_duration_seconds_count{status="${status}",reason=""}`,
  ),
  ...['running', 'stopped'].map(
    (status) => `server_poll_duration_seconds_count{status="ServerPollStatus.${status}"}`,
  ),
  ...['success', 'failure'].flatMap((status) => [
    `server_stop_seconds_count{status="${status}"}`,
    `proxy_add_duration_seconds_count{status="${status}"}`,
    `proxy_delete_duration_seconds_count{status="${status}"}`,
    `login_duration_seconds_count{status="LoginStatus.${status}"}`,
  ]),
  'proxy_poll_duration_seconds_count',
  'check_routes_duration_seconds_count',
  'hub_startup_duration_seconds_count',
  'init_spawners_duration_seconds_count',
  'logout_duration_seconds_count',
  'event_loop_interval_seconds_count',
  'running_servers',
  'total_users',
  ...['24h', '7d', '30d'].map((period) => `active_users{period="${period}"}`),
  'csp_reports_total',
  ...['name_and_address', 'address', 'name', 'load'].map(
    (by) => `login_throttled_total{by="${by}"}`,
  ),
]

/** Samples by `name{labels}`. */
function samples(text: string): ReadonlyMap<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

describe('the metrics', limit, () => {
  test("have JupyterHub's names, count what happens, and are only for who may read them", async () => {
    await using hub = await startTestHub({ config: { authenticator: { allowAll: true } } })
    const { operator } = hub
    const read = async () => samples(await operator.metrics())
    const first = await read()
    for (const name of fromTheStart) assert.ok(first.has(`jupyterhub_${name}`), name)
    for (const name of ['cpu_seconds_total', 'resident_memory_bytes', 'open_fds', 'max_fds'])
      assert.ok((first.get(`process_${name}`) ?? 0) > 0, name)

    await operator.createUsers(['ada', 'eve'])
    await operator.startServer('ada')
    const running = await read()
    assert.equal(running.get('jupyterhub_running_servers'), 1)
    assert.equal(running.get('jupyterhub_total_users'), 2)
    await operator.stopServer('ada')
    await operator.checkRoutes()
    const browser = new Browser(hub.origin)
    await browser.logIn(hub.baseUrl, 'ada')
    await browser.send('GET', '/hub/logout')
    await browser.send('POST', '/hub/security/csp-report')
    const last = await read()
    for (const [name, count] of [
      ['running_servers', 0],
      ['server_spawn_duration_seconds_count{status="success",reason=""}', 1],
      ['server_stop_seconds_count{status="success"}', 1],
      ['login_duration_seconds_count{status="LoginStatus.success"}', 1],
      ['logout_duration_seconds_count', 1],
      ['hub_startup_duration_seconds_count', 1],
      ['init_spawners_duration_seconds_count', 1],
      ['csp_reports_total', 1],
      ['request_duration_seconds_count{method="POST",handler="/hub/api/users",code="201"}', 1],
      ['request_duration_seconds_count{method="POST",handler="/hub/login",code="302"}', 1],
    ] as const)
      assert.equal(last.get(`jupyterhub_${name}`), count, name)
    for (const name of [
      'proxy_add_duration_seconds_count{status="success"}',
      'proxy_delete_duration_seconds_count{status="success"}',
      'proxy_poll_duration_seconds_count',
      'check_routes_duration_seconds_count',
    ])
      assert.ok((last.get(`jupyterhub_${name}`) ?? 0) > 0, name)

    const { token } = await operator.createToken('eve')
    for (const path of ['/hub/metrics', '/hub/api/metrics'])
      for (const headers of [{}, { Authorization: `token ${token}` }]) {
        const answer = await fetch(`${hub.origin}${path}`, { headers })
        assert.equal(answer.status, 403, path)
        assert.match(
          answer.headers.get('content-type') ?? '',
          path === '/hub/metrics' ? /html/ : /json/,
        )
      }
    await operator.updateUser('eve', { admin: true })
    for (const path of ['/hub/metrics', '/hub/api/metrics']) {
      const answer = await fetch(`${hub.origin}${path}`, {
        headers: { Authorization: `token ${token}` },
      })
      assert.equal(answer.status, 200, path)
      assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
      assert.match(await answer.text(), /^jupyterhub_total_users 2$/m)
    }
  })

  test('can be for everybody', async () => {
    await using hub = await startTestHub({ config: { hub: { authenticatePrometheus: false } } })
    await createClient({ url: hub.origin }).metrics()
    assert.equal((await fetch(`${hub.origin}/hub/metrics`)).status, 200)
  })
})

test(
  "the event log has starts and stops as in JupyterHub's schema, and the rest as ours",
  limit,
  async (t) => {
    const file = join(temporaryFolder(t), 'events.jsonl')
    const hub = await startTestHub({ config: { hub: { eventLogFile: file } } })
    try {
      await hub.operator.createUser('ada')
      await hub.operator.startServer('ada')
      await hub.operator.stopServer('ada')
      await until(
        'the stop is written',
        () => readFileSync(file, 'utf8').includes('"stop"'),
        30_000,
      )
    } finally {
      await hub[Symbol.asyncDispose]()
    }
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    const actions = entries.filter(({ __schema__: schema }) =>
      String(schema).endsWith('/server-action'),
    )
    assert.deepEqual(
      actions.map(({ __timestamp__: _at, ...entry }) => entry),
      ['start', 'stop'].map((action) => ({
        __schema__: 'https://schema.jupyter.org/jupyterhub/events/server-action',
        __schema_version__: '1',
        __metadata_version__: 1,
        action,
        username: 'ada',
        servername: '',
      })),
    )
    const made = entries.find(
      ({ __schema__: schema }) => schema === 'urn:portico:event:user-created',
    )
    assert.equal(made?.['user'], 'ada')
    assert.match(String(made?.['__timestamp__']), /^\d{4}-\d\d-\d\dT.*Z$/)
  },
)
