import { request } from 'node:http'
import { Readable } from 'node:stream'

/** `fetch` over a unix socket, as far as the REST client needs it. The url's host is not used. */
export function socketFetch(socketPath: string) {
  return (url: string, init: RequestInit): Promise<Response> => {
    const { pathname, search } = new URL(url)
    const body = typeof init.body === 'string' ? init.body : ''
    return new Promise((resolve, reject) => {
      const outgoing = request({
        socketPath,
        path: `${pathname}${search}`,
        method: init.method ?? 'GET',
        headers: {
          ...(init.headers as Record<string, string>),
          'content-length': Buffer.byteLength(body),
        },
        agent: false,
        ...(init.signal ? { signal: init.signal } : {}),
      })
      outgoing.on('error', reject)
      outgoing.on('response', (incoming) => {
        const status = incoming.statusCode ?? 502
        const statusText = incoming.statusMessage ?? ''
        const headers = new Headers()
        for (const [name, value] of Object.entries(incoming.headers))
          if (typeof value === 'string') headers.set(name, value)
        const empty = status === 204 || status === 304
        if (empty) incoming.resume()
        const stream = empty ? null : (Readable.toWeb(incoming) as ReadableStream<Uint8Array>)
        resolve(new Response(stream, { status, statusText, headers }))
      })
      outgoing.end(body)
    })
  }
}
