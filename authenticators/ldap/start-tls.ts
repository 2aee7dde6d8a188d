import type { Socket } from 'node:net'
import { BerReader } from 'ldapts'

/** The extended request of RFC 4511 section 4.14, message 1. */
const request = Buffer.concat([
  Buffer.from([0x30, 0x1d, 0x02, 0x01, 0x01, 0x77, 0x18, 0x80, 0x16]),
  Buffer.from('1.3.6.1.4.1.1466.20037'),
])

/** More than any answer to this request needs. */
const mostBytes = 4096

/**
 * Asks an LDAP server to begin TLS, and resolves when it has agreed and has said nothing else. What
 * came in clear must not be read as part of the encrypted conversation: somebody in between could
 * have written it (RFC 4511 section 6).
 * @throws {Error} when the server refuses, says too much, or ends the connection.
 */
export async function askForTls(socket: Socket): Promise<void> {
  socket.write(request)
  let received = Buffer.alloc(0)
  for (;;) {
    received = Buffer.concat([received, await nextBytes(socket)])
    const end = endOfMessage(received)
    if (end !== null && received.length > end)
      throw new Error('the server sent more in clear than its answer to StartTLS')
    if (end !== null) break
    if (received.length > mostBytes) throw new Error('the answer to StartTLS is too long')
  }
  const code = resultCode(received)
  if (code !== 0) throw new Error(`the server refused StartTLS (result code ${code})`)
}

/** The next bytes; the socket is paused before and afterwards, so that none are lost. */
function nextBytes(socket: Socket): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      socket.off('data', onData).off('close', onClose)
      socket.pause()
      act()
    }
    const onData = (bytes: Buffer): void => settle(() => resolve(bytes))
    const onClose = (): void =>
      settle(() => reject(new Error('the server closed the connection at StartTLS')))
    socket.on('data', onData).on('close', onClose)
    socket.resume()
  })
}

/** Where the first message ends, or null while it is not whole. */
function endOfMessage(bytes: Buffer): number | null {
  const reader = new BerReader(bytes)
  const tag = reader.readSequence(0x30)
  if (tag === null) return null
  const end = reader.offset + reader.length
  return end <= bytes.length ? end : null
}

function resultCode(bytes: Buffer): number | null {
  const reader = new BerReader(bytes)
  reader.readSequence(0x30)
  if (reader.readInt() !== 1) throw new Error('the server answered something else than StartTLS')
  reader.readSequence(0x78)
  return reader.readEnumeration()
}
