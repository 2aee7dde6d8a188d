import http from 'node:http'
import https from 'node:https'
import { text } from 'node:stream/consumers'

export interface Reply {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
}

/** One request as it is told: fetch would not let us set `Host`, use a socket or show a certificate. */
export async function ask(
  url: string,
  options: https.RequestOptions & { readonly body?: string } = {},
): Promise<Reply> {
  const { body, ...rest } = options
  const { request } = url.startsWith('https:') ? https : http
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: false, signal: AbortSignal.timeout(20_000), ...rest })
    sent.once('error', reject)
    sent.once('response', (answer) => {
      text(answer).then(
        (content) =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: content }),
        reject,
      )
    })
    sent.end(body)
  })
}
