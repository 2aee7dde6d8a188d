import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { BenchError } from '../contender.ts'
import { ended, pinned } from './proxies.ts'
import type { Traffic, TrafficResult } from './traffic.ts'

/** The backend and the client of all proxies, together on the core that the proxies do not have. */
export interface Helpers {
  readonly target: URL
  /** Another backend, which may be ended before the others. */
  doomedTarget(): Promise<{ readonly target: URL; stop(): Promise<void> }>
  send(plan: Traffic): Promise<TrafficResult>
  /** The same from a process of its own, so that what is measured by `send` meanwhile does not wait for it. */
  sendBeside(plan: Traffic): Promise<TrafficResult>
  stop(): Promise<void>
}

type Reply = { readonly result: TrafficResult } | { readonly error: string }

const patience = 120_000

export async function startHelpers(): Promise<Helpers> {
  const backend = program('backend.ts')
  const traffic = program('traffic.ts')
  const other = program('traffic.ts')
  const doomed = new Set<ChildProcess>()
  return {
    target: await targetOf(backend),
    async doomedTarget() {
      const child = program('backend.ts')
      doomed.add(child)
      return { target: await targetOf(child), stop: () => ended(child) }
    },
    send: (plan) => ask(traffic, plan),
    sendBeside: (plan) => ask(other, plan),
    stop: async () => void (await Promise.all([backend, traffic, other, ...doomed].map(ended))),
  }
}

async function ask(traffic: ChildProcess, plan: Traffic): Promise<TrafficResult> {
  const reply = once(traffic, 'message', { signal: AbortSignal.timeout(patience) })
  traffic.send(plan)
  const [message] = (await reply) as [Reply]
  if ('error' in message) throw new BenchError(`${plan.kind}: ${message.error}`)
  return message.result
}

async function targetOf(backend: ChildProcess): Promise<URL> {
  const [port] = (await once(backend, 'message')) as [number]
  return new URL(`http://127.0.0.1:${port}`)
}

function program(name: string): ChildProcess {
  const file = fileURLToPath(new URL(name, import.meta.url))
  const [command, ...args] = pinned(1, [process.execPath, ...process.execArgv, file])
  return spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
}
