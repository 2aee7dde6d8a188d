import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseArguments } from '../../../hub/commands/arguments.ts'
import { UsageError } from '../../../hub/commands/command.ts'
import { commandHelp, groupHelp, overview } from '../../../hub/commands/help.ts'
import { commands } from '../../../hub/commands/index.ts'

const parse = (line: string) => parseArguments(line.split(' ').filter(Boolean), commands)

for (const [line, name, positionals] of [
  ['', 'start', []],
  ['--port 9000', 'start', []],
  ['start --port=9000', 'start', []],
  ['config check -f x.ts', 'config check', []],
  ['users set-admin ada --revoke', 'users set-admin', ['ada']],
  ['users set-admin --revoke ada', 'users set-admin', ['ada']],
  ['users create ada grace', 'users create', ['ada', 'grace']],
  ['users create -', 'users create', ['-']],
  ['servers list', 'servers list', []],
  ['stop --all', 'stop', []],
] as const) {
  test(`'${line}' is ${name}`, () => {
    const parsed = parse(line)
    assert.equal(parsed.command.name, name)
    assert.deepEqual(parsed.positionals, positionals)
  })
}

test('values arrive, repeated ones all of them', () => {
  const { flags } = parse('start --port 9000 --set hub.logLevel=debug --set=hub.baseUrl=/a --debug')
  assert.equal(flags.text('port'), '9000')
  assert.deepEqual(flags.list('set'), ['hub.logLevel=debug', 'hub.baseUrl=/a'])
  assert.deepEqual([flags.has('debug'), flags.has('help')], [true, false])
})

for (const [line, message] of [
  ['strat', "unknown command 'strat': did you mean 'start'?"],
  ['confg check', "unknown command 'confg': did you mean 'config check'?"],
  ['config chekc', "unknown command 'config chekc': did you mean 'config check'?"],
  ['config', "'config' needs one of init, check, print"],
  ['frobnicate', "unknown command 'frobnicate': see 'portico --help'"],
  ['start --prot 9000', "unknown flag '--prot': did you mean '--port'?"],
  ['start -x', "unknown flag '-x': see --help"],
  ['db check --url x', "unknown flag '--url': see --help"],
  ['start --port', "'--port' needs a value: --port N"],
  ['start --port=', "'--port' needs a value: --port N"],
  ['start --debug=yes', "'--debug' takes no value"],
  ['start now', "unexpected argument 'now'"],
  ['users set-admin', "'users set-admin' needs NAME"],
  ['users create', "'users create' needs NAME... | -"],
  ['servers list a b', "unexpected argument 'b'"],
  ['users set-admin a b', "unexpected argument 'b'"],
] as const) {
  test(`'${line}' is refused: ${message}`, () => {
    assert.throws(
      () => parse(line),
      (error) => error instanceof UsageError && error.message === message,
    )
  })
}

test('--help needs no arguments', () => {
  assert.ok(parse('users set-admin --help').flags.has('help'))
})

test('the help lists every command with an example that parses', () => {
  const text = overview(commands, 'portico')
  for (const command of commands) {
    const [group = '', verb] = command.name.split(' ')
    const own = groupHelp(group, commands, 'portico') ?? text
    assert.ok(text.includes(`  ${group}`) && own.includes(`  ${command.name}`), command.name)
    if (verb !== undefined && !text.includes(`  ${command.name}`))
      assert.match(text, new RegExp(`  ${group} .*\\b${verb}\\b`))
    assert.ok(command.examples.length > 0, command.name)
    for (const example of command.examples)
      assert.equal(parse(example.replace(/ < \S+$/, '')).command, command, example)
  }
})

for (const command of commands) {
  test(`the help of '${command.name}' says what each flag does`, () => {
    const text = commandHelp(command, 'portico')
    for (const [name, { help, value }] of Object.entries(command.flags)) {
      assert.ok(text.includes(`--${name}${value ? ` ${value}` : ''}`), name)
      assert.ok(help.length > 10 && text.includes(help), name)
    }
    assert.ok(text.includes('--help'))
  })
}
