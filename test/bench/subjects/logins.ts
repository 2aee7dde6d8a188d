import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { noAccounts, PamFixture, unix } from '../../support/pam.ts'
import { BenchError, type BenchHub } from '../contender.ts'
import { startPortico } from '../hubs/portico.ts'
import { cpuOf } from '../process-figures.ts'
import { median } from '../report.ts'
import type { Bench, Figure, Subject } from '../subject.ts'
import { mannWhitney, percentile } from '../statistics.ts'

/** Logins with passwords: how many a second, what a rush of wrong ones does to others, and what refusals tell. */
export const logins: Subject = {
  name: 'logins',
  summary: 'POST /hub/login: rate, the hub under wrong PAM passwords, times of refusals',
  applies: (hub) => hub.contender === 'Portico' && hub.processes !== null,
  rounds: () => 1,
  async measure(bench) {
    const rate = await measureRate(bench)
    return noAccounts === false ? [...rate, ...(await measurePam(bench))] : rate
  },
}

interface Attempt {
  readonly status: number
  readonly ms: number
}

/** One browser's form on a hub, posted again and again. */
class LoginForm {
  readonly #url: URL
  readonly #xsrf: string
  readonly #agent: Agent

  constructor(url: URL, xsrf: string, agent: Agent) {
    this.#url = url
    this.#xsrf = xsrf
    this.#agent = agent
  }

  static async open(hub: BenchHub, sockets: number): Promise<LoginForm> {
    const url = new URL('hub/login', hub.direct ?? hub.front)
    // Not fetch, which says of itself that it does not navigate.
    const [page] = (await once(request(url).end(), 'response')) as [IncomingMessage]
    page.resume()
    const cookie = page.headers['set-cookie']?.find((line) => line.startsWith('_xsrf='))
    const agent = new Agent({ keepAlive: true, maxSockets: sockets })
    return new LoginForm(url, /^_xsrf="?([^;"]+)/.exec(cookie ?? '')?.[1] ?? '', agent)
  }

  post(username: string, password: string, address = '192.0.2.1'): Promise<Attempt> {
    const body = new URLSearchParams({ username, password, _xsrf: this.#xsrf }).toString()
    const started = performance.now()
    return new Promise((resolve, reject) => {
      const sent = request(this.#url, {
        method: 'POST',
        agent: this.#agent,
        headers: {
          'Content-Type': 'application/x-www-form-urlencoded',
          'Content-Length': Buffer.byteLength(body),
          Cookie: `_xsrf=${this.#xsrf}`,
          'X-Forwarded-For': address,
        },
      })
      sent.on('error', reject)
      sent.on('response', (response) => {
        response.resume().on('end', () => {
          resolve({ status: response.statusCode ?? 0, ms: performance.now() - started })
        })
      })
      sent.end(body)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

async function measureRate({ hub, isQuick }: Bench): Promise<readonly Figure[]> {
  const connections = 16
  const form = await LoginForm.open(hub, connections)
  const names = Array.from({ length: 50 }, (_, index) => `person${index}`)
  const run = async (seconds: number): Promise<readonly Attempt[]> => {
    const attempts: Attempt[] = []
    const end = performance.now() + seconds * 1000
    const worker = async (first: number): Promise<void> => {
      for (let turn = first; performance.now() < end; turn += 1)
        attempts.push(await form.post(names[turn % names.length] ?? '', 'x'))
    }
    await Promise.all(Array.from({ length: connections }, (_, index) => worker(index * 3)))
    return attempts
  }
  await run(1)
  const pid = hub.processes?.hub ?? 0
  const [before, started] = [cpuOf(pid), performance.now()]
  const attempts = await run(isQuick ? 2 : 5)
  const seconds = (performance.now() - started) / 1000
  const cpu = cpuOf(pid) - before
  form.close()
  const done = attempts.filter(({ status }) => status === 302)
  if (done.length < attempts.length) throw new BenchError('a login with dummy was refused')
  const label = 'dummy, 16 connections'
  return [
    { label, value: done.length / seconds, unit: '1/s' },
    { label: `${label}: 99th percentile`, value: percentile(timesOf(done), 0.99), unit: 'ms' },
    { label: `${label}: hub CPU each`, value: cpu / done.length, unit: 'ms' },
    { label: `${label}: on one core`, value: (1000 * done.length) / cpu, unit: '1/s' },
  ]
}

async function measurePam({ launcher, isQuick }: Bench): Promise<readonly Figure[]> {
  using pam = new PamFixture('pbench')
  const service = pam.service('svc', ...unix)
  const group = pam.group('in')
  const accounts = {
    wrong: pam.account('wrong', 'right', group),
    locked: pam.account('locked', 'right', group),
    expired: pam.account('expired', 'right', group),
    blocked: pam.account('blocked', 'right', group),
    'not allowed': pam.account('other', 'right'),
    unknown: 'pbenchnobody',
  }
  spawnSync('usermod', ['-L', accounts.locked])
  spawnSync('usermod', ['-e', '2020-01-01', accounts.expired])
  const authenticator = {
    driver: 'pam',
    service,
    allowedGroups: [group],
    blockedUsers: [accounts.blocked],
    freeFailures: 0,
  }
  const hub = await startPortico(launcher, { authenticator })
  try {
    const form = await LoginForm.open(hub, 64)
    const rush = await measureRush(hub, form, accounts.wrong)
    const told = await measureRefusals(form, accounts, isQuick ? 8 : 30)
    form.close()
    return [...rush, ...told]
  } finally {
    await hub.stop()
  }
}

/** The health of the hub while 20 wrong passwords are looked at. */
async function measureRush(
  hub: BenchHub,
  form: LoginForm,
  name: string,
): Promise<readonly Figure[]> {
  const url = new URL('hub/health', hub.direct ?? hub.front)
  const ask = async (): Promise<number> => {
    const started = performance.now()
    await (await fetch(url)).text()
    return performance.now() - started
  }
  for (let count = 0; count < 100; count += 1) await ask()
  const quiet: number[] = []
  for (let count = 0; count < 500; count += 1) quiet.push(await ask())
  let isOver = false
  const attempts = Array.from({ length: 20 }, () => form.post(name, 'wrong'))
  const all = Promise.all(attempts).finally(() => (isOver = true))
  const times: number[] = []
  while (!isOver) times.push(await ask())
  const slowest = Math.max(...timesOf(await all))
  return [
    { label: 'no logins: health p99', value: percentile(quiet, 0.99), unit: 'ms' },
    { label: '20 wrong PAM passwords: health p99', value: percentile(times, 0.99), unit: 'ms' },
    { label: '20 wrong PAM passwords: slowest refusal', value: slowest, unit: 'ms' },
  ]
}

/** Whether the time of a refusal tells what it was for: each kind against a wrong password. */
async function measureRefusals(
  form: LoginForm,
  accounts: Readonly<Record<string, string>>,
  rounds: number,
): Promise<readonly Figure[]> {
  const times = new Map<string, number[]>(Object.keys(accounts).map((kind) => [kind, []]))
  const kinds = Object.entries(accounts)
  for (let round = 0; round < rounds; round += 1) {
    // Every kind is the first as often as any other.
    const turned = [...kinds.slice(round % kinds.length), ...kinds.slice(0, round % kinds.length)]
    await Promise.all(
      turned.map(async ([kind, name], place) => {
        // One after the other: a queue before PAM is not what this is about.
        await sleep(place * 160)
        const { ms } = await form.post(name, kind === 'wrong' ? 'wrong' : 'right')
        times.get(kind)?.push(ms)
      }),
    )
  }
  const wrong = times.get('wrong') ?? []
  return [...times].flatMap(([kind, each]): readonly Figure[] => [
    { label: `refused, ${kind}: median`, value: median(each), unit: 'ms' },
    ...(kind === 'wrong'
      ? []
      : [
          {
            label: `refused, ${kind}: p of the U-test`,
            value: 100 * mannWhitney(each, wrong),
            unit: '%' as const,
          },
        ]),
  ])
}

const timesOf = (attempts: readonly Attempt[]): readonly number[] => attempts.map(({ ms }) => ms)
