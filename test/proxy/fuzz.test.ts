import assert from 'node:assert/strict'
import http from 'node:http'
import type { Socket } from 'node:net'
import { test } from 'node:test'
import { Random, chunked, mutate, randomBody, randomHeaders } from './random.ts'
import { type TestTarget, httpTarget, rawClient, rawTarget, testProxy } from './support.ts'

const seed = 20_261_122
const rounds = 400

/** A request as a server has understood it. */
interface Understood {
  readonly method: string
  readonly url: string
  readonly headers: readonly string[]
  readonly body: string
}

/** A server that notes whole requests. */
async function noting(): Promise<TestTarget & { readonly seen: Understood[] }> {
  const seen: Understood[] = []
  const target = await httpTarget((request, response) => {
    let body = ''
    request.setEncoding('latin1')
    request.on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      const { method = '', url = '', rawHeaders } = request
      seen.push({ method, url, headers: ownHeaders(rawHeaders), body })
      response.end('ok')
    })
  })
  return { ...target, seen }
}

/** Those that neither a proxy nor a client may change. */
function ownHeaders(raw: readonly string[]): string[] {
  const own: string[] = []
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase()
    if (name.startsWith('x-') && !name.startsWith('x-forwarded-')) {
      own.push(`${name}: ${raw[i + 1]}`)
    }
  }
  return own
}

function randomRequest(random: Random): { readonly text: string; readonly meant: Understood } {
  const method = random.pick(['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND'])
  const path = `/${random
    .text(20, 'abc/-_~%25;=,@')
    .replaceAll(/%(?!25)/g, '')
    .replaceAll('//', '/')}`
  const url = `${path.startsWith('//') ? '/' : path}${random.oneIn(2) ? `?${random.text(20, 'a&=?/%25:')}` : ''}`
  const headers = randomHeaders(random)
  const body = randomBody(random)
  const lines = headers.map(([name, value]) => `${name}: ${value}`)
  const framing = random.pick(['length', 'chunks', 'none'] as const)
  const framed = framing === 'none' ? '' : framing === 'length' ? body : chunked(random, body)
  if (framing === 'length') lines.push(`Content-Length: ${body.length}`)
  if (framing === 'chunks') lines.push('Transfer-Encoding: chunked')
  const head = [`${method} ${url} HTTP/1.1`, 'Host: hub.test', 'Connection: close', ...lines]
  const own = ownHeaders(headers.flat())
  const meant = { method, url, headers: own, body: framing === 'none' ? '' : body }
  return { text: `${head.join('\r\n')}\r\n\r\n${framed}`, meant }
}

/** Sends in pieces, and resolves with all that comes until the connection is over, here after `patience` milliseconds. */
async function converse(
  port: number,
  pieces: readonly string[],
  patience: number,
): Promise<string> {
  using client = rawClient(port)
  client.socket.setNoDelay(true)
  for (const piece of pieces) {
    client.socket.write(piece, 'latin1')
    await new Promise(setImmediate)
  }
  const timer = setTimeout(() => client.socket.destroy(), patience)
  try {
    return await client.ended()
  } finally {
    clearTimeout(timer)
  }
}

test('a target gets exactly what was asked, however it was framed and cut', async () => {
  const random = new Random(seed)
  await using proxy = await testProxy()
  await using target = await noting()
  await proxy.route('/', target.url)
  for (let round = 0; round < rounds; round += 1) {
    const { text, meant } = randomRequest(random)
    target.seen.length = 0
    const answer = await converse(proxy.port, random.cut(text, 1 + random.below(6)), 10_000)
    const what = `round ${round}: ${JSON.stringify(text)}`
    if (answer.startsWith('HTTP/1.1 400 ')) {
      assert.match(meant.url, /%(?!25)/, what)
      continue
    }
    assert.match(answer, /^HTTP\/1.1 200 /, what)
    assert.deepEqual(target.seen, [meant], what)
  }
})

test('a target gets from damaged requests nothing but what node:http itself reads in them', async () => {
  const random = new Random(seed + 1)
  await using proxy = await testProxy()
  await using target = await noting()
  await using oracle = await noting()
  await proxy.route('/', target.url)
  let passed = 0
  /** The first that the target got and the oracle did not. */
  const compare = async (pieces: readonly string[], patience: number) => {
    target.seen.length = oracle.seen.length = 0
    await Promise.all([proxy, oracle].map(({ port }) => converse(port, pieces, patience)))
    const seen = [...oracle.seen]
    passed += target.seen.length
    return target.seen.find((each) => !seen.splice(0, 1 + indexOf(seen, each)).length)
  }
  for (let round = 0; round < rounds; round += 1) {
    const text = mutate(random, randomRequest(random).text)
    const pieces = random.cut(text, 1 + random.below(3))
    if (!(await compare(pieces, 50))) continue
    // On a busy machine the oracle may not have come to its end, or the round before only now.
    const extra = await compare(pieces, 2_000)
    assert.equal(extra, undefined, `round ${round}: ${JSON.stringify(text)}`)
  }
  assert.ok(passed > rounds / 10, `only ${passed} went through`)
})

function indexOf(seen: readonly Understood[], wanted: Understood): number {
  return seen.findIndex((each) => isSame(each, wanted))
}

function isSame(one: Understood, other: Understood): boolean {
  const path = (url: string) => url.replace(/^https?:\/\/[^/?#]*/i, '')
  return JSON.stringify({ ...one, url: path(one.url) }) === JSON.stringify(other)
}

/** What a client makes of an answer; null when it has found it broken. */
interface Read {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string
}

function randomAnswer(random: Random): { readonly text: string; readonly meant: Read } {
  const status = random.pick([200, 201, 206, 302, 404, 418, 500, 599])
  const headers = randomHeaders(random)
  const body = randomBody(random)
  const lines = headers.map(([name, value]) => `${name}: ${value}`)
  const framing = random.pick(['length', 'chunks', 'close'] as const)
  const framed = framing === 'chunks' ? chunked(random, body, ['X-T: 1']) : body
  if (framing === 'length') lines.push(`Content-Length: ${body.length}`)
  if (framing === 'chunks') lines.push('Transfer-Encoding: chunked')
  const interim = random.oneIn(5) ? 'HTTP/1.1 100 Continue\r\n\r\n' : ''
  const head = [`HTTP/1.1 ${status} ${random.text(10, 'abc \xe9')}`, ...lines]
  const meant = { status, headers: ownHeaders(headers.flat()), body }
  return { text: `${interim}${head.join('\r\n')}\r\n\r\n${framed}`, meant }
}

/** Answers every request with what `say` gives, in pieces, and ends the connection. */
function scripted(say: () => readonly string[]): Promise<TestTarget> {
  return rawTarget((socket) => {
    socket.setNoDelay(true)
    socket.once('data', () => void speak(socket, say()))
  })
}

async function speak(socket: Socket, pieces: readonly string[]): Promise<void> {
  for (const piece of pieces) {
    socket.write(piece, 'latin1')
    await new Promise(setImmediate)
  }
  socket.end()
}

function read(port: number): Promise<Read | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('neither an answer nor an end')), 10_000)
    const finish = (result: Read | null) => {
      clearTimeout(timer)
      resolve(result)
    }
    const request = http.get({ port, host: '127.0.0.1', agent: false }, (answer) => {
      let body = ''
      answer.setEncoding('latin1')
      answer.on('data', (chunk: string) => (body += chunk))
      answer.on('error', () => finish(null))
      answer.on('end', () => {
        finish({ status: answer.statusCode ?? 0, headers: ownHeaders(answer.rawHeaders), body })
      })
    })
    request.on('upgrade', (_answer, socket) => {
      socket.destroy()
      finish(null)
    })
    request.on('error', () => finish(null))
  })
}

test('a client gets exactly what was answered, however it was framed and cut', async () => {
  const random = new Random(seed + 2)
  await using proxy = await testProxy()
  let pieces: readonly string[] = []
  await using target = await scripted(() => pieces)
  await proxy.route('/', target.url)
  for (let round = 0; round < rounds; round += 1) {
    const { text, meant } = randomAnswer(random)
    pieces = random.cut(text, 1 + random.below(6))
    assert.deepEqual(await read(proxy.port), meant, `round ${round}: ${JSON.stringify(text)}`)
  }
})

test('a client gets from damaged answers what node:http reads in them, or 502, or an end', async () => {
  const random = new Random(seed + 3)
  await using proxy = await testProxy()
  let pieces: readonly string[] = []
  await using target = await scripted(() => pieces)
  await proxy.route('/', target.url)
  let passed = 0
  for (let round = 0; round < rounds; round += 1) {
    const text = mutate(random, randomAnswer(random).text)
    pieces = random.cut(text, 1 + random.below(3))
    const [got, expected] = await Promise.all([read(proxy.port), read(target.port)])
    if (got === null || got.status === 502 || got.status === 503) continue
    if (expected !== null || !isWholeByLength(text, got)) {
      assert.deepEqual(got, expected, `round ${round}: ${JSON.stringify(text)}`)
    }
    passed += 1
  }
  assert.ok(passed > rounds / 10, `only ${passed} went through`)
})

/** Where more follows than was announced, node:http fails; what was announced is an answer nevertheless. */
function isWholeByLength(text: string, { body }: Read): boolean {
  const lengths = [...text.matchAll(/\r\nContent-Length: *(\d+) *\r\n/gi)]
  return lengths.some(([, length]) => Number(length) === body.length) && text.includes(body)
}
