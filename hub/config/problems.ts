import type { z } from 'zod'

/** One thing that is wrong with a config. */
export interface Problem {
  /** Dotted, such as `authenticator.allowedUsers[0]`; empty when it is not about one option. */
  readonly path: string
  /** One sentence: what is wrong and what to do. */
  readonly message: string
  /** Where the value came from: the file's path or `command line`. */
  readonly source: string
}

/** `portico.config.ts: hub.bindUrl: is not a url ...` */
export function describeProblem({ source, path, message }: Problem): string {
  return [source, path, message].filter((part) => part !== '').join(': ')
}

/** The dotted form of a zod path: `hub.templatePaths[0]`. */
export function joinPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((joined, part) => {
    if (typeof part === 'number') return `${joined}[${part}]`
    return joined === '' ? String(part) : `${joined}.${String(part)}`
  }, '')
}

/** The sentence for one zod issue; zod's own words where they are clear. */
export function messageOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return `must be ${article(issue.expected)}`
  if (issue.code === 'invalid_union')
    return issue.message === 'Invalid input' ? 'has the wrong type' : issue.message
  if (issue.code === 'unrecognized_keys') return `has unknown keys: ${issue.keys.join(', ')}`
  if (issue.code === 'invalid_key') return issue.issues.map(messageOf).join('; ')
  return issue.message
}

function article(noun: string): string {
  const name = noun === 'record' ? 'object' : noun
  return /^[aeio]/.test(name) ? `an ${name}` : `a ${name}`
}

/** JupyterHub's names that are not the camelCase form of ours. */
const renamed = new Map([
  ['whitelist', 'allowedUsers'],
  ['allowedFailedLogins', 'freeFailures'],
  ['authenticatorClass', 'authenticator.driver'],
  ['spawnerClass', 'spawner.driver'],
  ['proxyClass', 'proxy.driver'],
  ['dbUrl', 'hub.dataDir'],
  ['env', 'environment'],
  ['port', 'hub.bindUrl'],
  ['ip', 'hub.bindUrl'],
  ['jupyterHub', 'hub'],
])

/**
 * The name that was probably meant by `name` in `section`, as it should be written: a sibling, or
 * a full path when it lives in another section. Null when nothing comes near.
 */
export function suggest(
  name: string,
  section: string,
  known: Readonly<Record<string, readonly string[]>>,
): string | null {
  const camel = asCamelCase(name)
  const siblings = known[section] ?? []
  const other = renamed.get(camel)
  for (const wanted of [camel, other]) {
    if (wanted !== undefined && siblings.includes(wanted)) return wanted
  }
  const elsewhere = Object.keys(known).find((key) => key !== '' && known[key]?.includes(camel))
  if (elsewhere !== undefined) return `${elsewhere}.${camel}`
  if (other !== undefined && isKnown(other, known)) return other
  return nearest(camel, siblings)
}

function isKnown(path: string, known: Readonly<Record<string, readonly string[]>>): boolean {
  const [section = '', option] = path.split('.')
  return option === undefined ? section in known : (known[section]?.includes(option) ?? false)
}

function asCamelCase(name: string): string {
  const words = name.replace(/[_-]+([a-zA-Z0-9])/g, (_, letter: string) => letter.toUpperCase())
  return words.charAt(0).toLowerCase() + words.slice(1)
}

/** The candidate with the fewest edits, if at most a third of the name's letters differ. */
export function nearest(name: string, candidates: readonly string[]): string | null {
  const limit = Math.max(1, Math.floor(name.length / 3))
  let best: { readonly candidate: string; readonly distance: number } | null = null
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance <= limit && distance < (best?.distance ?? Infinity)) best = { candidate, distance }
  }
  return best?.candidate ?? null
}

/** Insertions, deletions, replacements and swaps of neighbours (optimal string alignment). */
function editDistance(left: string, right: string): number {
  let before: number[] = []
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let i = 1; i <= left.length; i++) {
    const row = [i]
    for (let j = 1; j <= right.length; j++) {
      const same = left[i - 1] === right[j - 1]
      const swapped = i > 1 && j > 1 && left[i - 1] === right[j - 2] && left[i - 2] === right[j - 1]
      row[j] = Math.min(
        (row[j - 1] ?? 0) + 1,
        (previous[j] ?? 0) + 1,
        (previous[j - 1] ?? 0) + (same ? 0 : 1),
        swapped ? (before[j - 2] ?? 0) + 1 : Infinity,
      )
    }
    before = previous
    previous = row
  }
  return previous[right.length] ?? 0
}
