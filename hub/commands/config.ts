import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { HubError } from '../../packages/core/errors.ts'
import { redact } from '../config/redact.ts'
import { describeProblem } from '../config.ts'
import { findConfigFile } from '../config-file.ts'
import { findDataDir } from '../data-dir.ts'
import type { Command } from './command.ts'
import { starterConfig } from './starter-config.ts'
import { loadSite, overrideFlags, type Site } from './site.ts'

export const configCheck: Command = {
  name: 'config check',
  summary: 'Say all that is wrong with the config.',
  details: 'Exits 1 when there is something, or when nobody could log in.',
  flags: overrideFlags,
  examples: ['config check', 'config check --config /etc/portico/portico.config.ts'],
  async run(context) {
    const site = await loadSite(context)
    if ('problems' in site) {
      for (const problem of site.problems) context.warn(describeProblem(problem))
      return 1
    }
    if (site.file === null) {
      const { invocation, cwd } = context
      context.warn(`${cwd}: holds no config file: '${invocation} config init' writes one`)
      return 1
    }
    for (const warning of site.warnings) context.warn(describeProblem(warning))
    const { driver, options } = site.config.spawner
    driver.check?.(options)
    findDataDir(site.dataDir)
    if (site.warnings.some((warning) => warning.failsCheck)) return 1
    context.print(`${site.file}: is fine`)
    return 0
  },
}

export const configPrint: Command = {
  name: 'config print',
  summary: 'Show every option in force and where its value came from.',
  details: 'Secrets are left out.',
  flags: overrideFlags,
  examples: ['config print', 'config print --port 9000'],
  async run(context) {
    const site = await loadSite(context)
    if ('problems' in site) {
      for (const problem of site.problems) context.warn(describeProblem(problem))
      return 1
    }
    context.print(`# config file: ${site.file ?? 'none: a quick start'}`)
    context.print(`# data directory: ${site.dataDir}`)
    for (const line of optionLines(site)) context.print(line)
    return 0
  },
}

export const configInit: Command = {
  name: 'config init',
  summary: 'Write a commented config to begin with.',
  details: 'Never overwrites a file.',
  flags: {
    config: {
      type: 'string',
      short: 'f',
      value: 'FILE',
      help: 'File to write. Default: portico.config.ts in the working directory.',
    },
  },
  examples: ['config init', 'config init --config /etc/portico/portico.config.ts'],
  async run(context) {
    const { cwd, flags, env, account, invocation } = context
    if (flags.text('config') === undefined) refuseSecondFile(cwd)
    const file = resolve(cwd, flags.text('config') ?? 'portico.config.ts')
    const userName = account.isRoot ? (env['SUDO_USER'] ?? 'ada') : account.userName
    const password = randomBytes(12).toString('base64url')
    writeNew(file, starterConfig({ userName, password, isRoot: account.isRoot }))
    context.print(`${file}: written. Read it, then try '${invocation} config check'`)
    return 0
  },
}

function refuseSecondFile(folder: string): void {
  const file = findConfigFile(folder)
  if (file !== null) throw new HubError('already_exists', `${file}: is there already`)
}

function writeNew(file: string, content: string): void {
  try {
    writeFileSync(file, content, { flag: 'wx', mode: 0o600 })
  } catch (cause) {
    const exists = cause instanceof Error && 'code' in cause && cause.code === 'EEXIST'
    if (exists) throw new HubError('already_exists', `${file}: is there already`)
    throw new HubError('invalid_request', `${file}: cannot be written`, { cause })
  }
}

function optionLines({ config, origins }: Site): readonly string[] {
  const values: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    hub: { ...config.hub },
    proxy: withDriver(config.proxy),
    authenticator: { ...config.authenticator.base, ...withDriver(config.authenticator) },
    spawner: { ...config.spawner.base, ...withDriver(config.spawner) },
    ...Object.fromEntries(
      config.services.map((service, index) => [`services[${index}]`, { ...service }]),
    ),
  }
  return [...origins].map(([path, origin]) => {
    const [section = '', option = ''] = path.split('.')
    const value = redact(values[section]?.[option], option)
    return `${path} = ${JSON.stringify(value) ?? '(not set)'}  # ${origin}`
  })
}

function withDriver(part: {
  readonly driver: { readonly name: string }
  readonly options: Readonly<Record<string, unknown>>
}): Readonly<Record<string, unknown>> {
  return { ...part.options, driver: part.driver.name }
}
