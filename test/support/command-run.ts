import { parseArguments } from '../../hub/commands/arguments.ts'
import type { CommandContext, HubProgram, StopSignal } from '../../hub/commands/command.ts'
import { commands } from '../../hub/commands/index.ts'
import { drivers } from './drivers.ts'

export interface CommandRun {
  readonly status: number
  readonly out: readonly string[]
  readonly err: readonly string[]
}

export interface CommandWorld {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  readonly account?: CommandContext['account']
  readonly terminal?: CommandContext['terminal']
  /** What standard input holds. */
  readonly input?: string
  readonly startHub?: HubProgram['startHub']
  /** Receives the listener for signals. */
  readonly signals?: (send: (signal: StopSignal) => void) => void
}

/** Runs a command line in this process, as `hub/main.ts` would. A throw is the command's failure. */
export async function runCommand(line: string, world: CommandWorld): Promise<CommandRun> {
  const args = line.split(' ').filter((word) => word !== '')
  const { command, flags, positionals } = parseArguments(args, commands)
  const out: string[] = []
  const err: string[] = []
  const noHub = () => Promise.reject(new Error('this test starts no hub'))
  const status = await command.run({
    flags,
    positionals,
    env: world.env ?? {},
    cwd: world.cwd,
    account: world.account ?? { userName: 'ada', home: world.cwd, isRoot: false },
    version: '0.0.0',
    invocation: 'portico',
    print: (text) => out.push(text),
    warn: (text) => err.push(text),
    status: () => {},
    terminal: world.terminal ?? null,
    input: () => Promise.resolve(world.input ?? ''),
    hub: () => Promise.resolve({ drivers, startHub: world.startHub ?? noHub }),
    onStopSignal: (listener) => world.signals?.(listener),
  })
  return { status, out, err }
}
