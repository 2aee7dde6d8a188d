import { connect, type Socket } from 'node:net'

/** One burst of equal requests over keep-alive connections, each with one request under way. */
export interface LoadPlan {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** What is sent in turn instead of `GET url`; `url` still names the hub. */
  readonly turns?: readonly LoadRequest[]
  readonly connections: number
  readonly seconds: number
}

export interface LoadRequest {
  readonly method: string
  /** Path and query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

export interface LoadResult {
  readonly requests: number
  readonly seconds: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** How often each status came. */
  readonly statuses: Readonly<Record<string, number>>
}

const lineEnd = '\r\n'

// A program of its own, so that its work is not counted as the hub's and does not wait for anybody.
process.on('message', (plan: LoadPlan) => {
  run(plan).then(
    (result) => process.send?.({ result }),
    (error: unknown) => process.send?.({ error: String(error) }),
  )
})

function render(host: string, { method, path, headers, body }: LoadRequest): string {
  const length = body === '' ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
  const lines = Object.entries({ Host: host, ...headers, ...length })
  return [
    `${method} ${path} HTTP/1.1`,
    ...lines.map(([name, value]) => `${name}: ${value}`),
    `${lineEnd}${body}`,
  ].join(lineEnd)
}

async function run({ url, headers, connections, seconds, turns }: LoadPlan): Promise<LoadResult> {
  const target = new URL(url)
  const once = { method: 'GET', path: `${target.pathname}${target.search}`, headers, body: '' }
  const requests = (turns ?? [once]).map((request) => render(target.host, request))
  let turn = 0
  const latencies: number[] = []
  const statuses: Record<string, number> = {}
  const began = performance.now()
  const deadline = began + seconds * 1000
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const exchange = await open(target)
      do {
        const sent = performance.now()
        const status = await exchange.send(requests[turn++ % requests.length] ?? '')
        latencies.push(performance.now() - sent)
        statuses[status] = (statuses[status] ?? 0) + 1
      } while (performance.now() < deadline)
      exchange.close()
    }),
  )
  latencies.sort((left, right) => left - right)
  return {
    requests: latencies.length,
    seconds: (performance.now() - began) / 1000,
    p50: latencies[Math.floor(latencies.length * 0.5)] ?? 0,
    p99: latencies[Math.floor(latencies.length * 0.99)] ?? 0,
    statuses,
  }
}

interface Exchange {
  /** Resolves to the status once the whole answer has arrived. */
  send(request: string): Promise<number>
  close(): void
}

async function open(target: URL): Promise<Exchange> {
  const socket = connect(Number(target.port || 80), target.hostname.replaceAll(/[[\]]/g, ''))
  socket.setNoDelay(true)
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => resolve()).once('error', reject)
  })
  return exchangeOn(socket)
}

function exchangeOn(socket: Socket): Exchange {
  let received = ''
  let settle: { resolve(status: number): void; reject(error: Error): void } | null = null
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    received += chunk
    const status = completeAnswer(received)
    if (status === null) return
    received = ''
    settle?.resolve(status)
  })
  const fail = (error: Error): void => settle?.reject(error)
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the hub closed a connection that was to be kept alive')))
  return {
    send: (request) =>
      new Promise((resolve, reject) => {
        settle = { resolve, reject }
        socket.write(request)
      }),
    close: () => {
      settle = null
      socket.destroy()
    },
  }
}

/** The status of an answer that is there as a whole, else null. */
function completeAnswer(text: string): number | null {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return null
  const head = text.slice(0, end)
  const length = /^content-length: *(\d+)/im.exec(head)?.[1]
  const isComplete = /^transfer-encoding: *chunked/im.test(head)
    ? text.endsWith('\r\n0\r\n\r\n')
    : text.length >= end + 4 + Number(length ?? 0)
  return isComplete ? Number(head.slice(9, 12)) : null
}
