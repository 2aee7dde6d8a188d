import { connect, isIP, type Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { Client, type Entry, type Filter, ResultCodeError } from 'ldapts'
import { askForTls } from './start-tls.ts'

/** How to reach one server. */
export interface Target {
  readonly host: string
  readonly port: number
  readonly tls: 'before_bind' | 'on_connect' | 'insecure'
  /** Certificates in PEM; absent: Node's own. */
  readonly ca?: string
  readonly verify: boolean
  /** Milliseconds. */
  readonly connectTimeout: number
  readonly operationTimeout: number
}

/** The server could not be asked: another one may know. */
export class ServerFailure extends Error {
  override readonly name = 'ServerFailure'
}

/** Result codes by which a server says no to somebody; others are about the server. RFC 4511 appendix A. */
const refusals = new Set([19, 32, 34, 48, 49, 50, 53])

export interface Search {
  readonly base: string
  readonly filter?: Filter
  readonly scope: 'base' | 'sub'
  readonly attributes: readonly string[]
  /** Absent: as many as there are, in pages. */
  readonly sizeLimit?: number
}

/**
 * One connection for one login. It is encrypted before anything of ours is sent, and once lost it
 * stays lost: the library is given this one socket and can never open another, so that nothing can
 * go on in clear text. Close it in any case.
 */
export class DirectoryConnection {
  readonly #socket: Socket
  readonly #client: Client
  readonly #lost: Promise<never>
  readonly #release: () => void

  private constructor(socket: Socket, target: Target, signal: AbortSignal) {
    this.#socket = socket
    let isTaken = false
    this.#client = new Client({
      url: 'ldap://given-socket',
      timeout: target.operationTimeout,
      connectTimeout: target.connectTimeout,
      createConnection: (() => {
        if (isTaken) throw new ServerFailure('the connection was lost')
        isTaken = true
        return socket
      }) as typeof connect,
    })
    const onAbort = (): void => void socket.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    this.#release = () => signal.removeEventListener('abort', onAbort)
    this.#lost = new Promise((_resolve, reject) => {
      socket.once('close', () => reject(new ServerFailure('the server closed the connection')))
    })
    this.#lost.catch(() => {})
  }

  /** @throws {ServerFailure} when the server does not answer in time, or is not who it should be. */
  static async open(target: Target, signal: AbortSignal): Promise<DirectoryConnection> {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(target.connectTimeout)])
    const socket = await openSocket(target, limited)
    if (target.tls !== 'insecure' && !isProtected(socket, target)) {
      socket.destroy()
      throw new ServerFailure('the connection is not encrypted')
    }
    return new DirectoryConnection(socket, target, signal)
  }

  /**
   * True when the server takes this password for this DN.
   * @throws {ServerFailure}
   */
  async bind(dn: string, password: string): Promise<boolean> {
    // Without a password a bind succeeds as nobody (RFC 4513 section 5.1.2).
    if (dn === '' || password === '') return false
    const outcome = await this.#ask(() => this.#client.bind(dn, password))
    return outcome !== 'refused'
  }

  /**
   * The entries found; none where the server will not say. Referrals are not followed.
   * @throws {ServerFailure}
   */
  async search({ base, filter, scope, attributes, sizeLimit }: Search): Promise<readonly Entry[]> {
    const found = await this.#ask(() =>
      this.#client.search(base, {
        scope,
        derefAliases: 'never',
        attributes: attributes.length === 0 ? ['1.1'] : [...attributes],
        ...(filter ? { filter } : {}),
        ...(sizeLimit === undefined ? { paged: true } : { sizeLimit }),
      }),
    )
    return found === 'refused' ? [] : found.searchEntries
  }

  close(): void {
    this.#release()
    this.#socket.on('error', () => {})
    this.#socket.destroy()
  }

  async #ask<T>(operation: () => Promise<T>): Promise<T | 'refused'> {
    try {
      return await Promise.race([operation(), this.#lost])
    } catch (error) {
      if (error instanceof ResultCodeError && refusals.has(error.code)) return 'refused'
      throw asFailure(error)
    }
  }
}

function asFailure(error: unknown): ServerFailure {
  if (error instanceof ServerFailure) return error
  const message = error instanceof Error ? error.message.split('\n', 1)[0] : String(error)
  return new ServerFailure(message, { cause: error })
}

async function openSocket(target: Target, signal: AbortSignal): Promise<Socket> {
  const { host, port } = target
  let socket: Socket | null = null
  const stop = (): void => void socket?.destroy(new Error('no answer in time'))
  signal.addEventListener('abort', stop, { once: true })
  try {
    if (target.tls === 'on_connect') {
      socket = watched(connectTls({ ...tlsOptions(target), host, port }))
      await ready(socket, 'secureConnect')
      return socket
    }
    const plain = watched(connect({ host, port }))
    socket = plain
    await ready(plain, 'connect')
    if (target.tls === 'insecure') return plain
    await askForTls(plain)
    socket = watched(connectTls({ ...tlsOptions(target), host, socket: plain }))
    await ready(socket, 'secureConnect')
    return socket
  } catch (error) {
    socket?.destroy()
    throw asFailure(signal.aborted ? new Error('no answer in time') : error)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** An error that comes while nobody waits is followed by `close`, which says enough. */
function watched<Kind extends Socket>(socket: Kind): Kind {
  return socket.on('error', () => {})
}

/** The name to be proved is always said: without it Node would accept a certificate for `localhost`. */
function tlsOptions({ host, ca, verify }: Target) {
  return {
    minVersion: 'TLSv1.2' as const,
    rejectUnauthorized: verify,
    ...(ca === undefined ? {} : { ca }),
    ...(isIP(host) === 0 ? { servername: host } : {}),
  }
}

function ready(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      socket.off(event, onReady).off('error', onError).off('close', onClose)
      act()
    }
    const onReady = (): void => settle(resolve)
    const onError = (error: Error): void => settle(() => reject(error))
    const onClose = (): void => settle(() => reject(new Error('the server closed the connection')))
    socket.on(event, onReady).on('error', onError).on('close', onClose)
  })
}

function isProtected(socket: Socket, { verify }: Target): boolean {
  const { encrypted, authorized } = socket as Partial<TLSSocket>
  return encrypted === true && (authorized === true || !verify)
}
