import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Command, launch, type SupervisedProcess } from '../../packages/process/index.ts'
import { until } from '../support/until.ts'
import { BenchError } from './contender.ts'

/** A hub as a running program. */
export interface Launched {
  readonly process: SupervisedProcess
  readonly startSeconds: number
  readonly startedAt: number
  /** Ends the program and all its descendants, and removes its folder unless that is still needed. */
  stop(options?: { readonly keepsFolder: boolean }): Promise<void>
}

export interface LaunchPlan {
  readonly command: Command
  readonly env: Readonly<Record<string, string>>
  /** One that `folder` has made. */
  readonly folder: string
  /** Default: `folder`. */
  readonly cwd?: string
  /** Answers 200 when the hub is up. */
  readonly url: URL
  /** Milliseconds within which it must be up. Default: a minute. */
  readonly patience?: number
}

/** Starts hubs and answers for their end. */
export interface Launcher {
  /** A private folder under the system's temporary one, with an empty `homes`. */
  folder(): string
  /** @throws {BenchError} with the end of the log, when the hub is not up in time. */
  launch(plan: LaunchPlan): Promise<Launched>
  /** Ends everything that still runs and removes all folders; what is launched later ends at once. */
  close(): Promise<void>
}

const ladder = [
  ['SIGTERM', 20_000],
  ['SIGKILL', 5_000],
] as const

export function createLauncher(): Launcher {
  const folders = new Set<string>()
  const running = new Set<Launched['stop']>()
  let isClosed = false
  const remove = (folder: string): void => {
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    folders.delete(folder)
  }
  return {
    folder() {
      const folder = mkdtempSync(join(tmpdir(), 'portico-bench-'))
      mkdirSync(join(folder, 'homes'))
      folders.add(folder)
      return folder
    },

    async launch({ command, env, folder, cwd = folder, url, patience = 60_000 }) {
      if (isClosed) throw new BenchError('the run has ended')
      const logFile = join(folder, 'bench.log')
      const began = performance.now()
      const program = await launch({ command, env, cwd, logFile, save: async () => {} })
      const stop = async ({ keepsFolder } = { keepsFolder: false }): Promise<void> => {
        if (!running.delete(stop)) return
        await program.stop(ladder)
        if (!keepsFolder) remove(folder)
      }
      running.add(stop)
      try {
        if (isClosed) throw new BenchError('the run has ended')
        await until(`${url.href} answers`, () => isUp(url, program), patience)
        const startedAt = performance.now()
        return { process: program, startSeconds: (startedAt - began) / 1000, startedAt, stop }
      } catch (cause) {
        const log = endOf(logFile)
        await stop()
        throw new BenchError(`${command.join(' ')} did not come up. ${log}`, { cause })
      }
    },

    async close() {
      isClosed = true
      await Promise.all([...running].map((stop) => stop()))
      for (const folder of folders) remove(folder)
    },
  }
}

async function isUp(url: URL, program: SupervisedProcess): Promise<boolean> {
  if (!program.isRunning()) throw new BenchError('it has ended')
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => null)
  await response?.body?.cancel()
  return response?.status === 200
}

function endOf(logFile: string): string {
  const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n')
  return `Its log ends with:\n${lines.slice(-15).join('\n')}`
}
