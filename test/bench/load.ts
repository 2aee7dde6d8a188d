import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { BenchError } from './contender.ts'
import type { LoadPlan, LoadResult } from './load-generator.ts'

/** Sends requests from a process of its own. One burst at a time. */
export interface LoadGenerator {
  /** @throws {BenchError} when an answer is not a 200. */
  run(plan: LoadPlan): Promise<LoadResult>
  stop(): Promise<void>
}

type Reply = { readonly result: LoadResult } | { readonly error: string }

export function startLoadGenerator(): LoadGenerator {
  // Inherits the flags that let this process run TypeScript.
  const child = fork(fileURLToPath(new URL('load-generator.ts', import.meta.url)))
  return {
    async run(plan) {
      const reply = await ask(child, plan)
      if ('error' in reply) throw new BenchError(`${plan.url}: ${reply.error}`)
      const { statuses } = reply.result
      const wrong = Object.keys(statuses).filter((status) => status !== '200')
      if (wrong.length > 0)
        throw new BenchError(`${plan.url} answered with status ${wrong.join(', ')}, not 200`)
      return reply.result
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const exited = once(child, 'exit')
      child.kill('SIGKILL')
      await exited
    },
  }
}

async function ask(child: ChildProcess, plan: LoadPlan): Promise<Reply> {
  const patience = AbortSignal.timeout((plan.seconds + 60) * 1000)
  const reply = once(child, 'message', { signal: patience })
  child.send(plan)
  const [message] = (await reply) as [Reply]
  return message
}
