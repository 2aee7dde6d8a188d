import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, type Socket, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { readFrom } from '../../proxy/reading.ts'
import { until } from '../support/until.ts'

async function accepted(run: (socket: Socket, client: Socket) => Promise<void>): Promise<void> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  try {
    await run(socket, client)
  } finally {
    client.destroy()
    socket.destroy()
    server.close()
  }
}

test('an accepted socket reads into the memory that all share, after what it held', async () => {
  await accepted(async (socket, client) => {
    socket.pause()
    client.write('held ')
    await until('it is held', () => {
      socket.read(0)
      return socket.readableLength > 0
    })
    let text = ''
    const memory = new Set<ArrayBufferLike>()
    readFrom(socket, (piece) => {
      text += piece.toString()
      if (text !== 'held ') memory.add(piece.buffer)
    })
    assert.equal(text, 'held ')
    socket.resume()
    for (const word of ['one ', 'two']) {
      client.write(word)
      await until('it arrives', () => text.endsWith(word))
    }
    assert.equal(text, 'held one two')
    assert.equal(memory.size, 1, 'this version of Node keeps onread where it is not looked for')
    client.end()
    await once(socket, 'end')
  })
})

test('a paused socket takes nothing until it is resumed', async () => {
  await accepted(async (socket, client) => {
    let length = 0
    readFrom(socket, (piece) => {
      length += piece.length
      socket.pause()
    })
    socket.resume()
    const size = 1024 * 1024
    client.write(Buffer.alloc(size))
    await until('the first piece arrives', () => length > 0)
    const first = length
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(length, first)
    await until('all arrives, piece by piece', () => {
      socket.resume()
      return length === size
    })
  })
})
