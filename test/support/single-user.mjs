#!/usr/bin/env node
/**
 * The smallest single-user server, for tests and benchmarks: listens where JUPYTERHUB_SERVICE_URL
 * says, answers every path under its prefix with JSON, echoes WebSocket messages, checks nobody.
 * Plain JavaScript, so that `node test/support/single-user.mjs` starts at once.
 *
 * Ways to misbehave:
 *   --never-listen     runs, but opens no port
 *   --say=LINE         prints a line first
 *   --exit=CODE        ends with this status after --after=MS (default 0), without listening if 0
 *   --stubborn         ignores SIGINT and SIGTERM
 *   --log-bytes=N      writes that much to its log
 *   --unready-while=F  answers 503 while that file exists
 *   --child            starts a sleeping child in a session of its own and prints its pid
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { parseArgs } from 'node:util'

const { values: options } = parseArgs({
  options: {
    'never-listen': { type: 'boolean' },
    say: { type: 'string' },
    exit: { type: 'string' },
    after: { type: 'string' },
    stubborn: { type: 'boolean' },
    'log-bytes': { type: 'string' },
    child: { type: 'boolean' },
    'unready-while': { type: 'string' },
    'allow-root': { type: 'boolean' },
  },
})
const bind = new URL(process.env['JUPYTERHUB_SERVICE_URL'] ?? 'http://127.0.0.1:0/')
const prefix = bind.pathname.endsWith('/') ? bind.pathname : `${bind.pathname}/`
const secretHeaders = ['authorization', 'cookie', 'proxy-authorization']

/** @param {import('node:http').IncomingHttpHeaders} headers */
function withoutSecrets(headers) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      secretHeaders.includes(name) ? 'present' : value,
    ]),
  )
}

const server = createServer((request, response) => {
  const path = request.url?.split('?')[0] ?? '/'
  const isOurs = path.startsWith(prefix) || `${path}/` === prefix
  const body = JSON.stringify({
    user: process.env['JUPYTERHUB_USER'] ?? '',
    server: process.env['JUPYTERHUB_SERVER_NAME'] ?? '',
    prefix,
    pid: process.pid,
    method: request.method,
    url: request.url,
    ...(path === `${prefix}env` ? { headers: withoutSecrets(request.headers) } : {}),
  })
  request.resume()
  const isUnready = options['unready-while'] && existsSync(options['unready-while'])
  response
    .writeHead(isUnready ? 503 : isOurs ? 200 : 404, { 'Content-Type': 'application/json' })
    .end(body)
})

/** @type {(request: import('node:http').IncomingMessage, socket: import('node:stream').Duplex, head: Buffer) => Promise<void>} */
async function echo(request, socket, head) {
  const { WebSocketServer } = await import('ws')
  new WebSocketServer({ noServer: true }).handleUpgrade(request, socket, head, (peer) => {
    peer.on('message', (data, isBinary) => peer.send(data, { binary: isBinary }))
  })
}

server.on('upgrade', (request, socket, head) => void echo(request, socket, head))
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    if (!options.stubborn) process.exit(0)
  })
}
if (options.say !== undefined) console.log(options.say)
if (options['log-bytes'] !== undefined) console.log('x'.repeat(Number(options['log-bytes'])))
if (options.child) console.log(spawn('sleep', ['600'], { detached: true, stdio: 'ignore' }).pid)
if (options.exit !== undefined) {
  setTimeout(() => process.exit(Number(options.exit)), Number(options.after ?? 0))
}
if (options['never-listen'] || (options.exit !== undefined && options.after === undefined)) {
  setInterval(() => {}, 60_000)
} else {
  server.listen(Number(bind.port), bind.hostname.replaceAll(/[[\]]/g, ''))
}
