import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { parseJson } from './config.ts'

/** Encrypts and authenticates small values that travel through the browser. */
export interface Sealer {
  /** `purpose` is authenticated too: what was sealed for one purpose never opens for another. */
  seal(purpose: string, value: object): string
  /** The value, or null when it was not sealed by us, for this purpose, or is past its `expires`. */
  open(purpose: string, sealed: string): Record<string, unknown> | null
}

const ivBytes = 12
const tagBytes = 16

/**
 * AES-256-GCM under a key derived from `secret` (HKDF, RFC 5869). Values carry `expires`, in ms
 * since the epoch. A restarted server has a new token, so nothing sealed before it opens again.
 */
export function sealerFor(secret: string): Sealer {
  const key = Buffer.from(hkdfSync('sha256', secret, '', 'portico hub-auth cookies', 32))
  return {
    seal(purpose, value) {
      const iv = randomBytes(ivBytes)
      const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(purpose))
      const text = Buffer.concat([cipher.update(JSON.stringify(value), 'utf8'), cipher.final()])
      return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url')
    },
    open(purpose, sealed) {
      const value = parseJson(decrypt(key, purpose, Buffer.from(sealed, 'base64url')))
      if (!isRecord(value)) return null
      const expires = value['expires']
      return typeof expires === 'number' && expires > Date.now() ? value : null
    },
  }
}

/** The clear text; empty when anything about the bytes is wrong. */
function decrypt(key: Buffer, purpose: string, bytes: Buffer): string {
  if (bytes.length <= ivBytes + tagBytes) return ''
  try {
    const cipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, ivBytes))
    cipher.setAAD(Buffer.from(purpose))
    cipher.setAuthTag(bytes.subarray(ivBytes, ivBytes + tagBytes))
    const text = [cipher.update(bytes.subarray(ivBytes + tagBytes)), cipher.final()]
    return Buffer.concat(text).toString('utf8')
  } catch {
    return ''
  }
}

/** A JSON object, not a list. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
