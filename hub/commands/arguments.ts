import { parseArgs } from 'node:util'
import { nearest } from '../config/problems.ts'
import { type Command, commonFlags, type Flags, type FlagValues, UsageError } from './command.ts'

export interface ParsedArguments {
  readonly command: Command
  readonly flags: FlagValues
  readonly positionals: readonly string[]
}

/**
 * Finds the command and its flags. Without a command it is the first of `commands`; its words come
 * before all flags.
 * @throws {UsageError} naming what is unknown, missing or too much.
 */
export function parseArguments(
  args: readonly string[],
  commands: readonly Command[],
): ParsedArguments {
  const { command, rest } = findCommand(args, commands)
  const flags = { ...commonFlags, ...command.flags }
  const parsed = parseArgs({
    args: [...rest],
    options: Object.fromEntries(
      Object.entries(flags).map(([name, flag]) => [name, parserOption(flag)]),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  })
  const values = flagValues(parsed.values)
  for (const token of parsed.tokens) {
    if (token.kind === 'option') checkFlag(token.name, token.rawName, token.value, flags)
  }
  if (!values.has('help')) checkPositionals(command, parsed.positionals)
  return { command, flags: values, positionals: parsed.positionals }
}

function parserOption({ type, short, multiple }: Flags[string]) {
  return { type, ...(short ? { short } : {}), ...(multiple ? { multiple } : {}) }
}

function flagValues(values: Readonly<Record<string, unknown>>): FlagValues {
  return {
    text(name) {
      const value = values[name]
      return typeof value === 'string' ? value : undefined
    },
    list(name) {
      const value = values[name]
      return Array.isArray(value) ? value.map(String) : []
    },
    has: (name) => values[name] === true,
  }
}

function findCommand(args: readonly string[], commands: readonly Command[]) {
  const flag = args.findIndex((argument) => argument.startsWith('-'))
  const words = flag === -1 ? args : args.slice(0, flag)
  const [start] = commands
  if (words.length === 0 && start) return { command: start, rest: args }
  for (const count of [2, 1]) {
    const name = words.slice(0, count).join(' ')
    const command = commands.find((candidate) => candidate.name === name)
    if (command && words.length >= count) return { command, rest: args.slice(count) }
  }
  throw new UsageError(unknownCommand(words, commands))
}

function unknownCommand(words: readonly string[], commands: readonly Command[]): string {
  const [first = '', second] = words
  const group = commands.filter((command) => command.name.startsWith(`${first} `))
  if (group.length > 0) {
    const names = group.map((command) => command.name.slice(first.length + 1))
    const meant = second === undefined ? null : nearest(second, names)
    if (meant !== null)
      return `unknown command '${first} ${second}': did you mean '${first} ${meant}'?`
    return `'${first}' needs one of ${names.join(', ')}`
  }
  const names = commands.flatMap(({ name }) => [name, name.split(' ')[0] ?? name])
  const meant = nearest(words.slice(0, 2).join(' '), names) ?? nearest(first, names)
  const hint = meant === null ? "see 'portico --help'" : `did you mean '${meant}'?`
  return `unknown command '${first}': ${hint}`
}

function checkFlag(name: string, rawName: string, value: string | undefined, flags: Flags): void {
  const flag = flags[name]
  if (!flag) {
    const meant = nearest(name, Object.keys(flags))
    const hint = meant === null ? 'see --help' : `did you mean '--${meant}'?`
    throw new UsageError(`unknown flag '${rawName}': ${hint}`)
  }
  if (flag.type === 'string' && (value === undefined || value === '')) {
    throw new UsageError(`'${rawName}' needs a value: ${rawName} ${flag.value ?? 'VALUE'}`)
  }
  if (flag.type === 'boolean' && value !== undefined) {
    throw new UsageError(`'${rawName}' takes no value`)
  }
}

function checkPositionals(command: Command, given: readonly string[]): void {
  const wanted = command.positionals ?? 0
  const { least, most } = typeof wanted === 'number' ? { least: wanted, most: wanted } : wanted
  const extra = given[most]
  if (extra !== undefined) throw new UsageError(`unexpected argument '${extra}'`)
  if (given.length < least) throw new UsageError(`'${command.name}' needs ${command.usage}`)
}
