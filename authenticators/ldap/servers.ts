import { readFile } from 'node:fs/promises'
import { DirectoryConnection, ServerFailure, type Target } from './connection.ts'
import { asUrl, type LdapOptions } from './options.ts'

/** Milliseconds for which a server that has failed is asked last. */
const rest = 30_000

/** Several servers that hold one directory. */
export interface Servers {
  /**
   * Runs `use` on a fresh connection to the first server that answers, and again from the start on
   * the next one when a server fails half-way.
   * @throws {ServerFailure} when none could do it; it names them all.
   */
  ask<T>(signal: AbortSignal, use: (connection: DirectoryConnection) => Promise<T>): Promise<T>
}

export async function createServers(
  options: LdapOptions,
  warn: (message: string) => void,
): Promise<Servers> {
  const { tlsCaFile } = options
  const ca = tlsCaFile === undefined ? undefined : await readFile(tlsCaFile, 'utf8')
  const targets = options.serverAddress.map((text) => targetOf(text, options, ca))
  const failedAt = new Map<Target, number>()

  const inOrder = (): readonly Target[] => {
    const now = performance.now()
    const isResting = (target: Target): boolean => now - (failedAt.get(target) ?? -rest) < rest
    return [...targets].sort((left, right) => Number(isResting(left)) - Number(isResting(right)))
  }

  return {
    async ask(signal, use) {
      const failures: string[] = []
      for (const target of inOrder()) {
        try {
          const answer = await once(target, signal, use)
          failedAt.delete(target)
          return answer
        } catch (error) {
          if (!(error instanceof ServerFailure)) throw error
          failedAt.set(target, performance.now())
          failures.push(`${target.host}:${target.port}: ${error.message}`)
          warn(`LDAP server ${failures.at(-1)}`)
          if (signal.aborted) break
        }
      }
      throw new ServerFailure(`no LDAP server could be asked (${failures.join('; ')})`)
    },
  }
}

async function once<T>(
  target: Target,
  signal: AbortSignal,
  use: (connection: DirectoryConnection) => Promise<T>,
): Promise<T> {
  const connection = await DirectoryConnection.open(target, signal)
  try {
    return await use(connection)
  } finally {
    connection.close()
  }
}

function targetOf(text: string, options: LdapOptions, ca: string | undefined): Target {
  const { hostname, port } = new URL(asUrl(text))
  const fallback = options.serverPort ?? (options.tlsStrategy === 'on_connect' ? 636 : 389)
  return {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? fallback : Number(port),
    tls: options.tlsStrategy,
    verify: options.validateServerCert,
    ...(ca === undefined ? {} : { ca }),
    connectTimeout: options.connectTimeout * 1000,
    operationTimeout: options.operationTimeout * 1000,
  }
}
