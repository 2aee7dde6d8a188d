import assert from 'node:assert/strict'
import { type TestContext, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Browser } from '../support/browser.ts'
import { HubProcess, kill } from '../support/hub-process.ts'
import { Traffic } from '../support/traffic.ts'
import { until } from '../support/until.ts'

/** `PORTICO_SURVIVAL_ROUNDS=50` for the full run, `PORTICO_SURVIVAL_SEED` to repeat one. */
const rounds = Number(process.env['PORTICO_SURVIVAL_ROUNDS'] ?? 12)
const seed = Number(process.env['PORTICO_SURVIVAL_SEED'] ?? Date.now() % 1_000_000)
const deadline = 60_000
/** Who keeps a server, and who starts and stops one all the time. */
const steady = ['ada', 'bob']
const restless = ['cy', 'dee', 'eve']
const users = [...steady, ...restless]

it(`hub and proxy are killed ${rounds} times, and nothing is lost, orphaned or misdirected`, async (t) => {
  t.diagnostic(`seed ${seed}`)
  await using test = await HubProcess.started({ spawner: 'startTimeout: 20, httpTimeout: 20,' })
  await test.startServers(...steady)
  await test.operator.createUsers(restless)
  const traffic = new Traffic(test.origin)
  traffic.run(users, ['', 'extra/', 'user/bob/'], 150)
  const people = new People(test)
  const kills = await killAtRandom(test, random(seed))
  await people.leave()
  if (!(await test.isReady())) await test.start()

  const rows = await settled(test)
  await traffic.stop()
  report(t, test, { kills, traffic, people })
  assert.deepEqual(traffic.wrong, [])
  assert.deepEqual(people.surprises, [])
  const running = rows.filter(({ state }) => state === 'ready')
  assert.deepEqual(
    test.serverPids(),
    running.map(({ pid }) => pid ?? 0).toSorted((a, b) => a - b),
  )
  for (const { user, state, pid } of rows) {
    // A proxy that was killed last may still be coming back.
    const expected = state === 'ready' ? pid : null
    const answers = async () => ((await traffic.ask(user, 'who')).by?.pid ?? null) === expected
    await until(`${user} is ${state}`, answers, deadline)
    if (pid !== null) assert.equal(await test.statusWith(test.tokenOf(pid)), 200)
  }
  assert.equal(test.proxyPids().length, 1)
  assertCredentials(test, running.length)
  const { status, text } = await test.run('db', 'check', '--data-dir', test.dataDir)
  assert.equal(status, 0, text)

  const end = await test.run('stop', '--all', '--data-dir', test.dataDir)
  assert.equal(end.status, 0, end.text)
  assert.deepEqual([test.serverPids(), test.proxyPids(), await test.isReady()], [[], [], false])
})

/** Kills the hub, its proxy or both, at any moment of their lives, also while they start. */
async function killAtRandom(test: HubProcess, next: () => number) {
  const kills = { hub: 0, proxy: 0, startingHub: 0, server: 0 }
  for (let round = 0; round < rounds; round += 1) {
    await sleep(next() * 800)
    const what = next()
    if (what > 0.6) {
      kills.proxy += 1
      for (const pid of test.proxyPids()) kill(pid)
    }
    if (what > 0.9) {
      kills.server += 1
      for (const pid of test.serverPids().slice(0, 1)) kill(pid)
    }
    if (what > 0.75 && what < 0.9) continue
    kills.hub += 1
    await test.end('SIGKILL')
    if (next() < 0.3) {
      kills.startingHub += 1
      test.launch()
      await sleep(next() * 1500)
      await test.end('SIGKILL')
    }
    await test.start()
  }
  return kills
}

/** Some who log in, start servers and stop them all the time, whatever becomes of it. */
class People {
  /** Answers that no outage explains. */
  readonly surprises: string[] = []
  readonly counts = { logins: 0, starts: 0, stops: 0, refused: 0 }
  readonly #test: HubProcess
  readonly #done: Promise<unknown>
  #left = false

  constructor(test: HubProcess) {
    this.#test = test
    this.#done = Promise.all(users.map((user) => this.#live(user)))
  }

  async leave(): Promise<void> {
    this.#left = true
    await this.#done
  }

  async #live(user: string): Promise<void> {
    const isSteady = steady.includes(user)
    while (!this.#left) {
      const browser = new Browser(this.#test.origin)
      await this.#try('logins', () => browser.logIn('/', user))
      await this.#try('starts', () => this.#ask(browser, 'POST', user))
      if (!isSteady) await this.#try('stops', () => this.#ask(browser, 'DELETE', user))
    }
  }

  /** Starts or stops the own server; that it runs already is fine. */
  async #ask(browser: Browser, method: string, user: string): Promise<void> {
    await browser.get('/hub/home')
    const { status, text } = await browser.api(method, `/hub/api/users/${user}/server`)
    if (status === 500) this.surprises.push(`${method} ${user}: ${text.slice(0, 300)}`)
    assert.ok(status < 300 || status === 400)
    await sleep(100)
  }

  async #try(what: keyof People['counts'], act: () => Promise<unknown>): Promise<void> {
    try {
      await act()
      this.counts[what] += 1
    } catch {
      this.counts.refused += 1
      await sleep(50)
    }
  }
}

async function settled(test: HubProcess) {
  return until(
    'every server is ready or stopped',
    () => {
      const rows = test.rows()
      return rows.every(({ state }) => ['ready', 'stopped'].includes(state)) && rows
    },
    deadline,
  )
}

/** Each running server has one token and one client of its own, and nothing else has any. */
function assertCredentials(test: HubProcess, running: number): void {
  for (const table of ['api_tokens', 'oauth_clients']) {
    const rows = test.query<{ state: string; count: number }>(
      `SELECT state, count(*) AS count FROM ${table} JOIN servers ON servers.id = server_id GROUP BY server_id`,
    )
    assert.deepEqual(
      rows,
      Array.from({ length: running }, () => ({ state: 'ready', count: 1 })),
      table,
    )
  }
}

function report(
  t: TestContext,
  test: HubProcess,
  { kills, traffic, people }: { kills: object; traffic: Traffic; people: People },
): void {
  const answered = traffic.answers.filter(({ status }) => status === 200).length
  t.diagnostic(`kills ${JSON.stringify(kills)}`)
  t.diagnostic(`requests ${traffic.answers.length}, answered by servers ${answered}`)
  t.diagnostic(`people ${JSON.stringify(people.counts)}`)
  const generations = test.rows().map(({ user, generation }) => `${user} ${generation}`)
  t.diagnostic(`starts written down: ${generations.join(', ')}`)
}

/** A number from 0 to 1 per call, the same ones for the same seed (mulberry32). */
function random(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
