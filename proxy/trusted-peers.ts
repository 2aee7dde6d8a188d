import { BlockList, isIP } from 'node:net'
import type { Socket } from 'node:net'

/** What is trusted when nothing else is said: a front end on the same machine. */
export const defaultTrustedPeers = ['loopback', 'unix'] as const

const maxKnown = 1_000

/**
 * Peers whose word about the client (`X-Forwarded-*`) is believed: addresses, networks in CIDR
 * notation, and the words `loopback` and `unix` (whoever connects through a unix socket).
 */
export class TrustedPeers {
  readonly #addresses = new BlockList()
  readonly #trustsUnix: boolean
  /** Of the peers seen last: to look one up in the list costs more than most of a request. */
  readonly #known = new Map<string, boolean>()

  /** @throws {Error} naming the entry that is none of these. */
  constructor(entries: readonly string[]) {
    this.#trustsUnix = entries.includes('unix')
    for (const entry of entries) this.#add(entry)
  }

  trusts(address: string | null): boolean {
    if (address === null) return this.#trustsUnix
    const known = this.#known.get(address)
    if (known !== undefined) return known
    const trusted = this.#addresses.check(address, address.includes(':') ? 'ipv6' : 'ipv4')
    if (this.#known.size >= maxKnown) this.#known.clear()
    this.#known.set(address, trusted)
    return trusted
  }

  #add(entry: string): void {
    if (entry === 'unix') return
    if (entry === 'loopback') {
      this.#addresses.addSubnet('127.0.0.0', 8, 'ipv4')
      this.#addresses.addAddress('::1', 'ipv6')
      return
    }
    const [address = '', prefix, ...rest] = entry.split('/')
    const family = isIP(address)
    const bits = family === 6 ? 128 : 32
    const length = prefix === undefined ? bits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : NaN
    if (family === 0 || rest.length > 0 || !(length <= bits)) {
      throw new Error(`"${entry}" is neither an address, a network, "loopback" nor "unix"`)
    }
    this.#addresses.addSubnet(address, length, family === 6 ? 'ipv6' : 'ipv4')
  }
}

/** The address of the other end without IPv4-in-IPv6 notation, or null on a unix socket. */
export function peerAddress(socket: Socket): string | null {
  const address = socket.remoteAddress
  if (address === undefined) return null
  return address.startsWith('::') ? address.replace(/^::ffff:(?=\d+\.)/i, '') : address
}
