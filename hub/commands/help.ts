import { type Command, commonFlags, type Flags } from './command.ts'

/** The list of commands. */
export function overview(commands: readonly Command[], invocation: string): string {
  const width = Math.max(...commands.map((command) => headOf(command).length))
  return [
    'Portico: a multi-user hub for Jupyter and other web workspaces.',
    '',
    `Usage: ${invocation} [COMMAND] [FLAGS]`,
    '',
    'Commands:',
    ...commands.map((command) => `  ${headOf(command).padEnd(width)}  ${command.summary}`),
    '',
    `'${invocation} COMMAND --help' says more. Without a command it is '${commands[0]?.name}'.`,
    `'${invocation} --version' tells the version.`,
    '',
    'Examples:',
    ...commands.flatMap(({ examples }) => examples.slice(0, 1)).map(exampleLine(invocation)),
  ].join('\n')
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
  const heads = Object.entries(flags).map(([name, { short, value, help }]) => ({
    head: `${short ? `-${short}, ` : ''}--${name}${value ? ` ${value}` : ''}`,
    help,
  }))
  const width = Math.max(...heads.map(({ head }) => head.length))
  return heads.map(({ head, help }) => `  ${head.padEnd(width)}  ${help}`)
}
