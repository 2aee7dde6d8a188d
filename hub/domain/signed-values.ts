import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Tornado's signed value, version 2, which JupyterHub uses for its cookies:
 * `2|1:0|<len>:<unix time>|<len>:<name>|<len>:<base64 value>|<hex HMAC-SHA256>`.
 * Lengths are bytes in decimal; the HMAC covers everything up to and including the last `|`.
 */
export function signValue(key: Buffer, name: string, value: string, now: Date): string {
  const fields = [
    '0',
    String(Math.floor(now.getTime() / 1000)),
    name,
    Buffer.from(value).toString('base64'),
  ]
  const [version = '', ...rest] = fields.map((field) => `${Buffer.byteLength(field)}:${field}`)
  const signed = `2|${version}|${rest.join('|')}|`
  return signed + mac(key, signed)
}

/** The value inside, or null when it was signed with another key, for another name, or too long ago. */
export function verifyValue(
  key: Buffer,
  name: string,
  signed: string,
  limits: { readonly maxAgeDays: number; readonly now: Date },
): string | null {
  if (signed.length > 4096 || !signed.startsWith('2|')) return null
  const cut = signed.lastIndexOf('|') + 1
  if (!sameText(mac(key, signed.slice(0, cut)), signed.slice(cut))) return null
  const [, time, signedName, value] = readFields(signed.slice(2, cut)) ?? []
  if (time === undefined || signedName !== name || value === undefined) return null
  const ageDays = (limits.now.getTime() / 1000 - Number(time)) / 86_400
  if (!(ageDays <= limits.maxAgeDays && ageDays > -31)) return null
  return Buffer.from(value, 'base64').toString('utf8')
}

/** Compares two texts in a time that does not depend on where they differ. */
export function sameText(left: string, right: string): boolean {
  const digest = (text: string): Buffer => createHmac('sha256', 'compare').update(text).digest()
  return timingSafeEqual(digest(left), digest(right))
}

function mac(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('hex')
}

/** Splits `<len>:<text>|<len>:<text>|...`; null when a length does not fit. */
function readFields(text: string): readonly string[] | null {
  const fields: string[] = []
  let rest = text
  while (rest !== '') {
    const colon = rest.indexOf(':')
    const length = Number(rest.slice(0, colon))
    if (colon < 1 || !Number.isInteger(length) || length < 0) return null
    const field = rest.slice(colon + 1, colon + 1 + length)
    if (field.length !== length || rest[colon + 1 + length] !== '|') return null
    fields.push(field)
    rest = rest.slice(colon + length + 2)
  }
  return fields
}
