#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { homedir, userInfo } from 'node:os'
import { join, sep } from 'node:path'
import { ClientError } from '../packages/client/index.ts'
import { describeError, HubError } from '../packages/core/errors.ts'
import { packageRoot } from '../packages/process/program.ts'
import { parseArguments } from './commands/arguments.ts'
import { type CommandContext, type StopSignal, UsageError } from './commands/command.ts'
import { commandHelp, groupHelp, overview } from './commands/help.ts'
import { commands } from './commands/index.ts'

const root = packageRoot()
const invocation = root.includes(`${sep}node_modules${sep}`) ? 'portico' : 'npm run portico --'

/** How long an ended command may take to close what it holds, in ms. */
const closingTime = 5_000

const stopSignals = [
  ['SIGHUP', 129],
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

function warn(line: string): void {
  process.stderr.write(`${line}\n`)
}

/** One line on the terminal that the next one replaces. */
function status(line: string): void {
  if (!process.stderr.isTTY) return
  process.stderr.write(`\r\u001b[K${line.slice(0, process.stderr.columns - 1)}`)
}

function terminal(): CommandContext['terminal'] {
  const { isTTY, columns } = process.stdout
  return isTTY ? { columns, hasColours: process.stdout.hasColors() } : null
}

async function input(): Promise<string> {
  const { text } = await import('node:stream/consumers')
  return text(process.stdin)
}

function version(): string {
  const text = readFileSync(join(root, 'package.json'), 'utf8')
  return (JSON.parse(text) as { readonly version: string }).version
}

/** An account without a passwd entry is possible in containers. */
function account(): CommandContext['account'] {
  const isRoot = process.geteuid?.() === 0
  try {
    return { userName: userInfo().username, home: homedir(), isRoot }
  } catch {
    return { userName: isRoot ? 'root' : `uid-${process.geteuid?.()}`, home: homedir(), isRoot }
  }
}

/**
 * The third signal ends the program whatever it is doing. One Ctrl-C may arrive twice, from the
 * terminal and from npm: signals that follow closely count as one.
 */
function onStopSignal(listener: (signal: StopSignal) => void): void {
  let count = 0
  let last = -Infinity
  for (const [signal, status] of stopSignals) {
    process.on(signal, () => {
      if (performance.now() - last < 500) return
      last = performance.now()
      count += 1
      if (count > 2) process.exit(status)
      listener(signal)
    })
  }
}

async function main(args: readonly string[]): Promise<number> {
  if (args[0] === '--version' || args[0] === '-V') {
    print(`portico ${version()} (speaks JupyterHub 6.0.0, Node ${process.version})`)
    return 0
  }
  if (['--help', '-h', 'help'].includes(args[0] ?? '')) {
    print(overview(commands, invocation))
    return 0
  }
  const group = args.length === 2 && ['--help', '-h'].includes(args[1] ?? '') ? args[0] : undefined
  const help = group === undefined ? null : groupHelp(group, commands, invocation)
  if (help !== null) {
    print(help)
    return 0
  }
  const { command, flags, positionals } = parseArguments(args, commands)
  if (flags.has('help')) {
    print(commandHelp(command, invocation))
    return 0
  }
  return command.run({
    flags,
    positionals,
    env: process.env,
    cwd: process.cwd(),
    account: account(),
    version: version(),
    invocation,
    print,
    warn,
    status,
    terminal: terminal(),
    input,
    hub: () => import('./hub.ts'),
    onStopSignal,
  })
}

/** One line; what nobody foresaw comes with a hint at the rest. */
function report(error: unknown): number {
  const debug = process.argv.includes('--debug')
  const isForeseen = [HubError, ClientError, UsageError].some((kind) => error instanceof kind)
  warn(`portico: ${describeError(error)}${isForeseen || debug ? '' : ' (--debug says where)'}`)
  if (debug && error instanceof Error) warn(String(error.stack))
  return error instanceof UsageError ? 2 : 1
}

// A promise that nobody looked after is a bug, but none that should end anybody's session.
process.on('unhandledRejection', (reason) => {
  warn(
    `portico: a bug, please report it: ${reason instanceof Error ? reason.stack : String(reason)}`,
  )
})
// A reader that has gone away (`portico config print | head`) is no reason to fail.
process.stdout.on('error', () => {})
process.stderr.on('error', () => {})
process.exitCode = await main(process.argv.slice(2)).catch(report)
setTimeout(() => process.exit(), closingTime).unref()
