const secretName = /(?:password|passphrase|secret|token|key|credentials?)s?$/i

/** True for options and variables whose values are secrets, going by their names. */
function isSecretName(name: string): boolean {
  return secretName.test(name)
}

/** The dotted path of the first secret in a config as written, or null. */
export function findSecret(value: unknown, path = ''): string | null {
  if (typeof value !== 'object' || value === null) return null
  for (const [name, entry] of Object.entries(value)) {
    const inner = path === '' ? name : `${path}.${name}`
    if (isSecretName(name) && typeof entry === 'string' && entry !== '') return inner
    const found = findSecret(entry, inner)
    if (found !== null) return found
  }
  return null
}

/**
 * `value` as JSON can hold it, for people to read: secrets replaced, functions and patterns named,
 * passwords taken out of urls.
 */
export function redact(value: unknown, name = ''): unknown {
  if (value === undefined || value === null || value === '') return value
  if (isSecretName(name)) return '(secret)'
  if (typeof value === 'function') return '(function)'
  if (value instanceof URL || value instanceof RegExp) return String(value)
  if (typeof value === 'string') return value.replace(/\/\/[^/\s@]*:[^/\s@]*@/g, '//(secret)@')
  if (Array.isArray(value)) return value.map((entry) => redact(entry))
  if (typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [key, redact(entry, key)]))
}
