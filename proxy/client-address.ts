import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { type TrustedPeers, peerAddress } from './trusted-peers.ts'

/**
 * Who asks: the peer, or behind trusted front ends the last address of `X-Forwarded-For` that is not
 * one of them. Null on a unix socket whose front end does not say.
 */
export function clientAddress(request: IncomingMessage, trusted: TrustedPeers): string | null {
  let client = peerAddress(request.socket)
  const header = request.headers['x-forwarded-for']
  if (header === undefined || !trusted.trusts(client)) return client
  const chain = String(header).split(',')
  for (const entry of chain.toReversed()) {
    const address = entry.trim().replace(/^::ffff:(?=\d+\.)/i, '')
    if (isIP(address) === 0) return client
    client = address
    if (!trusted.trusts(address)) return client
  }
  return client
}
