import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { getPriority } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, type TestContext } from 'node:test'
import { promisify } from 'node:util'
import { pam } from '../../authenticators/pam.ts'
import { WorkerPool } from '../../authenticators/worker-pool.ts'
import { HubError } from '../../packages/core/errors.ts'
import { createAuthenticator, loginRequest } from '../contracts/authenticator.ts'
import { temporaryFolder } from '../support/folder.ts'
import { kill } from '../support/hub-process.ts'
import { noAccounts, PamFixture, unix } from '../support/pam.ts'
import { until } from '../support/until.ts'

const patience = 60_000
const fixture = new PamFixture(`ptpool${process.pid % 10_000}`)
const password = 'Correct-Horse-7'
let service = ''
let ada = ''

before(() => {
  if (noAccounts) return
  service = fixture.service('', ...unix)
  ada = fixture.account('ada', password)
})
after(() => fixture[Symbol.dispose]())

describe('the processes that ask PAM', { skip: noAccounts }, () => {
  it('leave the files of the hub alone while twenty wrong passwords wait', async (t) => {
    const gate = new Gate(t)
    const held = fixture.service('held', gate.line, ...unix)
    const { authenticator } = await createAuthenticator(t, pam, {
      service: held,
      executorThreads: 2,
    })
    let open = 0
    const attempts = Array.from({ length: 20 }, async () => {
      open += 1
      const form = { username: ada, password: 'wrong' }
      const verdict = await authenticator.authenticate(loginRequest({ form }))
      open -= 1
      return verdict.kind
    })
    // Starting processes holds up the hub: none is started in the rush itself.
    assert.equal(workerPids().length, 1)
    await gate.reached(2)
    const files = await Promise.all(Array.from({ length: 20 }, () => readFile('/etc/passwd')))
    assert.equal(files.length, 20)
    assert.equal(open, 20)
    gate.open()
    assert.deepEqual(new Set(await Promise.all(attempts)), new Set(['denied']))
  })

  it('give way to the hub', async (t) => {
    await createAuthenticator(t, pam, { service })
    const [priority = 0, ...more] = workerPids().map((pid) => getPriority(pid))
    assert.deepEqual(more, [])
    assert.ok(priority > getPriority())
  })

  it('leave the delay that a module asks for to the hub, which has one for all refusals', async (t) => {
    const slow = fixture.service('slow', 'auth optional pam_faildelay.so delay=30000000', ...unix)
    const { authenticator } = await createAuthenticator(t, pam, {
      service: slow,
      executorThreads: 1,
    })
    const started = performance.now()
    for (const given of ['wrong', 'wrong', password]) {
      const form = { username: ada, password: given }
      const { kind } = await authenticator.authenticate(loginRequest({ form }))
      assert.equal(kind, given === password ? 'identified' : 'denied')
    }
    // Else a right password for an account that may not come in would be told by its quick refusal.
    const ms = performance.now() - started
    assert.ok(ms < 9_000, `took ${ms} ms`)
  })

  it('refuse with 503 when too many wait, and go on afterwards', async (t) => {
    const gate = new Gate(t)
    const held = fixture.service('full', gate.line, ...unix)
    const { authenticator } = await createAuthenticator(t, pam, {
      service: held,
      executorThreads: 1,
      maxWaiting: 1,
    })
    const form = { username: ada, password }
    const first = authenticator.authenticate(loginRequest({ form }))
    await gate.reached(1)
    const leaving = new AbortController()
    const second = authenticator.authenticate(loginRequest({ form, signal: leaving.signal }))
    await assert.rejects(authenticator.authenticate(loginRequest({ form })), isBusy)
    leaving.abort()
    await assert.rejects(second)
    const third = authenticator.authenticate(loginRequest({ form }))
    gate.open()
    assert.equal((await first).kind, 'identified')
    assert.equal((await third).kind, 'identified')
  })

  it('are not started over and over when they cannot start', async () => {
    const lines: string[] = []
    // A module that ends without a word.
    const pool = new WorkerPool<object, object>({
      program: 'authenticators/secret',
      what: 'nothing',
      workers: 4,
      waiting: 4,
      patience,
      log: { warn: (line) => void lines.push(line) },
    })
    const signal = AbortSignal.timeout(patience)
    const asked = [1, 2, 3].map(() => assert.rejects(pool.ask({}, signal), isBusy))
    await Promise.all(asked)
    await pool.close()
    assert.equal(lines.length, 1, lines.join('\n'))
  })

  it('are replaced when one is killed or takes too long', async (t) => {
    const gate = new Gate(t)
    const held = fixture.service('killed', gate.line, ...unix)
    const { authenticator, context } = await createAuthenticator(t, pam, {
      service: held,
      executorThreads: 1,
      timeout: 4,
    })
    const form = { username: ada, password }
    const attempt = () => authenticator.authenticate(loginRequest({ form }))
    const killed = attempt()
    const refused = assert.rejects(killed, isBusy)
    await gate.reached(1)
    for (const pid of workerPids()) kill(pid)
    await refused
    await assert.rejects(attempt(), isBusy)
    assert.ok(context.lines.some((line) => line.includes('has died')))
    assert.ok(context.lines.some((line) => line.includes('longer than 4 seconds')))
    gate.open()
    assert.equal((await attempt()).kind, 'identified')
  })

  it('keep secrets out of their command line and environment, and end with the authenticator', async (t) => {
    const gate = new Gate(t)
    const held = fixture.service('seen', gate.line, ...unix)
    const { authenticator } = await createAuthenticator(t, pam, { service: held })
    const form = { username: ada, password }
    const verdict = authenticator.authenticate(loginRequest({ form })).catch(() => null)
    await gate.reached(1)
    const pids = workerPids()
    assert.equal(pids.length, 1)
    for (const pid of pids)
      for (const file of ['cmdline', 'environ'])
        assert.doesNotMatch(readFileSync(`/proc/${pid}/${file}`, 'utf8'), /Correct-Horse/)
    await authenticator.close?.()
    await verdict
    await until('they have ended', () => workerPids().length === 0, patience)
  })

  it('work for a hub that is not root but in the group shadow, and not without it', async () => {
    const module = new URL('../../dist/authenticators/pam.js', import.meta.url).href
    const script = `
      const { pam } = await import(${JSON.stringify(module)})
      const log = { debug() {}, info() {}, warn: console.error, error: console.error }
      const authenticator = await pam.create(pam.config.parse({ service: ${JSON.stringify(service)} }), { log })
      for (const password of [${JSON.stringify(password)}, 'wrong']) {
        const signal = AbortSignal.timeout(60000)
        const form = { username: ${JSON.stringify(ada)}, password }
        const { kind } = await authenticator.authenticate({ form, headers: {}, peerAddress: '', signal })
        console.log(kind)
      }
      await authenticator.close()`
    const ask = async (groups: readonly string[]) => {
      const rights = ['--reuid=65534', '--regid=65534', ...groups, '--']
      const node = [process.execPath, '--input-type=module', '-e', script]
      const { stdout } = await promisify(execFile)('setpriv', [...rights, ...node], { cwd: '/' })
      return stdout.trim().split('\n')
    }
    assert.deepEqual(await ask(['--groups=shadow']), ['identified', 'denied'])
    assert.deepEqual(await ask(['--clear-groups']), ['denied', 'denied'])
  })
})

function isBusy(error: unknown): boolean {
  assert.ok(error instanceof HubError)
  assert.equal(error.code, 'unavailable')
  assert.equal(error.retryAfter, 5)
  assert.doesNotMatch(error.message, /Horse/)
  return true
}

/** The PAM processes of this test. */
function workerPids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const [, ppid] = /\) \S (\d+)/.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? []
        const isOurs = Number(ppid) === process.pid
        return isOurs && readFileSync(`/proc/${name}/cmdline`, 'utf8').includes('pam-worker')
      } catch {
        return false
      }
    })
    .map(Number)
}

/** A module that waits until the test lets it go on. */
class Gate {
  readonly line: string
  readonly #folder: string

  constructor(t: TestContext) {
    this.#folder = temporaryFolder(t)
    const script = join(this.#folder, 'wait')
    writeFileSync(
      script,
      `#!/bin/sh
touch ${this.#folder}/at.$$
i=0
while [ ! -e ${this.#folder}/open ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i+1)); done
`,
    )
    chmodSync(script, 0o755)
    this.line = `auth required pam_exec.so quiet ${script}`
    t.after(() => this.open())
  }

  /** Resolves when so many transactions wait. */
  async reached(count: number): Promise<void> {
    const waiting = () => readdirSync(this.#folder).filter((name) => name.startsWith('at.')).length
    await until(`${count} wait`, () => waiting() >= count, patience)
  }

  open(): void {
    if (existsSync(this.#folder)) writeFileSync(join(this.#folder, 'open'), '')
  }
}
