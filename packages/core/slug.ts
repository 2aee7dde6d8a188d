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
