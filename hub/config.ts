import { resolve } from 'node:path'
import type { z } from 'zod'
import type { AuthenticatorDriver } from '../packages/core/authenticator.ts'
import type { ProxyDriver } from '../packages/core/proxy.ts'
import { nameKey } from '../packages/core/slug.ts'
import type { SpawnerDriver } from '../packages/core/spawner.ts'
import { allowRule, type Check, refusals, unmatchableNames } from './config/checks.ts'
import {
  type AnyDriver,
  chooseDriver,
  decodeDriverOptions,
  decodeOptions,
  type KnownNames,
  type Report,
  reportUnknown,
  type Section,
} from './config/decode.ts'
import type { Problem } from './config/problems.ts'
import { voidUserScopes } from './config/roles.ts'
import { authenticatorSchema, hubSchema, proxySchema, spawnerSchema } from './config/schema.ts'
import { decodeServices, type ServiceOptions, type serviceSchema } from './config/services.ts'
import { asPrefix } from './config/values.ts'

export { describeProblem, type Problem } from './config/problems.ts'
export type { NamedServerOptions } from './config/named-servers.ts'
export type { AuthStateHook, PostAuthHook, PreSpawnHook, SpawnRequest } from './config/schema.ts'
export type { ServiceOptions } from './config/services.ts'

/** The options of `hub`, each with a value. */
export interface HubOptions extends Omit<
  z.output<typeof hubSchema>,
  'baseUrl' | 'oauthTokenExpiresIn'
> {
  /** Begins and ends with `/`. */
  readonly baseUrl: string
  /** Seconds. */
  readonly oauthTokenExpiresIn: number
}

/** The options that every authenticator has. */
export interface AuthenticatorOptions extends Omit<
  z.output<typeof authenticatorSchema>,
  'allowAll' | 'allowExistingUsers'
> {
  readonly allowAll: boolean
  readonly allowExistingUsers: boolean
}

/** The options that every spawner has. */
export type SpawnerOptions = z.output<typeof spawnerSchema>

/** A config as the hub works with it. Holds no secret of the hub itself, but may hold a driver's. */
export interface Config {
  readonly hub: HubOptions
  readonly proxy: { readonly driver: ProxyDriver; readonly options: Section }
  readonly authenticator: {
    readonly driver: AuthenticatorDriver
    readonly base: AuthenticatorOptions
    /** The driver's own, decoded by its schema: for `driver.create`. */
    readonly options: Section
  }
  readonly spawner: {
    readonly driver: SpawnerDriver
    readonly base: SpawnerOptions
    /** The driver's own, decoded by its schema: for `driver.create` and `driver.check`. */
    readonly options: Section
  }
  readonly services: readonly ServiceOptions[]
}

/** A built-in's name, a driver object, or the path of a module that exports one, relative to the config file. */
interface Driven<Driver> {
  readonly driver?: string | Driver
  readonly [option: string]: unknown
}

/** A config as people write it. */
export interface ConfigInput {
  readonly hub?: z.input<typeof hubSchema>
  readonly proxy?: Driven<ProxyDriver>
  readonly authenticator?: z.input<typeof authenticatorSchema> & Driven<AuthenticatorDriver>
  readonly spawner?: z.input<typeof spawnerSchema> & Driven<SpawnerDriver>
  readonly services?: readonly z.input<typeof serviceSchema>[]
}

/** Gives `portico.config.ts` its types: `export default defineConfig({ ... })`. */
export function defineConfig(input: ConfigInput): ConfigInput {
  return input
}

/** The built-in drivers, by kind. */
export interface Drivers {
  readonly spawners: readonly SpawnerDriver[]
  readonly authenticators: readonly AuthenticatorDriver[]
  readonly proxies: readonly ProxyDriver[]
}

export type Origin = 'default' | 'file' | 'quick start' | 'command line'

export interface LoadOptions {
  /** Named in problems: the config file's path. */
  readonly source: string
  /** What the input counts as in `origins`. Default: `file`. */
  readonly origin?: Origin
  /** Folder that relative paths in the config start from; absolute. */
  readonly folder: string
  /** Options from the command line; they win. */
  readonly overrides?: Readonly<Record<string, Section>>
  /** Loads the module of a driver from outside. */
  readonly importModule?: (specifier: string) => Promise<Record<string, unknown>>
}

export interface Loaded {
  readonly config: Config
  /** The hub starts all the same; `failsCheck` ones make `portico config check` fail. */
  readonly warnings: readonly (Problem & { readonly failsCheck: boolean })[]
  /** Where the value of each option came from, by dotted path. */
  readonly origins: ReadonlyMap<string, Origin>
}

const sections = ['hub', 'proxy', 'authenticator', 'spawner'] as const
const allSections = [...sections, 'services'] as const

/**
 * Decodes a config, strictly. Finds all problems at once: unknown options (with what was probably
 * meant), wrong values, contradictions, and what the security checklist refuses at start-up.
 */
export async function loadConfig(
  input: unknown,
  drivers: Drivers,
  options: LoadOptions,
): Promise<Loaded | { readonly problems: readonly Problem[] }> {
  const problems: Problem[] = []
  const overridden = (path: string): boolean => isSet(options.overrides, path)
  const report: Report = (path, message) => {
    problems.push({ path, message, source: overridden(path) ? 'command line' : options.source })
  }
  const merged = mergeSections(input, options.overrides ?? {}, report)
  const listed = isSection(input) ? input['services'] : undefined
  const services = decodeServices(listed, options.folder, report)
  const config = await decodeConfig(merged, { drivers, options, services }, report)
  if (config)
    for (const finding of run(refusals, config, problems)) report(finding.path, finding.message)
  if (config === null || problems.length > 0) return { problems }
  const warn = (check: Check, failsCheck: boolean) =>
    run([check], config, []).map((found) => ({ ...found, source: options.source, failsCheck }))
  return {
    config,
    warnings: [
      ...warn(allowRule, true),
      ...warn(unmatchableNames, false),
      ...warn(voidUserScopes, false),
    ],
    origins: new Map([
      ...originsOf(config, merged, overridden, options.origin ?? 'file'),
      ...originsOfServices(services, listed, options.origin ?? 'file'),
    ]),
  }
}

/**
 * The config of a start without a config file: this account only, this machine only, nothing
 * outlives the hub. `userName` is the account that starts it.
 */
export function quickStartConfig(account: {
  readonly userName: string
  readonly isRoot: boolean
}): ConfigInput {
  const userName = nameKey(account.userName)
  return {
    hub: { adminUsers: [userName], cleanupServers: true, cleanupProxy: true },
    authenticator: {
      driver: 'quick-start',
      userName,
      allowedUsers: [userName],
      allowExistingUsers: false,
    },
    spawner: { driver: 'simple', allowRoot: account.isRoot },
  }
}

function run(checks: readonly Check[], config: Config, problems: readonly Problem[]) {
  const wrong = problems.map((problem) => problem.path)
  const isWrong = (path: string): boolean =>
    wrong.some(
      (other) => other === path || other.startsWith(`${path}[`) || other.startsWith(`${path}.`),
    )
  return checks
    .filter((check) => !check.reads.some(isWrong))
    .flatMap((check) => [...check.find(config)])
}

function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSet(value: Readonly<Record<string, Section>> | undefined, path: string): boolean {
  const [section = '', option = ''] = path.split(/[.[]/)
  return value?.[section]?.[option] !== undefined
}

function mergeSections(
  input: unknown,
  overrides: Readonly<Record<string, Section>>,
  report: Report,
): Record<string, Section> {
  if (!isSection(input)) report('', 'must export an object: export default defineConfig({ ... })')
  const given = isSection(input) ? input : {}
  reportUnknown('', { ...given, ...overrides }, { '': allSections }, report)
  return Object.fromEntries(
    sections.map((name) => {
      const value = given[name] ?? {}
      if (!isSection(value)) report(name, 'must be an object')
      return [name, { ...(isSection(value) ? value : {}), ...overrides[name] }]
    }),
  )
}

interface DecodeContext {
  readonly drivers: Drivers
  readonly options: LoadOptions
  readonly services: readonly ServiceOptions[]
}

async function decodeConfig(
  input: Readonly<Record<string, Section>>,
  { drivers, options, services }: DecodeContext,
  report: Report,
): Promise<Config | null> {
  const { hub = {}, proxy = {}, authenticator = {}, spawner = {} } = input
  const importModule =
    options.importModule ?? (() => Promise.reject(new Error('modules cannot be loaded here')))
  const choose = <Driver extends AnyDriver>(
    section: string,
    builtIn: readonly Driver[],
    fallback: string | null,
  ): Promise<Driver | null> => {
    const choice = { section, builtIn, fallback, importModule }
    return chooseDriver(input[section]?.['driver'], choice, report)
  }
  const chosen = {
    proxy: await choose('proxy', drivers.proxies, 'configurable-http-proxy'),
    authenticator: await choose('authenticator', drivers.authenticators, null),
    spawner: await choose('spawner', drivers.spawners, 'local'),
  }
  reportUnknownOptions(input, chosen, drivers, report)
  const hubOptions = finishHub(decodeOptions('hub', hubSchema, hub, report), options.folder, report)
  const proxyParts = driven('proxy', proxySchema, chosen.proxy, proxy, report)
  const access = driven(
    'authenticator',
    authenticatorSchema,
    chosen.authenticator,
    authenticator,
    report,
  )
  const spawning = driven('spawner', spawnerSchema, chosen.spawner, spawner, report)
  if (!proxyParts || !access || !spawning) return null
  return {
    hub: hubOptions,
    proxy: { driver: proxyParts.driver, options: proxyParts.options },
    authenticator: { ...access, base: finishAuthenticator(access.base, access.driver) },
    spawner: spawning,
    services,
  }
}

interface Chosen {
  readonly proxy: AnyDriver | null
  readonly authenticator: AnyDriver | null
  readonly spawner: AnyDriver | null
}

function reportUnknownOptions(
  input: Readonly<Record<string, Section>>,
  chosen: Chosen,
  drivers: Drivers,
  report: Report,
): void {
  const names = (schema: z.ZodObject, driver: AnyDriver | null, all: readonly AnyDriver[]) => [
    'driver',
    ...Object.keys(schema.shape),
    ...(driver ? [driver] : all).flatMap((candidate) => Object.keys(candidate.config.shape)),
  ]
  const known: KnownNames = {
    '': allSections,
    hub: Object.keys(hubSchema.shape),
    proxy: names(proxySchema, chosen.proxy, drivers.proxies),
    authenticator: names(authenticatorSchema, chosen.authenticator, drivers.authenticators),
    spawner: names(spawnerSchema, chosen.spawner, drivers.spawners),
  }
  const builtIn = [...drivers.proxies, ...drivers.authenticators, ...drivers.spawners]
  for (const section of sections) {
    reportUnknown(section, input[section] ?? {}, known, report, section === 'hub' ? [] : builtIn)
  }
}

/** Decodes a section with a driver: options of its kind, then the driver's own. */
function driven<Shape extends z.ZodRawShape, Driver extends AnyDriver>(
  section: string,
  schema: z.ZodObject<Shape>,
  driver: Driver | null,
  input: Section,
  report: Report,
) {
  // An option that a driver has under the same name is the driver's.
  const own = Object.keys(driver?.config.shape ?? {})
  const common = Object.entries(input).filter(([name]) => !own.includes(name))
  const base = decodeOptions(section, schema, Object.fromEntries(common), report)
  if (driver === null) return null
  return { driver, base, options: decodeDriverOptions(section, driver, input, report) ?? {} }
}

/** Fills in what follows from other options of `hub`. */
function finishHub(hub: z.output<typeof hubSchema>, folder: string, report: Report): HubOptions {
  const path = asPrefix(hub.bindUrl.pathname)
  if (hub.baseUrl !== undefined && path !== '/' && path !== hub.baseUrl) {
    report('hub.baseUrl', `is '${hub.baseUrl}', but hub.bindUrl has the path '${path}'`)
  }
  const baseUrl = hub.baseUrl ?? path
  return {
    ...hub,
    baseUrl,
    bindUrl: new URL('/', hub.bindUrl),
    publicUrl: hub.publicUrl && withPrefix(hub.publicUrl, baseUrl),
    oauthTokenExpiresIn: hub.oauthTokenExpiresIn ?? Math.round(hub.cookieMaxAgeDays * 86_400),
    ...(hub.eventLogFile === undefined ? {} : { eventLogFile: resolve(folder, hub.eventLogFile) }),
    templatePaths: hub.templatePaths.map((entry) => resolve(folder, entry)),
    dataDir: hub.dataDir === undefined ? undefined : resolve(folder, hub.dataDir),
  }
}

/** Adds the base url where no path is given. */
function withPrefix(url: URL, baseUrl: string): URL {
  return new URL(url.pathname === '/' ? baseUrl : asPrefix(url.pathname), url)
}

/** Test authenticators let everybody in unless somebody is named, as JupyterHub's dummy does. */
function finishAuthenticator(
  base: z.output<typeof authenticatorSchema>,
  driver: AuthenticatorDriver,
): AuthenticatorOptions {
  const namesPeople = base.allowedUsers.length > 0
  const namesAnybody = namesPeople || base.allowedGroups.length > 0
  return {
    ...base,
    allowAll: base.allowAll ?? (driver.insecure === true && !namesAnybody),
    allowExistingUsers: base.allowExistingUsers ?? namesPeople,
  }
}

function originsOf(
  config: Config,
  input: Readonly<Record<string, Section>>,
  overridden: (path: string) => boolean,
  given: Origin,
): ReadonlyMap<string, Origin> {
  const names = {
    hub: Object.keys(hubSchema.shape),
    proxy: ['driver', ...Object.keys(config.proxy.options)],
    authenticator: [
      'driver',
      ...Object.keys(authenticatorSchema.shape),
      ...Object.keys(config.authenticator.options),
    ],
    spawner: [
      'driver',
      ...Object.keys(spawnerSchema.shape),
      ...Object.keys(config.spawner.options),
    ],
  }
  const origin = (path: string): Origin =>
    overridden(path) ? 'command line' : isSet(input, path) ? given : 'default'
  return new Map(
    sections.flatMap((section) =>
      names[section].map((name) => [`${section}.${name}`, origin(`${section}.${name}`)] as const),
    ),
  )
}

function originsOfServices(
  services: readonly ServiceOptions[],
  input: unknown,
  given: Origin,
): readonly (readonly [string, Origin])[] {
  return services.flatMap((service, index) =>
    Object.keys(service).map((name) => {
      const written = (input as readonly Section[])[index]?.[name] !== undefined
      return [`services[${index}].${name}`, written ? given : 'default'] as const
    }),
  )
}
