import { dirname, resolve } from 'node:path'
import {
  type Config,
  type Drivers,
  type Loaded,
  loadConfig,
  type Origin,
  type Problem,
  quickStartConfig,
} from '../config.ts'
import { isLoopback } from '../config/values.ts'
import { fileWarnings, findConfigFile, importModule, readConfigFile } from '../config-file.ts'
import { chooseDataDir } from '../data-dir.ts'
import { type CommandContext, type Flags, siteFlags, UsageError } from './command.ts'

/** What is in force: a config file with the flags over it, or a quick start. */
export interface Site {
  readonly config: Config
  readonly warnings: Loaded['warnings']
  readonly origins: ReadonlyMap<string, Origin>
  /** Null in a quick start. */
  readonly file: string | null
  readonly dataDir: string
}

/** Flags that change single options. */
export const overrideFlags: Flags = {
  ...siteFlags,
  port: { type: 'string', value: 'N', help: 'Port for browsers. Default: 8000, or hub.bindUrl.' },
  url: { type: 'string', value: 'URL', help: 'Address for browsers: hub.bindUrl.' },
  'base-url': { type: 'string', value: 'PATH', help: 'Prefix of everything: hub.baseUrl.' },
  'log-level': {
    type: 'string',
    value: 'LEVEL',
    help: 'debug, info, warn or error: hub.logLevel.',
  },
  set: {
    type: 'string',
    value: 'OPTION=VALUE',
    multiple: true,
    help: 'Any option by its path, as JSON or as text. May be given several times.',
  },
}

type Sections = Record<string, Record<string, unknown>>

/**
 * Reads and decodes the site's config.
 * @throws {HubError} when the config file is missing or cannot be run.
 */
export async function loadSite(
  context: CommandContext,
): Promise<Site | { readonly problems: readonly Problem[] }> {
  const file = findConfigFile(context.cwd, context.flags.text('config'))
  const input = file === null ? quickStartConfig(context.account) : await readConfigFile(file)
  const { drivers } = await context.hub()
  const loaded = await decode(context, drivers, file, input)
  if ('problems' in loaded) return loaded
  const problems = file === null ? quickStartProblems(loaded.config, context.invocation) : []
  if (problems.length > 0) return { problems }
  const configured = loaded.config.hub.dataDir
  const secrets = file === null ? [] : fileWarnings(file, input)
  return {
    ...loaded,
    warnings: [...loaded.warnings, ...secrets.map((found) => ({ ...found, failsCheck: false }))],
    file,
    dataDir: dataDirOf(context, configured),
  }
}

/** The data directory alone: works with a config that has mistakes elsewhere, and runs no driver. */
export async function locateDataDir(context: CommandContext): Promise<string> {
  if (context.flags.text('data-dir') !== undefined) return dataDirOf(context, undefined)
  const file = findConfigFile(context.cwd, context.flags.text('config'))
  if (file === null) return dataDirOf(context, undefined)
  const input = (await readConfigFile(file)) as { hub?: { dataDir?: unknown } } | null
  const configured = input?.hub?.dataDir
  return dataDirOf(
    context,
    typeof configured === 'string' ? resolve(dirname(file), configured) : undefined,
  )
}

function decode(context: CommandContext, drivers: Drivers, file: string | null, input: unknown) {
  const folder = file === null ? context.cwd : dirname(file)
  return loadConfig(input, drivers, {
    source: file ?? 'quick start',
    origin: file === null ? 'quick start' : 'file',
    folder,
    overrides: overridesOf(context, input as { hub?: { bindUrl?: unknown } } | null),
    importModule: (specifier) => importModule(resolve(folder, specifier)),
  })
}

function dataDirOf({ flags, env, account, cwd }: CommandContext, configured: string | undefined) {
  const { home, isRoot } = account
  return chooseDataDir({ flag: flags.text('data-dir'), configured, env, home, cwd, isRoot })
}

/** A quick start has no passwords: only this machine may reach it. */
function quickStartProblems({ hub }: Config, invocation: string): readonly Problem[] {
  const message = `a quick start listens on this machine only: write a config with '${invocation} config init'`
  const source = 'command line'
  if (!isLoopback(hub.bindUrl.hostname)) return [{ path: 'hub.bindUrl', message, source }]
  if (hub.publicUrl) return [{ path: 'hub.publicUrl', message, source }]
  return []
}

function overridesOf(
  { flags }: CommandContext,
  input: { readonly hub?: { readonly bindUrl?: unknown } } | null,
): Sections {
  const overrides: Sections = {}
  const set = (path: string, value: unknown): void => {
    const [section = '', option = ''] = path.split('.')
    overrides[section] = { ...overrides[section], [option]: value }
  }
  const configured = flags.text('url') ?? input?.hub?.bindUrl
  const port = flags.text('port')
  if (flags.text('url') !== undefined) set('hub.bindUrl', flags.text('url'))
  if (port !== undefined) set('hub.bindUrl', withPort(configured, port))
  if (flags.text('base-url') !== undefined) set('hub.baseUrl', flags.text('base-url'))
  if (flags.has('debug')) set('hub.logLevel', 'debug')
  if (flags.text('log-level') !== undefined) set('hub.logLevel', flags.text('log-level'))
  for (const assignment of flags.list('set')) set(...parseAssignment(assignment))
  return overrides
}

function withPort(bindUrl: unknown, port: string): string {
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new UsageError(`'--port ${port}' is no port: take a number from 1 to 65535, or 0 for any`)
  }
  const known = typeof bindUrl === 'string' && URL.canParse(bindUrl)
  const url = new URL(known ? bindUrl : 'http://127.0.0.1:8000')
  url.port = port
  return url.href
}

function parseAssignment(assignment: string): [path: string, value: unknown] {
  const [, path, text] = /^(\w+\.\w+)=(.*)$/s.exec(assignment) ?? []
  if (path === undefined || text === undefined) {
    throw new UsageError(
      `'--set ${assignment}' is no assignment: write for example hub.logLevel=debug`,
    )
  }
  try {
    return [path, JSON.parse(text)]
  } catch {
    return [path, text]
  }
}
