import { connect } from 'node:net'
import { text } from 'node:stream/consumers'

/** One answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number
  /** Status line and headers. */
  readonly head: string
  readonly body: string
}

/**
 * Sends bytes that no HTTP client would, on a connection of their own, and reads until the other
 * side closes. `Connection: close` is for the caller to send. A connection that is cut without an
 * answer has status 0.
 */
export async function rawRequest(origin: string, bytes: string | Buffer): Promise<RawAnswer> {
  const { hostname, port } = new URL(origin)
  const socket = connect(Number(port), hostname)
  socket.setTimeout(30_000, () => socket.destroy(new Error('no answer within 30 s')))
  socket.write(bytes, 'latin1')
  const answer = await text(socket).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return ''
    throw error
  })
  const [head = '', ...rest] = answer.split('\r\n\r\n')
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0),
    head,
    body: rest.join('\r\n\r\n'),
  }
}

/** A whole request with `Host` and `Connection: close`; the path goes out as it is, the body as UTF-8. */
export function rawSend(
  origin: string,
  path: string,
  request: {
    readonly method?: string
    readonly headers?: readonly string[]
    readonly body?: string
  } = {},
): Promise<RawAnswer> {
  const { method = 'GET', headers = [], body = '' } = request
  const hasHost = headers.some((line) => /^host:/i.test(line))
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...(hasHost ? [] : [`Host: ${new URL(origin).host}`]),
    'Connection: close',
    ...headers,
  ]
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1')
  return rawRequest(origin, Buffer.concat([head, Buffer.from(body)]))
}
