import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type SecureContext, type SecureContextOptions, createSecureContext } from 'node:tls'
import { isDeepStrictEqual } from 'node:util'
import type { Log } from './log.ts'
import type { ClientTls, ServerTls } from './settings.ts'

export type TlsSide = 'public' | 'api' | 'client'

/** A file that cannot be read or is not what it should be. One line for the person who named it. */
export class BadCertificate extends Error {
  override readonly name: string = 'BadCertificate'
}

/** How often the files are looked at, in milliseconds. */
const lookEvery = 5_000
const warnBelowDays = 14
const day = 86_400_000

type Files = Pick<
  ServerTls | ClientTls,
  'key' | 'cert' | 'ca' | 'dhparam' | 'ciphers' | 'protocol'
> &
  Partial<Pick<ServerTls, 'passphrase' | 'requestCert'>>

/**
 * Key, certificate and CA of one side, read from files and read again when these change: new
 * connections get the new ones, open ones live on. Files that do not fit together, as in the middle
 * of a renewal, leave the old ones in force until they do.
 */
export class Certificate {
  readonly side: TlsSide
  readonly #files: Files
  readonly #log: Log
  readonly #listeners: ((options: SecureContextOptions) => void)[] = []
  #read: { options: SecureContextOptions; context: SecureContext; expiry: Date | null }
  #refused = ''

  /** @throws {BadCertificate} */
  constructor(side: TlsSide, files: Files, log: Log) {
    this.side = side
    this.#files = files
    this.#log = log
    this.#read = readAll(side, files)
    this.#tellExpiry()
  }

  /** For outgoing connections. Another one after a change. */
  get context(): SecureContext {
    return this.#read.context
  }

  get options(): SecureContextOptions {
    return this.#read.options
  }

  /** Days until the certificate ends, negative when it has; null when there is none. */
  get daysLeft(): number | null {
    const { expiry } = this.#read
    return expiry && (expiry.getTime() - Date.now()) / day
  }

  /** `listener` is called with what is in force from then on. */
  onChange(listener: (options: SecureContextOptions) => void): void {
    this.#listeners.push(listener)
  }

  /** Looks at the files now. */
  refresh(): void {
    try {
      const read = readAll(this.side, this.#files)
      if (sameBytes(read.options, this.#read.options)) return
      this.#read = read
      this.#refused = ''
      for (const listener of this.#listeners) listener(read.options)
      this.#log.info(`new certificate of the ${this.side} side`)
      this.#tellExpiry()
    } catch (error) {
      const { message } = error as Error
      if (message !== this.#refused) this.#log.error(`the old certificate stays: ${message}`)
      this.#refused = message
    }
  }

  /** Looks at the files every few seconds until the signal. Does not keep the program running. */
  watch(signal: AbortSignal): void {
    const timer = setInterval(() => this.refresh(), lookEvery).unref()
    signal.addEventListener('abort', () => clearInterval(timer))
  }

  #tellExpiry(): void {
    const { daysLeft } = this
    if (daysLeft === null) return
    const days = Math.floor(daysLeft)
    const line =
      days < 0
        ? `the certificate of the ${this.side} side has expired`
        : `the certificate of the ${this.side} side ends in ${days} days`
    this.#log[days < warnBelowDays ? 'warn' : 'info'](line)
  }
}

function readAll(side: TlsSide, files: Files) {
  const prefix = side === 'public' ? '--' : `--${side}-`
  const key = readPem(`${prefix}ssl-key`, files.key)
  const cert = readPem(`${prefix}ssl-cert`, files.cert)
  const ca = readPem(`${prefix}ssl-ca`, files.ca)
  const dhparam = readPem('--ssl-dhparam', files.dhparam)
  const { ciphers, protocol, passphrase } = files
  const options: SecureContextOptions = {
    ...(key && { key }),
    ...(cert && { cert }),
    ...(ca && { ca }),
    ...(dhparam && { dhparam }),
    ...(passphrase && { passphrase }),
    ...(ciphers !== null && { ciphers }),
    ...(protocol !== null && { secureProtocol: protocol }),
    honorCipherOrder: side !== 'client',
  }
  try {
    const expiry = cert ? new Date(new X509Certificate(cert).validTo) : null
    return { options, context: createSecureContext(options), expiry }
  } catch (error) {
    const [why] = (error as Error).message.split('\n')
    const what = [files.key, files.cert, files.ca].filter(Boolean).join(', ')
    const message = `TLS of the ${side} side cannot be set up from ${what || 'these flags'}: ${why}`
    throw new BadCertificate(message, { cause: error })
  }
}

function readPem(flag: string, file: string | null): Buffer | null {
  if (file === null) return null
  try {
    return readFileSync(file)
  } catch (error) {
    throw new BadCertificate(`${flag}: ${(error as Error).message}`, { cause: error })
  }
}

function sameBytes(one: SecureContextOptions, other: SecureContextOptions): boolean {
  return (['key', 'cert', 'ca', 'dhparam'] as const).every((name) =>
    isDeepStrictEqual(one[name], other[name]),
  )
}
