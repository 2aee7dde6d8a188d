import { unlink } from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { type AddressInfo, type Server, connect, isIPv6 } from 'node:net'
import type { Certificate } from './certificates.ts'
import type { Bind } from './settings.ts'

/** Where a server listens: a unix socket is its path. */
export type Address = AddressInfo | string

/** A listener that cannot be had. One line for the person who asked for it. */
export class CannotListen extends Error {
  override readonly name: string = 'CannotListen'
}

/** Plain HTTP, or https with a certificate that is exchanged when it changes. */
export function httpServer(
  options: http.ServerOptions,
  certificate: Certificate | null,
  requestCert = false,
): http.Server {
  if (certificate === null) return http.createServer(options)
  // Without a certificate that verifies a client is refused, as by configurable-http-proxy.
  const { headersTimeout: handshakeTimeout = 20_000 } = options
  const server = https.createServer({
    ...options,
    ...certificate.options,
    requestCert,
    ...(handshakeTimeout > 0 && { handshakeTimeout }),
  })
  certificate.onChange((changed) => server.setSecureContext(changed))
  server.on('tlsClientError', (_error, socket) => void socket.destroy())
  return server
}

/**
 * Resolves when the server accepts connections. A socket file that nobody listens on is replaced.
 * @throws {CannotListen}
 */
export async function listen(server: Server, bind: Bind): Promise<Address> {
  try {
    return await tryListen(server, bind)
  } catch (error) {
    const isInUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
    if (!isInUse || !(await removeAbandoned(bind))) throw cannotListen(error as Error, bind)
  }
  return tryListen(server, bind).catch((error: Error) => {
    throw cannotListen(error, bind)
  })
}

export function closing(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

function describeBind(bind: Bind): string {
  if ('socketPath' in bind) return bind.socketPath
  const { host, port } = bind
  return host === null ? `port ${port}` : `${isIPv6(host) ? `[${host}]` : host}:${port}`
}

export function urlOf(address: Address, isSecure: boolean): string {
  if (typeof address === 'string') return `unix:${address}`
  const host = describeBind({ host: address.address, port: address.port })
  return `http${isSecure ? 's' : ''}://${host}`
}

/** What the kernel has room for; Node would cut off the rest. */
const maxSocketPath = 107

function tryListen(server: Server, bind: Bind): Promise<Address> {
  if ('socketPath' in bind && Buffer.byteLength(bind.socketPath) > maxSocketPath) {
    return Promise.reject(new Error(`a path may have ${maxSocketPath} bytes`))
  }
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    const where =
      'socketPath' in bind
        ? { path: bind.socketPath }
        : { port: bind.port, ...(bind.host !== null && { host: bind.host }) }
    server.listen(where, () => {
      server.off('error', reject)
      resolve(server.address() ?? '')
    })
  })
}

/** Removes a socket file that nobody listens on. Returns whether there was one. */
export async function removeAbandoned(bind: Bind): Promise<boolean> {
  if (!('socketPath' in bind) || !(await isAbandoned(bind.socketPath))) return false
  await unlink(bind.socketPath)
  return true
}

function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(false)
    })
    probe.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'ECONNREFUSED'))
  })
}

function cannotListen(error: NodeJS.ErrnoException, bind: Bind): CannotListen {
  const at = describeBind(bind)
  const isSocket = 'socketPath' in bind
  const why: Readonly<Record<string, string>> = {
    EADDRINUSE: `${at} is in use by another program`,
    EACCES: isSocket
      ? `${at} cannot be made: its folder is not there, or not open to this account`
      : `${at} may not be used by this account`,
    EADDRNOTAVAIL: `this machine has no address for ${at}`,
    ENOTFOUND: `this machine has no address for ${at}`,
  }
  return new CannotListen(why[error.code ?? ''] ?? `cannot listen on ${at}: ${error.message}`, {
    cause: error,
  })
}
