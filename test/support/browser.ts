import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request as httpRequest } from 'node:http'
import { text } from 'node:stream/consumers'

/** One answer, redirects not followed. */
export interface Page {
  readonly status: number
  readonly url: URL
  readonly headers: Headers
  readonly text: string
}

interface Cookie {
  readonly name: string
  readonly value: string
  readonly path: string
}

/** A browser without a screen: keeps cookies by path, sends what browsers send, follows when told to. */
export class Browser {
  readonly origin: string
  readonly #cookies: Cookie[] = []

  constructor(origin: string) {
    this.origin = origin
  }

  cookie(name: string): string | undefined {
    return this.#cookies.find((cookie) => cookie.name === name)?.value
  }

  /** Cookies that would be sent to this path, as a header. */
  cookieHeader(path: string): string {
    return this.#cookies
      .filter((cookie) => path.startsWith(cookie.path) || `${path}/` === cookie.path)
      .toSorted((left, right) => right.path.length - left.path.length)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ')
  }

  async send(
    method: string,
    path: string,
    options: { readonly body?: string; readonly headers?: Record<string, string> } = {},
  ): Promise<Page> {
    const url = new URL(path, this.origin)
    const cookies = this.cookieHeader(url.pathname)
    // Not fetch: Node's sets Sec-Fetch-Mode itself.
    const request = httpRequest(url, {
      method,
      signal: AbortSignal.timeout(60_000),
      headers: {
        'Sec-Fetch-Site': 'same-origin',
        'Sec-Fetch-Mode': 'navigate',
        Accept: 'text/html,*/*',
        ...(cookies === '' ? {} : { Cookie: cookies }),
        ...options.headers,
      },
    }).end(options.body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    for (const line of response.headers['set-cookie'] ?? []) this.#store(line)
    const headers = new Headers(
      Object.entries(response.headers).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, String(value)] as [string, string]],
      ),
    )
    return { status: response.statusCode ?? 0, url, headers, text: await text(response) }
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Page> {
    return this.send('GET', path, { headers })
  }

  /** Posts a form with the `_xsrf` of this browser. */
  post(path: string, fields: Record<string, string> = {}): Promise<Page> {
    const form = new URLSearchParams({ _xsrf: this.cookie('_xsrf') ?? '', ...fields })
    return this.send('POST', path, {
      body: form.toString(),
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    })
  }

  /** Gets a page and follows its redirects, at most twenty. */
  async visit(path: string): Promise<Page> {
    let page = await this.get(path)
    for (let hops = 0; page.status >= 300 && page.status < 400; hops += 1) {
      assert.ok(hops < 20, `too many redirects from ${path}, now at ${page.url.href}`)
      const next = new URL(page.headers.get('location') ?? '', page.url)
      page = await this.get(next.href)
    }
    return page
  }

  /** Logs in through the form; the page that login leads to, redirects followed. */
  async logIn(baseUrl: string, username: string, password = 'x', next?: string): Promise<Page> {
    const query = next === undefined ? '' : `?next=${encodeURIComponent(next)}`
    await this.get(`${baseUrl}hub/login${query}`)
    const page = await this.post(`${baseUrl}hub/login${query}`, { username, password })
    assert.equal(page.status, 302, `login failed: ${page.text.slice(0, 500)}`)
    return page
  }

  /** Calls the API as a script on a page of the hub would. */
  api(method: string, path: string, body?: unknown): Promise<Page> {
    return this.send(method, path, {
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: {
        'Sec-Fetch-Mode': 'cors',
        'Content-Type': 'application/json',
        'X-XSRFToken': this.cookie('_xsrf') ?? '',
      },
    })
  }

  #store(line: string): void {
    const [pair = '', ...attributes] = line.split(';').map((part) => part.trim())
    const at = pair.indexOf('=')
    const path = attributes.find((part) => /^path=/i.test(part))?.slice(5) ?? '/'
    const isGone =
      attributes.some((part) => /^max-age=0$/i.test(part)) ||
      attributes.some((part) => /^expires=.*1970/i.test(part))
    const name = pair.slice(0, at)
    const index = this.#cookies.findIndex((cookie) => cookie.name === name && cookie.path === path)
    if (index >= 0) this.#cookies.splice(index, 1)
    if (!isGone) this.#cookies.push({ name, value: pair.slice(at + 1), path })
  }
}
