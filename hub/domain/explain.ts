import {
  allows,
  expandScopes,
  type Resource,
  type ScopeCatalogue,
  type ScopeOwner,
} from '../../packages/core/scopes.ts'
import type { Grant } from '../store/roles.ts'

/** Somebody about whom is asked: what they have, and what else decides. */
export interface Subject {
  /** As people know it: `ada`, `service culler`, `token a12 of ada`. */
  readonly name: string
  /** What the owner has. */
  readonly grants: readonly Grant[]
  /** Raw scopes of the token, which narrow the owner's; null for the owner, or a token that inherits. */
  readonly tokenScopes: readonly string[] | null
  readonly owner: ScopeOwner
}

/** May somebody do what `scope` allows, on this? */
export interface Question {
  /** Without filter. */
  readonly scope: string
  readonly resource: Resource
  /** Groups of the user whom the resource is or belongs to. */
  readonly groups: readonly string[]
}

/** One thing that grants a scope: a role or a share, of one's own or of a group. */
export interface Reason {
  readonly kind: 'role' | 'share'
  readonly name: string
  readonly group: string | null
  /** The raw scope there that includes what is asked for. */
  readonly scope: string
}

export interface Explanation {
  readonly allowed: boolean
  /** What the owner has it from, whether or not the token allows it. */
  readonly because: readonly Reason[]
  /** Whether the token has it, were it up to the token alone; null without a token that narrows. */
  readonly byToken: boolean | null
  /** All of this as a sentence that says what is missing. */
  readonly message: string
}

/** Answers from what is given alone, by the rules of wire sections 5.4 and 6.4. */
export function explain(
  subject: Subject,
  question: Question,
  catalogue: ScopeCatalogue,
): Explanation {
  const includes = (raw: string): boolean =>
    allows(
      expandScopes([raw], subject.owner, catalogue),
      question.scope,
      question.resource,
      () => question.groups,
    )
  const because = subject.grants.flatMap(({ kind, name, group, scopes }) =>
    scopes.filter(includes).map((scope) => ({ kind, name, group, scope })),
  )
  const byToken = subject.tokenScopes && subject.tokenScopes.some(includes)
  const allowed = because.length > 0 && byToken !== false
  const answer = { allowed, because, byToken }
  const raw = subject.grants.flatMap(({ scopes }) => scopes)
  const narrower = [...expandScopes(raw, subject.owner, catalogue)].filter((scope) =>
    scope.startsWith(`${question.scope}!`),
  )
  return { ...answer, message: sentence(subject, question, { ...answer, narrower }) }
}

/** Most filtered forms that a message names. */
const mostNamed = 5

function sentence(
  { name, tokenScopes }: Subject,
  { scope, resource }: Question,
  {
    allowed,
    because,
    byToken,
    narrower,
  }: Omit<Explanation, 'message'> & { readonly narrower: readonly string[] },
): string {
  const what = `${scope}${filterOf(resource)}`
  if (allowed) return `${name} has ${what}: ${because.map(sourceOf).join('; ')}`
  const missing: string[] = []
  const named = narrower.slice(0, mostNamed).join(', ')
  const only = named === '' ? '' : ` (only ${named}${narrower.length > mostNamed ? ', ...' : ''})`
  if (because.length === 0) missing.push(`no role or share of its owner grants it${only}`)
  if (byToken === false)
    missing.push(`the token itself has only ${(tokenScopes ?? []).join(', ') || 'no scopes'}`)
  const owner =
    byToken === null ? `no role, group or share grants it${only}` : missing.join(', and ')
  return `${name} lacks ${what}: ${owner}`
}

function sourceOf({ kind, name, group, scope }: Reason): string {
  const what = kind === 'role' ? `the role ${name}` : `the share of ${name}`
  return `${what}${group === null ? '' : ` of the group ${group}`} (${scope})`
}

/** The filter that names a resource: `!user=ada`; empty for none. */
export function filterOf(resource: Resource): string {
  switch (resource.kind) {
    case 'none':
      return ''
    case 'user':
      return `!user=${resource.user}`
    case 'server':
      return `!server=${resource.user}/${resource.server}`
    case 'group':
      return `!group=${resource.group}`
    case 'service':
      return `!service=${resource.service}`
  }
}

/** `user=ada`, `server=ada/lab`, `group=g`, `service=s`, or briefly `ada` and `ada/lab`; null for nonsense. */
export function readTarget(text: string): Resource | null {
  const [, kind, name = ''] = /^(user|server|group|service)=(.+)$/s.exec(text) ?? []
  if (kind === undefined) {
    if (text === '' || text.includes('=')) return null
    return readTarget(`${text.includes('/') ? 'server' : 'user'}=${text}`)
  }
  if (kind === 'user') return { kind, user: name }
  if (kind === 'group') return { kind, group: name }
  if (kind === 'service') return { kind, service: name }
  const slash = name.indexOf('/')
  if (slash < 1) return null
  return { kind: 'server', user: name.slice(0, slash), server: name.slice(slash + 1) }
}
