import { z } from 'zod'
import { joinPath, messageOf, nearest, suggest } from './problems.ts'

/** Reports one problem at a dotted path. */
export type Report = (path: string, message: string) => void

export type Section = Readonly<Record<string, unknown>>

/** What every driver kind has in common. */
export interface AnyDriver {
  readonly name: string
  readonly config: z.ZodObject
}

/** Names of options by section, for suggestions; `''` holds the sections. */
export type KnownNames = Readonly<Record<string, readonly string[]>>

/**
 * Decodes option by option, so that each mistake is reported and the others still get their values.
 * An option that is wrong gets its default: callers use the result only for finding more problems.
 */
export function decodeOptions<Shape extends z.ZodRawShape>(
  section: string,
  schema: z.ZodObject<Shape>,
  input: Section,
  report: Report,
): z.output<z.ZodObject<Shape>> {
  const entries = Object.entries(schema.shape).map(([name, option]) => {
    const result = z.safeParse(option, input[name])
    if (result.success) return [name, result.data]
    reportIssues([section, name], result.error.issues, report)
    return [name, z.safeParse(option, undefined).data]
  })
  return Object.fromEntries(entries) as z.output<z.ZodObject<Shape>>
}

/** Decodes a driver's own options by its schema, refinements included; null when they are wrong. */
export function decodeDriverOptions(
  section: string,
  driver: AnyDriver,
  input: Section,
  report: Report,
): Section | null {
  const own = Object.keys(driver.config.shape).filter((name) => input[name] !== undefined)
  const result = driver.config.safeParse(Object.fromEntries(own.map((name) => [name, input[name]])))
  if (result.success) return result.data
  reportIssues([section], result.error.issues, report)
  return null
}

function reportIssues(
  prefix: readonly string[],
  issues: readonly z.core.$ZodIssue[],
  report: Report,
): void {
  for (const issue of issues) report(joinPath([...prefix, ...issue.path]), messageOf(issue))
}

/** Reports every key of `input` that is not in `known[section]`, with what was probably meant. */
export function reportUnknown(
  section: string,
  input: Section,
  known: KnownNames,
  report: Report,
  others: readonly AnyDriver[] = [],
): void {
  for (const name of Object.keys(input)) {
    if (known[section]?.includes(name) || input[name] === undefined) continue
    const owner = others.find((driver) => name in driver.config.shape)
    report(
      joinPath(section === '' ? [name] : [section, name]),
      unknownMessage(name, section, known, owner),
    )
  }
}

function unknownMessage(
  name: string,
  section: string,
  known: KnownNames,
  owner: AnyDriver | undefined,
): string {
  const meant = suggest(name, section, known)
  if (meant !== null) return `is unknown: did you mean '${meant}'?`
  if (owner) return `is an option of the driver '${owner.name}', which is not the one chosen`
  if (section === '') return `is unknown: the sections are ${known['']?.join(', ')}`
  return 'is unknown, or not available yet: docs/options.md lists what there is'
}

export interface DriverChoice<Driver extends AnyDriver> {
  readonly section: string
  readonly builtIn: readonly Driver[]
  readonly fallback: string | null
  /** Loads the module of a driver from outside, named relative to the config file. */
  readonly importModule: (specifier: string) => Promise<Record<string, unknown>>
}

/** Finds what `driver` names: a built-in, a driver object, or a module that exports one. */
export async function chooseDriver<Driver extends AnyDriver>(
  value: unknown,
  choice: DriverChoice<Driver>,
  report: Report,
): Promise<Driver | null> {
  const path = `${choice.section}.driver`
  const wanted = value ?? choice.fallback
  const names = choice.builtIn.map((driver) => driver.name)
  if (wanted === null) report(path, `is required: choose one of ${names.join(', ')}`)
  else if (isDriver<Driver>(wanted)) return wanted
  else if (typeof wanted !== 'string') report(path, 'must be a name, a path or a driver object')
  else if (/[/\\]|\.[mc]?[jt]s$/.test(wanted)) return importDriver(wanted, choice, report)
  else {
    const driver = choice.builtIn.find((candidate) => candidate.name === wanted)
    if (driver) return driver
    const meant = nearest(wanted, names)
    const hint = meant === null ? `there are ${names.join(', ')}` : `did you mean '${meant}'?`
    report(path, `names no driver '${wanted}': ${hint}`)
  }
  return null
}

async function importDriver<Driver extends AnyDriver>(
  specifier: string,
  choice: DriverChoice<Driver>,
  report: Report,
): Promise<Driver | null> {
  const path = `${choice.section}.driver`
  try {
    const exported = Object.values(await choice.importModule(specifier))
    const [driver, ...more] = new Set(exported.filter((value) => isDriver<Driver>(value)))
    if (driver && more.length === 0) return driver
    report(
      path,
      `'${specifier}' must export exactly one driver, and exports ${driver ? more.length + 1 : 'none'}`,
    )
  } catch (error) {
    report(
      path,
      `cannot load '${specifier}': ${error instanceof Error ? error.message : String(error)}`,
    )
  }
  return null
}

function isDriver<Driver extends AnyDriver>(value: unknown): value is Driver {
  if (typeof value !== 'object' || value === null) return false
  const { name, config, create } = value as Record<string, unknown>
  return (
    typeof name === 'string' &&
    typeof create === 'function' &&
    typeof config === 'object' &&
    config !== null &&
    'shape' in config
  )
}
