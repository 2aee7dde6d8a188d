import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'

/** Encrypts what must not lie in the database in clear. */
export interface Cipher {
  encrypt(clear: Buffer): Buffer
  /** Null when no key fits, or when it has been changed. */
  decrypt(encrypted: Buffer): Buffer | null
}

const version = 0x80
const headLength = 1 + 8 + 16
const macLength = 32

/**
 * Fernet tokens (https://github.com/fernet/spec), as JupyterHub keeps them in its database. The first
 * key of 32 bytes encrypts, all decrypt. Null without keys: nothing can be kept then.
 */
export function fernet(keys: readonly Buffer[]): Cipher | null {
  const [first] = keys
  if (!first) return null
  return {
    encrypt: (clear) => encrypt(first, clear),
    decrypt(encrypted) {
      const text = encrypted.toString('latin1')
      const bytes = Buffer.from(text, 'base64url')
      const isToken = /^[\w-]+={0,2}$/.test(text) && bytes.length >= headLength + 16 + macLength
      if (!isToken || bytes[0] !== version) return null
      for (const key of keys) {
        const clear = decrypt(key, bytes)
        if (clear) return clear
      }
      return null
    },
  }
}

function encrypt(key: Buffer, clear: Buffer): Buffer {
  const head = Buffer.alloc(headLength)
  head[0] = version
  head.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 1_000)), 1)
  randomBytes(16).copy(head, 9)
  const cipher = createCipheriv('aes-128-cbc', key.subarray(16), head.subarray(9))
  const body = Buffer.concat([head, cipher.update(clear), cipher.final()])
  const token = Buffer.concat([body, macOf(key, body)]).toString('base64url')
  return Buffer.from(token.padEnd(Math.ceil(token.length / 4) * 4, '='), 'latin1')
}

function decrypt(key: Buffer, bytes: Buffer): Buffer | null {
  const body = bytes.subarray(0, -macLength)
  if (!timingSafeEqual(macOf(key, body), bytes.subarray(-macLength))) return null
  const decipher = createDecipheriv('aes-128-cbc', key.subarray(16), body.subarray(9, headLength))
  try {
    return Buffer.concat([decipher.update(body.subarray(headLength)), decipher.final()])
  } catch {
    return null
  }
}

function macOf(key: Buffer, body: Buffer): Buffer {
  return createHmac('sha256', key.subarray(0, 16)).update(body).digest()
}
