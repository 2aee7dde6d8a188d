import { describeScope, type ScopeCatalogue } from '../../packages/core/scopes.ts'

/** A scope for people: what it allows, and what it is narrowed to. */
export interface ScopeInWords {
  readonly raw: string
  readonly description: string
  /** Null when it is not narrowed. */
  readonly filter: string | null
}

export function scopeInWords(raw: string, catalogue: ScopeCatalogue): ScopeInWords {
  const { description, filter } = describeScope(raw, catalogue)
  return { raw, description, filter: filter === null ? null : filterInWords(filter) }
}

/** What the filter of a scope narrows it to: `user=ada`, or `server`. */
export function filterInWords(filter: string): string {
  const [kind = '', name] = filter.split(/=(.*)/s, 2)
  if (name !== undefined) return `only ${kind} ${name}`
  return kind === 'user' ? 'only your own' : `only this ${kind}`
}
