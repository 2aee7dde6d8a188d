import { type AddressInfo, type Socket, createServer } from 'node:net'
import { readFrom } from '../../../proxy/reading.ts'

/** A target that costs little, so that the proxy before it is what is measured. Tells its port to its parent. */
const small = answer(Buffer.alloc(100, 'x'))
const large = answer(Buffer.alloc(1024 * 1024, 'x'))
const piece = Buffer.alloc(256 * 1024, 'x')
const switching =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n'

const server = createServer({ noDelay: true, allowHalfOpen: false }, serve)
server.listen(0, '127.0.0.1', 65_535, () => process.send?.((server.address() as AddressInfo).port))
process.on('disconnect', () => process.exit())

function serve(socket: Socket): void {
  let head = ''
  let bodyLeft = 0
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    if (bodyLeft > 0) {
      bodyLeft -= chunk.length
      if (bodyLeft <= 0) socket.write(small)
      return
    }
    head += chunk.toString('latin1')
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) return
    const asked = head.slice(0, end)
    bodyLeft = Number(/^content-length: *(\d+)/im.exec(asked)?.[1] ?? 0)
    bodyLeft -= head.length - end - 4
    head = ''
    if (bodyLeft <= 0) reply(socket, asked)
  })
}

function reply(socket: Socket, asked: string): void {
  const path = /^\S+ (\S+)/.exec(asked)?.[1] ?? ''
  if (/^upgrade:/im.test(asked)) {
    if (path.endsWith('/silent')) return
    socket.write(switching)
    socket.removeAllListeners('data')
    readFrom(socket, (piece) => socket.write(Buffer.from(piece)))
    socket.resume()
  } else if (path.endsWith('/large')) socket.write(large)
  else if (path.endsWith('/silent')) return
  else if (path.includes('/stream/')) stream(socket, Number(path.split('/').at(-1)))
  else socket.write(small)
}

function stream(socket: Socket, bytes: number): void {
  socket.write(headOf(bytes))
  let left = bytes
  const fill = (): void => {
    while (left > 0) {
      const part = left < piece.length ? piece.subarray(0, left) : piece
      left -= part.length
      if (!socket.write(part)) return void socket.once('drain', fill)
    }
  }
  fill()
}

function answer(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(headOf(body.length)), body])
}

function headOf(length: number): string {
  return `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`
}
