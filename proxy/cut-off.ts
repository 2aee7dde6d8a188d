import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

/**
 * Ends a connection in the middle of an answer that only its end delimits, so that nobody takes the
 * part for the whole: by a reset. Under TLS the missing `close_notify` says the same; unix sockets
 * have nothing that does.
 */
export function cutOff(socket: Duplex | null): void {
  if (socket === null || socket.destroyed) return
  const canReset = socket instanceof Socket && !(socket instanceof TLSSocket)
  if (canReset && socket.remoteAddress !== undefined) socket.resetAndDestroy()
  socket.destroy()
}
