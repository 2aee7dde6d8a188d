import { type Command, commonFlags, type Flags } from './command.ts'

/** What commands of two words are about that are listed together. */
const groups: Readonly<Record<string, string>> = {
  users: 'Users',
  groups: 'Groups of users',
  servers: 'Servers',
  tokens: 'API tokens',
  services: 'Services',
  shares: 'Shared servers, and codes that share them',
}

/** The list of commands. */
export function overview(commands: readonly Command[], invocation: string): string {
  const lines = commands.flatMap(entryOf(commands))
  return [
    'Portico: a multi-user hub for Jupyter and other web workspaces.',
    '',
    `Usage: ${invocation} [COMMAND] [FLAGS]`,
    '',
    'Commands:',
    ...inColumns(lines),
    '',
    `'${invocation} COMMAND --help' says more. Without a command it is '${commands[0]?.name}'.`,
    `'${invocation} --version' tells the version.`,
    '',
    'Examples:',
    ...lines.map(({ example }) => example).map(exampleLine(invocation)),
  ].join('\n')
}

interface Entry {
  readonly head: string
  readonly text: string
  readonly example: string
}

/** One line for a command; for those of a group one line together, in the place of the first. */
function entryOf(commands: readonly Command[]): (command: Command) => readonly Entry[] {
  return (command) => {
    const [group = ''] = command.name.split(' ')
    const [example = ''] = command.examples
    const about = groups[group]
    if (about === undefined) return [{ head: headOf(command), text: command.summary, example }]
    const members = membersOf(group, commands)
    if (members[0] !== command) return []
    const verbs = members.map(({ name }) => name.slice(group.length + 1))
    return [{ head: `${group} ...`, text: `${about}: ${verbs.join(', ')}.`, example }]
  }
}

/** All commands of a group such as `users`; null when there is none of that name. */
export function groupHelp(
  group: string,
  commands: readonly Command[],
  invocation: string,
): string | null {
  const members = membersOf(group, commands)
  if (members.length === 0) return null
  const lines = members.map((member) => ({ head: headOf(member), text: member.summary }))
  return [
    `Usage: ${invocation} ${group} COMMAND [FLAGS]`,
    '',
    'Commands:',
    ...inColumns(lines),
    '',
    `'${invocation} ${group} COMMAND --help' says more.`,
  ].join('\n')
}

function membersOf(group: string, commands: readonly Command[]): readonly Command[] {
  return commands.filter(({ name }) => name.startsWith(`${group} `))
}

function inColumns(
  lines: readonly { readonly head: string; readonly text: string }[],
): readonly string[] {
  const width = Math.max(...lines.map(({ head }) => head.length))
  return lines.map(({ head, text }) => `  ${head.padEnd(width)}  ${text}`)
}

/** All about one command. */
export function commandHelp(command: Command, invocation: string): string {
  return [
    `${command.summary}${command.details ? `\n${command.details}` : ''}`,
    '',
    `Usage: ${invocation} ${headOf(command)} [FLAGS]`,
    '',
    'Flags:',
    ...flagLines({ ...command.flags, ...commonFlags }),
    '',
    'Examples:',
    ...command.examples.map(exampleLine(invocation)),
  ].join('\n')
}

function headOf({ name, usage }: Command): string {
  return usage === undefined ? name : `${name} ${usage}`
}

function exampleLine(invocation: string): (example: string) => string {
  return (example) => `  ${invocation} ${example}`
}

function flagLines(flags: Flags): readonly string[] {
  return inColumns(
    Object.entries(flags).map(([name, { short, value, help }]) => ({
      head: `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`,
      text: help,
    })),
  )
}
