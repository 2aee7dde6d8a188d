import { createHmac, timingSafeEqual } from 'node:crypto'

/** Seconds of a step, and digits of a code, as every app on a telephone takes them. */
const period = 30
const digits = 6
const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/**
 * The step whose code this is, of the present one and its neighbours, or null. A step may be taken
 * only once: that is for the caller to see to. RFC 6238 with SHA-1.
 */
export function totpStep(secret: Buffer, code: string, now: Date): number | null {
  const given = code.replaceAll(' ', '')
  if (!/^\d{6}$/.test(given)) return null
  const present = Math.floor(now.getTime() / 1_000 / period)
  const steps = [present - 1, present, present + 1]
  // All are compared, so that the time tells nothing.
  const found = steps.filter((step) =>
    timingSafeEqual(Buffer.from(codeOf(secret, step)), Buffer.from(given)),
  )
  return found[0] ?? null
}

/** RFC 4226 section 5.3. */
function codeOf(secret: Buffer, step: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const mac = createHmac('sha1', secret).update(counter).digest()
  const offset = (mac.at(-1) ?? 0) & 0xf
  const number = mac.readUInt32BE(offset) & 0x7fff_ffff
  return String(number % 10 ** digits).padStart(digits, '0')
}

/** RFC 4648 section 6, without padding. */
export function toBase32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const groups = bits.match(/.{1,5}/g) ?? []
  return groups.map((group) => alphabet[Number.parseInt(group.padEnd(5, '0'), 2)]).join('')
}

/** Null for text that is not base32. */
export function fromBase32(text: string): Buffer | null {
  if (!/^[A-Z2-7]+$/.test(text)) return null
  const bits = Array.from(text, (letter) => alphabet.indexOf(letter).toString(2).padStart(5, '0'))
  const bytes = bits.join('').match(/.{8}/g) ?? []
  return Buffer.from(bytes.map((byte) => Number.parseInt(byte, 2)))
}

/** What an app reads: https://github.com/google/google-authenticator/wiki/Key-Uri-Format */
export function totpUri(secret: Buffer, userName: string): string {
  const label = encodeURIComponent(`Portico:${userName}`)
  return `otpauth://totp/${label}?secret=${toBase32(secret)}&issuer=Portico`
}
