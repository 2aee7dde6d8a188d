import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startTestHub, type TestHub } from '../support/start-hub.ts'

const python = '/usr/bin/python3'
const skip = existsSync('/usr/lib/python3/dist-packages/jupyterhub')
  ? false
  : "Debian's python3-jupyterhub is missing: apt install jupyterhub"

/** Runs a script and reads its JSON. */
async function run(name: string, token: string, ...args: readonly string[]): Promise<unknown> {
  return JSON.parse(await output(name, token, ...args))
}

async function output(name: string, token: string, ...args: readonly string[]): Promise<string> {
  const file = fileURLToPath(new URL(`scripts/${name}.py`, import.meta.url))
  const { stdout } = await promisify(execFile)(python, [file, ...args], {
    env: { PATH: process.env['PATH'], JUPYTERHUB_API_TOKEN: token },
    timeout: 60_000,
  })
  return stdout
}

describe('scripts for JupyterHub, in Python', { skip, timeout: 120_000 }, () => {
  let hub: TestHub
  let token: string

  before(async () => {
    hub = await startTestHub({
      config: {
        hub: { slowSpawnTimeout: 0, allowNamedServers: true, apiPageDefaultLimit: 5 },
        authenticator: { allowAll: true },
      },
    })
    await hub.operator.createUser('boss', { admin: true })
    token = (await hub.operator.createToken('boss')).token
  })
  after(() => hub[Symbol.asyncDispose]())

  it('list users page by page', async () => {
    const names = Array.from({ length: 11 }, (_, index) => `page${index}`)
    await hub.operator.createUsers(names)
    assert.deepEqual(await run('users', token, hub.origin, '5'), {
      names: ['boss', ...names],
      pages: 3,
      total: 12,
    })
    for (const name of names) await hub.operator.deleteUser(name)
  })

  for (const server of ['', 'gpu'])
    it(`start a ${server || 'default'} server, follow its progress, and stop it`, async () => {
      const result = (await run('servers', token, hub.origin, 'boss', server)) as {
        readonly start: { readonly status: number; readonly events: { progress: number }[] }
        readonly model: { readonly name: string; readonly ready: boolean; readonly url: string }
        readonly page: number
        readonly stop: number
      }
      const { start, model, page, stop } = result
      const path = server === '' ? '/user/boss/' : `/user/boss/${server}/`
      assert.equal(start.status, 202)
      assert.equal(start.events[0]?.progress, 0)
      assert.deepEqual(start.events.at(-1), {
        progress: 100,
        ready: true,
        message: `Server ready at ${path}`,
        html_message: `Server ready at <a href="${path}">${path}</a>`,
        url: path,
      })
      assert.deepEqual([model.name, model.ready, model.url], [server, true, path])
      assert.equal(page, 200)
      assert.ok([202, 204].includes(stop))
    })

  it('stop idle servers and delete idle users, with no more scopes than a culler has', async () => {
    const { operator } = hub
    await operator.createUsers(['idle', 'busy'])
    for (const [user, server] of [
      ['idle', ''],
      ['idle', 'extra'],
      ['busy', ''],
    ] as const) {
      await operator.startServer(user, server)
      for await (const event of operator.progress(user, server)) assert.ok(!event.failed)
    }
    const scopes = [
      'list:users',
      'read:users:activity',
      'read:servers',
      'delete:servers',
      'admin:users',
    ]
    const culler = await operator.createToken('boss', { scopes })
    const api = `${hub.origin}/hub/api`
    assert.deepEqual(await run('culler', culler.token, api, '3600'), { stopped: [], deleted: [] })
    const soon = new Date(Date.now() + 1_800_000)
    await operator.reportActivity('busy', { lastActivity: soon, servers: { '': soon } })
    const { stopped, deleted } = (await run('culler', culler.token, api, '0')) as {
      readonly stopped: readonly (readonly [string, string, number])[]
      readonly deleted: readonly (readonly [string, number])[]
    }
    assert.deepEqual(
      stopped.map(([user, server, status]) => [user, server, status === 202 || status === 204]),
      [
        ['idle', '', true],
        ['idle', 'extra', true],
      ],
    )
    assert.deepEqual(deleted, [['idle', 204]])
    await assert.rejects(operator.user('idle'), { status: 404 })
    assert.equal((await operator.server('busy')).ready, true)
  })

  it('find every metric that their JupyterHub has, with its labels', async () => {
    const theirs = shapes(await output('metric_names', token))
    const ours = shapes(await hub.operator.metrics())
    for (const [name, { type, labels }] of theirs) {
      if (!name.startsWith('jupyterhub_')) continue
      const found = ours.get(name)
      assert.equal(found?.type, type, name)
      for (const label of labels) assert.ok(found?.labels.has(label), `${name}: ${label}`)
    }
  })
})

interface Shape {
  readonly type: string
  readonly labels: Set<string>
}

/** Types and label names of the metrics in a scrape. */
function shapes(text: string): ReadonlyMap<string, Shape> {
  const found = new Map<string, Shape>()
  let current: Shape | undefined
  for (const line of text.split('\n')) {
    const [, name, type] = /^# TYPE (\w+) (\w+)$/.exec(line) ?? []
    // Python's client tells of when a metric was made in one of its own.
    if (name !== undefined && type !== undefined && !name.endsWith('_created'))
      found.set(name, (current = { type, labels: new Set() }))
    for (const [, label] of line.startsWith('#') ? [] : line.matchAll(/[{,](\w+)="/g))
      if (label !== undefined) current?.labels.add(label)
  }
  return found
}
