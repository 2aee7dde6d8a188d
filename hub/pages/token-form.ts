import { HubError } from '../../packages/core/errors.ts'
import type { NewApiToken } from '../domain/tokens.ts'

/** How long a new token may live. */
export interface LifeChoice {
  /** Seconds as the form sends them; empty: without end. */
  readonly value: string
  readonly label: string
  readonly isDefault: boolean
}

const hour = 3600
const day = 24 * hour

const usual = [
  { seconds: hour, label: '1 hour' },
  { seconds: day, label: '1 day' },
  { seconds: 7 * day, label: '7 days' },
  { seconds: 30 * day, label: '30 days' },
  { seconds: 365 * day, label: '1 year' },
]

/** Thirty days, or as long as it may be. */
const preferred = 30 * day

/** What the form offers when no token may live longer than `longest` seconds; 0 is no limit. */
export function lifeChoices(longest: number): readonly LifeChoice[] {
  const within = usual.filter(({ seconds }) => longest === 0 || seconds < longest)
  const last =
    longest === 0
      ? { seconds: 0, label: 'Never' }
      : { seconds: longest, label: `${inWords(longest)} (the longest here)` }
  const isOffered = within.some(({ seconds }) => seconds === preferred)
  return [...within, last].map((choice) => ({
    value: choice.seconds === 0 ? '' : String(choice.seconds),
    label: choice.label,
    isDefault: isOffered ? choice.seconds === preferred : choice === last,
  }))
}

function inWords(seconds: number): string {
  const units = [
    ['day', day],
    ['hour', hour],
    ['minute', 60],
  ] as const
  const [unit, size] = units.find(([, length]) => seconds % length === 0) ?? ['second', 1]
  const count = seconds / size
  return `${count} ${unit}${count === 1 ? '' : 's'}`
}

/** Longest note and scope, and most scopes, as in the REST API. */
const longestText = 1023
const mostScopes = 200

/**
 * What the form asks for: `note`, `expires_in`, any number of `scope`, and `scopes` with more of
 * them, separated by blanks or commas.
 * @throws {HubError} `invalid_request`.
 */
export function wantedToken(body: unknown, choices: readonly LifeChoice[]): NewApiToken {
  const fields = (body ?? {}) as Record<string, unknown>
  const note = textOf(fields['note']).trim() || 'Requested via token page'
  const life = choices.find(({ value }) => value === textOf(fields['expires_in']))
  if (!life)
    throw new HubError('invalid_request', 'choose one of the times after which the token expires')
  const picked = [fields['scope'] ?? []].flat().map(textOf)
  const typed = textOf(fields['scopes']).split(/[\s,]+/)
  const scopes = [...picked, ...typed].filter((scope) => scope !== '')
  if ([note, ...scopes].some(({ length }) => length > longestText))
    throw new HubError('invalid_request', `no text may be longer than ${longestText} characters`)
  if (scopes.length > mostScopes)
    throw new HubError('invalid_request', `a token gets at most ${mostScopes} scopes`)
  return {
    note,
    expiresInSeconds: life.value === '' ? null : Number(life.value),
    scopes: scopes.length === 0 ? null : scopes,
  }
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
