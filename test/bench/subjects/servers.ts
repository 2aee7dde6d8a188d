import { type Client, ClientError, createClient } from '../../../packages/client/index.ts'
import { until } from '../../support/until.ts'
import { cpuOf } from '../process-figures.ts'
import type { Figure, Subject } from '../subject.ts'

/** Starts and stops of no-op servers by the API: one alone, then many at once. */
export const servers: Subject = {
  name: 'servers',
  summary: 'starts and stops of a no-op server, one alone and many at once',
  applies: (hub) => hub.processes !== null,
  rounds: (isQuick) => (isQuick ? 1 : 2),
  async measure({ hub, isQuick }) {
    const { processes, direct, token } = hub
    if (!processes || !direct) return []
    const client = createClient({ url: direct.href, token })
    const names = Array.from({ length: isQuick ? 8 : 20 }, (_, index) => `bench-${index}`)
    await createUsers(client, [...names, 'alone'])
    const began = performance.now()
    await startAndWait(client, 'alone')
    const alone: Figure = {
      label: 'one start, alone',
      value: performance.now() - began,
      unit: 'ms',
    }
    await stopAndWait(client, 'alone')
    const all = (work: typeof startAndWait) => () =>
      Promise.all(names.map((name) => work(client, name)))
    const cpu = (): number => cpuOf(processes.hub)
    return [
      alone,
      ...(await timed('starts', names.length, cpu, all(startAndWait))),
      ...(await timed('stops', names.length, cpu, all(stopAndWait))),
    ]
  },
}

async function timed(
  what: string,
  count: number,
  cpu: () => number,
  work: () => Promise<unknown>,
): Promise<readonly Figure[]> {
  const cpuBefore = cpu()
  const began = performance.now()
  await work()
  const seconds = (performance.now() - began) / 1000
  return [
    { label: `${count} ${what} at once`, value: count / seconds, unit: '1/s' },
    {
      label: `${count} ${what} at once: hub CPU each`,
      value: (cpu() - cpuBefore) / count,
      unit: 'ms',
    },
  ]
}

async function createUsers(client: Client, names: readonly string[]): Promise<void> {
  try {
    await client.createUsers(names)
  } catch (error) {
    // All exist since the round before.
    if (!(error instanceof ClientError && error.status === 409)) throw error
  }
}

async function startAndWait(client: Client, user: string): Promise<void> {
  if ((await client.startServer(user)) === 'ready') return
  await until(`the server of ${user} is ready`, () => has(client, user, true), 60_000)
}

async function stopAndWait(client: Client, user: string): Promise<void> {
  if ((await client.stopServer(user)) === 'stopped') return
  await until(`the server of ${user} is stopped`, () => has(client, user, false), 60_000)
}

async function has(client: Client, user: string, ready: boolean): Promise<boolean> {
  const server = (await client.user(user)).servers?.['']
  return ready ? server?.ready === true : server === undefined
}
