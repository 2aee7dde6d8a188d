import { createHash } from 'node:crypto'

/**
 * The form under which names are unique: NFKC, lower case. Two names with the same key are the same
 * user, group or service to the hub.
 */
export function nameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC')
}

/**
 * A name as a url path segment: everything is percent-encoded except letters, digits and `-_.~@`
 * (JupyterHub: `quote(name, safe='@~')`).
 */
export function escapeSegment(name: string): string {
  return encodeURIComponent(name)
    .replaceAll('%40', '@')
    .replaceAll(/[!'()*]/g, percent)
}

/**
 * A name inside an OAuth client id, which is also a cookie name: as in a url, but `@` is encoded
 * (JupyterHub: `quote(name, safe='/')`).
 */
export function escapeClientId(name: string): string {
  return encodeURIComponent(name)
    .replaceAll('%2F', '/')
    .replaceAll(/[!'()*]/g, percent)
}

const percent = (character: string): string =>
  `%${character.charCodeAt(0).toString(16).toUpperCase()}`

/** Longest name of a named server. */
const longestSlug = 30

/**
 * Whether a named server may have this name: 1 to 30 of `a-z`, `0-9` and `-`, beginning with a letter,
 * ending with a letter or digit, without `--` (JupyterHub 6).
 */
export function isSafeSlug(name: string): boolean {
  return name.length <= longestSlug && /^[a-z](?:-?[a-z0-9])*$/.test(name)
}

/** Room for the name itself before `-` and eight digits that tell alike names apart. */
const longestStem = 21

/**
 * A safe slug for any name; different names get different ones. A name of lower-case letters and
 * digits alone that begins with a letter and is short enough is its own slug (JupyterHub: `safe_slug`).
 */
export function safeSlug(name: string): string {
  if (name.length <= longestSlug && /^[a-z][a-z0-9]*$/.test(name)) return name
  const digest = createHash('sha256').update(name).digest('hex').slice(0, 8)
  return `${stem(name, longestStem)}-${digest}`
}

/** A safe slug that is as readable as can be; alike names may get the same one. */
export function readableSlug(name: string): string {
  return stem(name, longestSlug)
}

function stem(name: string, longest: number): string {
  const letters = name
    .normalize('NFKD')
    .replaceAll(/\p{Mn}/gu, '')
    .toLowerCase()
  const cut = letters
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replace(/^-/, '')
    .slice(0, longest)
  const begun = /^[a-z]/.test(cut) ? cut : `x-${cut.slice(0, longest - 2)}`
  return begun.replace(/-+$/, '') || 'x'
}

/** Most characters of a display name. */
const longestDisplayName = 255

/**
 * The text under which a server is shown, in its composed form (NFC), or null when it will not do:
 * 1 to 255 printable characters. A `new` one also has single spaces only, none of them at its ends.
 */
export function displayName(text: string, age: 'new' | 'known' = 'new'): string | null {
  const name = text.normalize('NFC')
  const isPrintable = name !== '' && !/[\p{C}\p{Zl}\p{Zp}]/u.test(name.replaceAll(' ', ''))
  if (!isPrintable || Array.from(name).length > longestDisplayName) return null
  return age === 'known' || /^[^\p{Z}]+(?: [^\p{Z}]+)*$/u.test(name) ? name : null
}
