import http, { type RequestListener } from 'node:http'

/**
 * Sends whoever comes by plain HTTP to the same path of the same host on https, 301. `port` is left
 * out where it is that of https. Without a usable Host the answer is 400.
 */
function redirectToHttps(port: number): RequestListener {
  return (request, response) => {
    const origin = originOf(request.headers.host ?? '', port)
    const path = request.url ?? '/'
    if (origin === null || !path.startsWith('/')) {
      response.writeHead(400, { 'content-type': 'text/plain; charset=utf-8' })
      response.end('This server is reached by https; the request names no host to redirect to.')
      return
    }
    response.writeHead(301, { location: `${origin}${path}`, 'content-length': 0 })
    response.end()
  }
}

export function redirectServer(port: number): http.Server {
  return http.createServer({ headersTimeout: 20_000 }, redirectToHttps(port))
}

/** Also for IPv6 literals, whose colons are no port. */
function originOf(host: string, port: number): string | null {
  const url = `https://${host}`
  if (host === '' || /[\s/?#@\\]/.test(host) || !URL.canParse(url)) return null
  const { hostname } = new URL(url)
  return port === 443 ? `https://${hostname}` : `https://${hostname}:${port}`
}
