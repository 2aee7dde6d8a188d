import { readFile } from 'node:fs/promises'
import http, { type IncomingMessage, STATUS_CODES, type ServerResponse } from 'node:http'
import https from 'node:https'
import { join } from 'node:path'
import type { Log } from './log.ts'
import { parseTarget, pathAtTarget } from './target.ts'
import type { TargetTls } from './target-connection.ts'

/** What a person or a program is told instead of what they asked for. */
export interface Problem {
  readonly status: number
  /** One sentence, without anything that only the operator may know. */
  readonly message: string
  /** Seconds after which the same request may succeed: the page then asks again by itself. */
  readonly retryAfter?: number
  /** What is known of the server there, in a word such as `stopped`. */
  readonly reason?: string
  /** Whether the error target may be asked for the page. Not for refused requests: they must cost nothing. */
  readonly mayAsk?: boolean
}

export interface ErrorPageSources {
  /** A server that renders `<errorTarget>/<status>?url=<requested url>`, or null. */
  readonly errorTarget: string | null
  /** A folder with `<status>.html` and `error.html`, or null. */
  readonly errorPath: string | null
  /** For an error target on https. */
  readonly tls: () => TargetTls
  readonly log: Log
}

/** What the error target gets altogether, in milliseconds. */
const askFor = 2_000
const maxPageBytes = 1024 * 1024
/** How many pages the error target renders for us at once: what serves them has better things to do. */
const maxAsking = 16
/** How long the rest of a refused upload is read and thrown away, so that the answer arrives. */
const discardFor = 2_000

interface Page {
  readonly headers: http.OutgoingHttpHeaders
  readonly body: Buffer | string
}

/** Answers requests that no target answers. Never throws, never waits longer than two seconds. */
export class ErrorPages {
  readonly #sources: ErrorPageSources
  #asking = 0

  constructor(sources: ErrorPageSources) {
    this.#sources = sources
  }

  async answer(
    request: IncomingMessage,
    response: ServerResponse,
    problem: Problem,
  ): Promise<void> {
    const page = wantsJson(request)
      ? jsonPage(problem)
      : ((problem.mayAsk ? await this.#foreignPage(request, problem) : null) ?? ownPage(problem))
    if (response.headersSent || response.destroyed) return
    discardBody(request, response)
    const headers: http.OutgoingHttpHeaders = {
      ...page.headers,
      'content-length': Buffer.byteLength(page.body),
      'cache-control': 'no-store',
    }
    if (problem.retryAfter !== undefined) headers['retry-after'] = String(problem.retryAfter)
    response.writeHead(problem.status, headers)
    response.end(page.body)
  }

  async #foreignPage(request: IncomingMessage, problem: Problem): Promise<Page | null> {
    const { errorTarget, errorPath, tls, log } = this.#sources
    if (errorPath !== null) return readPage(errorPath, problem.status)
    if (errorTarget === null || this.#asking >= maxAsking) return null
    this.#asking += 1
    try {
      const query = new URLSearchParams({ url: request.url ?? '/' })
      if (problem.reason !== undefined) query.set('reason', problem.reason)
      const page = await askForPage(
        errorTarget,
        { status: problem.status, path: `/${problem.status}?${query.toString()}` },
        tls,
      )
      return page.body.length > 0 ? page : null
    } catch (error) {
      log.warn(`the error target gave no page for ${problem.status}: ${String(error)}`)
      return null
    } finally {
      this.#asking -= 1
    }
  }
}

/** An answer that is whole before its request's body was read must not be lost to a reset. */
function discardBody(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete) return
  request.resume()
  response.once('finish', () => {
    if (request.complete) return
    const timer = setTimeout(() => request.socket.destroy(), discardFor)
    request.once('close', () => clearTimeout(timer))
    request.once('end', () => clearTimeout(timer))
  })
}

function askForPage(
  errorTarget: string,
  { status, path }: { readonly status: number; readonly path: string },
  tls: () => TargetTls,
): Promise<Page> {
  const target = parseTarget(errorTarget)
  if (target === null) throw new Error('the error target is not a URL')
  return new Promise((resolve, reject) => {
    const asked = (target.secure ? https : http).get({
      ...target.connect,
      path: pathAtTarget(target, path),
      headers: { host: target.host },
      agent: false,
      ...(target.secure && tls()),
      signal: AbortSignal.timeout(askFor),
    })
    asked.once('error', reject)
    asked.once('response', (answer) => {
      readAnswer(answer, status).then(resolve, (error: Error) => {
        asked.destroy()
        reject(error)
      })
    })
  })
}

/** Pages may come with 200 or with the status that was asked for; any other of 500 is a failure. */
async function readAnswer(answer: IncomingMessage, status: number): Promise<Page> {
  const { statusCode = 0, headers } = answer
  if (statusCode >= 500 && statusCode !== status) throw new Error(`it answered ${statusCode}`)
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > maxPageBytes) throw new Error('its page is too large')
    chunks.push(chunk)
  }
  const kept: http.OutgoingHttpHeaders = {}
  for (const name of ['content-type', 'content-encoding'] as const) {
    if (headers[name] !== undefined) kept[name] = headers[name]
  }
  return { headers: kept, body: Buffer.concat(chunks) }
}

async function readPage(folder: string, status: number): Promise<Page | null> {
  for (const name of [`${status}.html`, 'error.html']) {
    const body = await readFile(join(folder, name)).catch(() => null)
    if (body) return { headers: { 'content-type': 'text/html; charset=utf-8' }, body }
  }
  return null
}

/**
 * Scripts and API clients: whoever names JSON before HTML, or says that a script asks: `empty` is what
 * browsers send with fetch (Fetch Metadata), which takes anything by default. Whoever does not name
 * HTML and asks below `/api/` means an API as well, as for JupyterHub.
 */
function wantsJson({ headers, url = '' }: IncomingMessage): boolean {
  if (headers['x-requested-with']?.toString().toLowerCase() === 'xmlhttprequest') return true
  const accept = headers.accept ?? ''
  const json = accept.search(/application\/(?:[\w.-]+\+)?json/i)
  const html = accept.search(/text\/html/i)
  if (json >= 0 && (html < 0 || json < html)) return true
  return html < 0 && (headers['sec-fetch-dest'] === 'empty' || /^[^?]*\/api\//.test(url))
}

/**
 * Whether a person opens this address in a tab: a page that asks for HTML from a script, a frame or
 * an image does not (Fetch Metadata, where the browser sends it).
 */
export function isNavigation(request: IncomingMessage): boolean {
  const { method, headers } = request
  if (method !== 'GET' && method !== 'HEAD') return false
  const destination = headers['sec-fetch-dest'] ?? 'document'
  const mode = headers['sec-fetch-mode'] ?? 'navigate'
  if (destination !== 'document' || mode !== 'navigate' || wantsJson(request)) return false
  return /text\/html/i.test(headers.accept ?? '')
}

function jsonPage({ status, message, reason }: Problem): Page {
  return {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ status, message, ...(reason !== undefined && { reason }) }),
  }
}

function ownPage({ status, message, retryAfter }: Problem): Page {
  const title = `${status} ${STATUS_CODES[status] ?? ''}`.trim()
  const refresh =
    retryAfter === undefined ? '' : `<meta http-equiv="refresh" content="${retryAfter}">`
  const note =
    retryAfter === undefined ? '' : '<p class="note">This page tries again by itself.</p>'
  return {
    headers: {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'",
      'x-content-type-options': 'nosniff',
    },
    body: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${refresh}<title>${escapeHtml(title)}</title>
<style>
:root { color-scheme: light dark }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; font: 1rem/1.5 system-ui, sans-serif }
main { max-width: 36rem; padding: 2rem }
h1 { font-size: 1.5rem; margin: 0 0 .5rem }
p { margin: .5rem 0 }
.note { opacity: .7 }
</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(message)}</p>
${note}
</main>
</body>
</html>
`,
  }
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? character)
}
