import { type Client, ClientError } from '../../packages/client/index.ts'
import { HubError } from '../../packages/core/errors.ts'
import { type Command, type CommandContext, type Flags, hubFlags, UsageError } from './command.ts'
import { noHub, reach } from './operator.ts'
import { type Column, plain, tableLines } from './table.ts'

/** Flags of commands that work on a running hub through its API. */
const flags: Flags = {
  ...hubFlags,
  json: { type: 'boolean', help: 'Print the result as one JSON document.' },
}

/** A command on a running hub. Without `run` returning anything it has gone well. */
export interface HubCommand extends Omit<Command, 'run' | 'flags'> {
  readonly flags?: Flags
  readonly run: (client: Client, context: CommandContext) => Promise<number | void>
}

/** A command that finds its hub: the one at `--url`, else that of the data directory. */
export function hubCommand({ run, flags: own, ...command }: HubCommand): Command {
  return {
    ...command,
    flags: { ...own, ...flags },
    async run(context) {
      const reached = await reach(context)
      if (reached.kind !== 'hub') throw noHub(reached.dataDir, context)
      return (await run(reached.client, context)) ?? 0
    },
  }
}

/** Prints rows as a table, or with `--json` as they came. */
export function printTable<Row>(
  context: CommandContext,
  rows: readonly Row[],
  columns: readonly Column<Row>[],
): void {
  if (context.flags.has('json')) return printJson(context, rows)
  for (const line of tableLines(columns, rows, context.terminal)) context.print(line)
}

/** Prints one thing as lines of a name and a value, or with `--json` as it came. */
export function printFacts(
  context: CommandContext,
  model: object,
  facts: Readonly<Record<string, string>>,
): void {
  if (context.flags.has('json')) return printJson(context, model)
  const width = Math.max(...Object.keys(facts).map((name) => name.length))
  for (const [name, value] of Object.entries(facts))
    context.print(`${`${name}:`.padEnd(width + 2)}${plain(value)}`)
}

export function printJson({ print }: CommandContext, value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

/** The arguments from number `first` on, or the lines of standard input where the only one is `-`. */
export async function namesOf(context: CommandContext, first = 0): Promise<readonly string[]> {
  const given = context.positionals.slice(first)
  if (given.length !== 1 || given[0] !== '-') return [...new Set(given)]
  const lines = (await context.input()).split('\n').map((line) => line.trim())
  const names = [...new Set(lines.filter((line) => line !== ''))]
  if (names.length === 0) throw new UsageError('standard input holds no names')
  return names
}

export interface Each<Result> {
  /** Done with each name; may throw. */
  readonly work: (name: string) => Promise<Result>
  /** What it says when it has gone well; absent: nothing. */
  readonly told?: (name: string, result: Result) => string
}

/**
 * Works on one name after the other; one that fails is told and does not keep the others. Prints with
 * `--json` the list of results. Returns the exit status.
 */
export async function forEachName<Result>(
  context: CommandContext,
  names: readonly string[],
  { work, told }: Each<Result>,
): Promise<number> {
  const results: Result[] = []
  let failed = 0
  for (const [index, name] of names.entries()) {
    if (names.length > 1) context.status(`${index + 1} of ${names.length}: ${plain(name)}`)
    try {
      const result = await work(name)
      results.push(result)
      context.status('')
      if (told && !context.flags.has('json')) context.print(plain(told(name, result)))
    } catch (error) {
      if (!(error instanceof ClientError || error instanceof HubError)) throw error
      if (names.length === 1) throw error
      failed += 1
      context.status('')
      context.warn(`portico: ${plain(name)}: ${plain(error.message)}`)
    }
  }
  if (context.flags.has('json')) printJson(context, results)
  return failed === 0 ? 0 : 1
}

/** Everything of something that comes in pages. */
export async function collect<Item>(items: AsyncIterable<Item>): Promise<readonly Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}

/** A time to the minute, in UTC. */
export function minute(time: string | null | undefined): string {
  return time ? time.slice(0, 16).replace('T', ' ') : '-'
}

/** Names with commas, or a dash. */
export function listed(names: readonly string[] | undefined): string {
  return names && names.length > 0 ? names.join(', ') : '-'
}

/** A duration in seconds: `90`, `15m`, `12h`, `30d`. @throws {UsageError} */
export function durationOf({ flags: values }: CommandContext, flag: string): number | undefined {
  const text = values.text(flag)
  if (text === undefined) return undefined
  const [, count, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? []
  if (count === undefined)
    throw new UsageError(`'--${flag} ${text}' is no duration: write seconds, or 15m, 12h, 30d`)
  return Number(count) * { s: 1, m: 60, h: 3600, d: 86_400 }[unit as 's' | 'm' | 'h' | 'd']
}

/** JSON that must be an object. @throws {UsageError} */
export function objectOf(what: string, text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {
    // Said below.
  }
  throw new UsageError(`${what} must be a JSON object, such as '{"cpu": 2}'`)
}
