import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { HubError } from 'portico/errors'

/**
 * Cost of a new hash: 32 MiB, three times, about a quarter of a second (OWASP's second choice where
 * there is no argon2id, which Node has only from version 24.7 on).
 */
const usual = { log: 15, blocks: 8, times: 3 }
/** More would fill the threads in which Node also reads files and looks up names. */
const atOnce = 2
const mostWaiting = 32
const hashBytes = 32

/** Hashes passwords, a few at a time. */
export class PasswordHasher {
  #running = 0
  readonly #waiting: (() => void)[] = []
  readonly #cost: Cost
  /** What unknown users are compared with, so that they take as long. */
  readonly #decoy: string

  /** `log`: of scrypt's N. */
  constructor(log = usual.log) {
    this.#cost = { ...usual, log }
    this.#decoy = format({ ...this.#cost, salt: randomBytes(16), hash: randomBytes(hashBytes) })
  }

  /** In the PHC string format: `$scrypt$ln=15,r=8,p=3$salt$hash`. */
  async hash(password: string): Promise<string> {
    const salt = randomBytes(16)
    const parts = { ...this.#cost, salt }
    return format({ ...parts, hash: await this.#derive(password, parts) })
  }

  /** Whether it is the password. Without a stored hash: false, after the same time. */
  async matches(password: string, stored: string | null): Promise<boolean> {
    const parsed = parse(stored ?? this.#decoy)
    const hash = await this.#derive(password, parsed)
    return timingSafeEqual(hash, parsed.hash) && stored !== null
  }

  /** Whether a hash is weaker than new ones. */
  isOutdated(stored: string): boolean {
    return workOf(parse(stored)) < workOf(this.#cost)
  }

  async #derive(password: string, { log, blocks, times, salt }: Parameters): Promise<Buffer> {
    await this.#turn()
    try {
      const options = { N: 2 ** log, r: blocks, p: times, maxmem: 256 * 2 ** log * blocks }
      return await new Promise((resolve, reject) => {
        scrypt(password.normalize('NFC'), salt, hashBytes, options, (error, key) =>
          error ? reject(error) : resolve(key),
        )
      })
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running -= 1
    }
  }

  async #turn(): Promise<void> {
    if (this.#running < atOnce) {
      this.#running += 1
      return
    }
    if (this.#waiting.length >= mostWaiting)
      throw new HubError(
        'unavailable',
        'Too many logins are being checked. Try again in a few seconds.',
        { retryAfter: 5 },
      )
    await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }
}

/** Of scrypt (RFC 7914): the logarithm of N, r, and p. */
interface Cost {
  readonly log: number
  readonly blocks: number
  readonly times: number
}

interface Parameters extends Cost {
  readonly salt: Buffer
}

function workOf({ log, blocks, times }: Cost): number {
  return 2 ** log * blocks * times
}

function format(parts: Parameters & { readonly hash: Buffer }): string {
  const { log, blocks, times } = parts
  const [salt, hash] = [parts.salt, parts.hash].map((bytes) =>
    bytes.toString('base64').replaceAll('=', ''),
  )
  return `$scrypt$ln=${log},r=${blocks},p=${times}$${salt}$${hash}`
}

function parse(stored: string): Parameters & { readonly hash: Buffer } {
  const parts = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([\w+/]+)\$([\w+/]{43})$/.exec(
    stored,
  )
  if (!parts) throw new Error('a stored password has an unknown format')
  const [, log, blocks, times, salt = '', hash = ''] = parts
  return {
    log: Number(log),
    blocks: Number(blocks),
    times: Number(times),
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64'),
  }
}
