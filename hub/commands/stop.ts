import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '../../packages/client/index.ts'
import { describeError, HubError } from '../../packages/core/errors.ts'
import { adopt } from '../../packages/process/index.ts'
import { type Command, type CommandContext, hubFlags } from './command.ts'
import { answers, noHub, reach } from './operator.ts'

export const stop: Command = {
  name: 'stop',
  summary: 'Stop the hub; with --all its proxy and all servers, too.',
  details: 'With --all it also ends what a hub left running that is gone itself.',
  flags: {
    ...hubFlags,
    all: { type: 'boolean', help: 'Also stop the proxy and all servers.' },
  },
  examples: ['stop --all', 'stop'],
  async run(context) {
    const all = context.flags.has('all')
    const reached = await reach(context)
    if (reached.kind === 'hub') await stopHub(reached.client, reached.dataDir, all)
    else if (!all) throw noHub(reached.dataDir, context)
    const patience = reached.kind === 'hub' ? lockDeadline : 0
    if (all && reached.dataDir !== null) return stopRest(context, reached.dataDir, patience)
    context.print('The hub has stopped')
    return 0
  },
}

/** Longest time for a hub to end with all its servers, in ms: the spawners' own deadlines and more. */
const hubDeadline = 180_000

/** A hub that has closed its socket holds its lock a little longer: ms. */
const lockDeadline = 15_000

async function stopHub(client: Client, dataDir: string | null, all: boolean): Promise<void> {
  await client.shutdown(all ? { proxy: true, servers: true } : {})
  if (dataDir === null) return
  const deadline = performance.now() + hubDeadline
  while (await answers(join(dataDir, 'hub.sock'))) {
    if (performance.now() > deadline) {
      throw new HubError('unavailable', `the hub on ${dataDir} has not ended within 3 minutes`)
    }
    await sleep(100)
  }
}

/** Ends every process that the last hub recorded and that still runs; another one with its pid is left alone. */
async function stopRest(
  context: CommandContext,
  dataDir: string,
  patience: number,
): Promise<number> {
  const { databaseFile, withDatabase } = await import('./offline.ts')
  if (!existsSync(databaseFile(dataDir))) {
    context.print('Nothing runs')
    return 0
  }
  const { listProcesses } = await import('../store/processes.ts')
  return retryWhileLocked(patience, () =>
    withDatabase(dataDir, async (database) => {
      const recorded = await listProcesses(database)
      const results = await Promise.all(
        recorded.map(({ what, identity }) => stopOne(context, what, adopt(identity))),
      )
      context.print('Nothing runs any more')
      return results.every(Boolean) ? 0 : 1
    }),
  )
}

async function stopOne(
  context: CommandContext,
  what: string,
  running: ReturnType<typeof adopt>,
): Promise<boolean> {
  try {
    const ran = running.isRunning()
    await running.stop()
    if (ran) context.print(`${what}: stopped (pid ${running.identity.pid})`)
    return true
  } catch (error) {
    context.warn(
      `${what}: cannot be stopped (pid ${running.identity.pid}): ${describeError(error)}`,
    )
    return false
  }
}

async function retryWhileLocked<Result>(
  patience: number,
  work: () => Promise<Result>,
): Promise<Result> {
  const deadline = performance.now() + patience
  for (;;) {
    try {
      return await work()
    } catch (error) {
      const locked = error instanceof HubError && error.code === 'unavailable'
      if (!locked || performance.now() > deadline) throw error
      await sleep(100)
    }
  }
}
