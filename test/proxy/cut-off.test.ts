import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type ListenOptions, type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cutOff } from '../../proxy/cut-off.ts'

/** How the other side learns of the end. */
async function endSeenBy(where: ListenOptions): Promise<string> {
  const server = createServer((socket) => {
    socket.write('part', () => cutOff(socket))
    socket.on('error', () => {})
  })
  server.listen(where)
  await once(server, 'listening')
  const { path } = where
  const port = path === undefined ? (server.address() as AddressInfo).port : 0
  const client = connect(path === undefined ? { host: '127.0.0.1', port } : { path })
  let error = 'none'
  client.on('error', ({ code = '' }: NodeJS.ErrnoException) => (error = code))
  client.resume()
  await once(client, 'close').catch(() => once(client, 'close'))
  server.close()
  return error
}

test('a connection is cut off by a reset where there is such a thing', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'cut-off-'))
  t.after(() => rmSync(folder, { recursive: true }))
  assert.equal(await endSeenBy({ host: '127.0.0.1', port: 0 }), 'ECONNRESET')
  assert.equal(await endSeenBy({ path: join(folder, 'socket') }), 'none')
})

test('nothing happens to a connection that has ended', () => {
  cutOff(null)
})
