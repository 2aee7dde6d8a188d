import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  openSync,
  readSync,
  type Stats,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { HubError } from '../packages/core/errors.ts'
import type { ServiceOptions } from './config.ts'

/** What must never be logged or printed; kept apart from the config, which may be. */
export interface Secrets {
  /** Key of the login cookies, at least 32 bytes. */
  readonly cookieSecret: Buffer
  /** Names the cookie secret without giving it away: sessions made under another one are stale. */
  readonly cookieKeyId: string
  /** What hub and proxy know each other by, at least 32 characters. */
  readonly proxyToken: string
  /** 32 bytes each; the first encrypts, all decrypt. Empty: nothing can be stored encrypted. */
  readonly cryptKeys: readonly Buffer[]
  /** Configured tokens of services, by the service's name. */
  readonly serviceTokens: ReadonlyMap<string, string>
}

const secretBytes = 32

/**
 * Reads the secrets from `JPY_COOKIE_SECRET`, `CONFIGPROXY_AUTH_TOKEN` and `JUPYTERHUB_CRYPT_KEY`,
 * and the first two, where unset, from `jupyterhub_cookie_secret` and `proxy_auth_token` in the
 * data directory. Files that are missing are made: 32 random bytes, hex, mode 0600, never half
 * written. Security checklist A3-35, 37; JupyterHub's names and formats. Tokens of `services` come
 * from wherever the config says.
 * @throws {HubError} `invalid_request` when a secret is too short or its file is not private,
 * naming the variable or file and the remedy.
 */
export function loadSecrets(from: {
  readonly dataDir: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** From the config: their tokens are read where it says. */
  readonly services?: readonly Pick<ServiceOptions, 'name' | 'apiToken'>[]
}): Secrets {
  const { dataDir, env, services = [] } = from
  const cookieSecret = cookieSecretOf(dataDir, env['JPY_COOKIE_SECRET'])
  return {
    cookieSecret,
    cookieKeyId: createHash('sha256')
      .update('portico cookie key id\0')
      .update(cookieSecret)
      .digest('hex')
      .slice(0, 16),
    proxyToken: proxyTokenOf(dataDir, env['CONFIGPROXY_AUTH_TOKEN']),
    cryptKeys: cryptKeysOf(env['JUPYTERHUB_CRYPT_KEY']),
    serviceTokens: new Map(
      services.flatMap(({ name, apiToken }) =>
        apiToken === undefined ? [] : [[name, serviceTokenOf(name, apiToken, env)] as const],
      ),
    ),
  }
}

function refuse(message: string, cause?: unknown): never {
  throw new HubError('invalid_request', message, cause === undefined ? {} : { cause })
}

function cookieSecretOf(dataDir: string, variable: string | undefined): Buffer {
  const where = variable ? 'JPY_COOKIE_SECRET' : join(dataDir, 'jupyterhub_cookie_secret')
  const text = variable ? variable.trim() : readOrCreate(where)
  if (!/^(?:[0-9a-f]{2})+$/i.test(text)) {
    refuse(`${where}: is not hex: write the output of 'openssl rand -hex 32' there`)
  }
  const secret = Buffer.from(text, 'hex')
  if (secret.length < secretBytes) {
    refuse(
      `${where}: holds ${secret.length} bytes, and a cookie secret needs ${secretBytes}: ` +
        `write the output of 'openssl rand -hex 32' there`,
    )
  }
  return secret
}

function proxyTokenOf(dataDir: string, variable: string | undefined): string {
  const where = variable ? 'CONFIGPROXY_AUTH_TOKEN' : join(dataDir, 'proxy_auth_token')
  const token = variable ? variable.trim() : readOrCreate(where)
  if (token.length < secretBytes || !/^[\x21-\x7e]+$/.test(token)) {
    refuse(
      `${where}: a proxy token needs ${secretBytes} or more characters without spaces: ` +
        `write the output of 'openssl rand -hex 32' there`,
    )
  }
  return token
}

function serviceTokenOf(
  name: string,
  apiToken: NonNullable<ServiceOptions['apiToken']>,
  env: Readonly<Record<string, string | undefined>>,
): string {
  if (typeof apiToken === 'string') return apiToken
  const where = 'env' in apiToken ? apiToken.env : apiToken.file
  const text = 'env' in apiToken ? env[apiToken.env]?.trim() : readPrivate(apiToken.file)
  if (!text) refuse(`${where}: holds no token for the service ${name}: set it`)
  if (/^[\x21-\x7e]{8,}$/.test(text)) return text
  return refuse(
    `${where}: the token of the service ${name} needs 8 or more characters without spaces: ` +
      `write the output of 'openssl rand -hex 32' there`,
  )
}

/** Keys as JupyterHub's CryptKeeper takes them: separated by `;`, each 64 hex digits or 44 of base64. */
function cryptKeysOf(variable: string | undefined): readonly Buffer[] {
  const parts = (variable ?? '').split(';').map((part) => part.trim())
  return parts.filter((part) => part !== '').map(cryptKeyOf)
}

function cryptKeyOf(text: string, index: number): Buffer {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  const key = Buffer.from(text, /[-_]/.test(text) ? 'base64url' : 'base64')
  if (/^[\w+/-]{43}=$/.test(text) && key.length === secretBytes) return key
  return refuse(
    `JUPYTERHUB_CRYPT_KEY: key ${index + 1} is neither 64 hex digits nor 44 characters of base64: ` +
      `take the output of 'openssl rand -hex 32'`,
  )
}

/** Both ends of a race, and every start after a crash, find one whole secret. */
function readOrCreate(file: string): string {
  const existing = readPrivate(file)
  if (existing !== null) return existing
  createPrivate(file, `${randomBytes(secretBytes).toString('hex')}\n`)
  return readPrivate(file) ?? refuse(`${file}: was removed while the hub started: start it again`)
}

function createPrivate(file: string, content: string): void {
  const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = constants
  const draft = `${file}.${randomBytes(6).toString('hex')}`
  try {
    const descriptor = openSync(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      writeSync(descriptor, content)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    publish(draft, file)
  } catch (cause) {
    refuse(`${file}: cannot be written`, cause)
  }
}

/** `link` never replaces a file: whoever comes second uses what the first one wrote. */
function publish(draft: string, file: string): void {
  try {
    linkSync(draft, file)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    unlinkSync(draft)
  }
}

function readPrivate(file: string): string | null {
  const descriptor = openPrivate(file)
  if (descriptor === null) return null
  try {
    checkPrivate(file, fstatSync(descriptor))
    const bytes = Buffer.alloc(4096)
    return bytes.toString('latin1', 0, readSync(descriptor, bytes)).trim()
  } finally {
    closeSync(descriptor)
  }
}

function openPrivate(file: string): number | null {
  const { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } = constants
  try {
    return openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return null
    if (codeOf(cause) === 'ELOOP') {
      refuse(`${file}: is a symbolic link: put the file itself there`)
    }
    return refuse(`${file}: cannot be read`, cause)
  }
}

function checkPrivate(file: string, stats: Stats): void {
  if (!stats.isFile()) refuse(`${file}: is not a file: move it away`)
  const own = process.geteuid?.()
  if (own !== undefined && stats.uid !== own) {
    refuse(
      `${file}: belongs to uid ${stats.uid}, and the hub runs as uid ${own}: chown it or move it away`,
    )
  }
  if (stats.mode & 0o077) {
    const mode = (stats.mode & 0o777).toString(8).padStart(4, '0')
    refuse(
      `${file}: has mode ${mode}, so that others may know the secret: remove it to get a new one, ` +
        `or keep it with 'chmod 600 ${file}'`,
    )
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
