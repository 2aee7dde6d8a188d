import { type ApiAnswer, ProviderFailure } from './provider.ts'

/** Milliseconds that a provider may take for one answer. */
export const patience = 10_000

/** Bytes of one answer. */
const mostBytes = 1 << 20

type Fetch = (url: string, options: object) => Promise<Response>

/** Fetches with a deadline and a bounded answer; redirects are not followed. */
export const boundedFetch: Fetch = async (url, options) => {
  const signal = AbortSignal.timeout(patience)
  const response = await fetch(url, { signal, ...options, redirect: 'manual' })
  const { status, statusText, headers } = response
  const body = await readAll(response)
  return new Response(isEmpty(status) ? null : body, { status, statusText, headers })
}

/**
 * The same for providers whose ID tokens are not used: they are taken out, so that nobody can come
 * to trust one that was not verified.
 */
export const fetchWithoutIdTokens: Fetch = async (url, options) => {
  const response = await boundedFetch(url, options)
  const { status, headers } = response
  if (!/\bjson\b/.test(headers.get('content-type') ?? '')) return response
  const text = await response.text()
  const json = parse(text)
  if (typeof json !== 'object' || json === null || !('id_token' in json))
    return new Response(isEmpty(status) ? null : text, { status, headers })
  const { id_token: _unused, ...rest } = json
  return new Response(JSON.stringify(rest), { status, headers })
}

/** Asks an API; any status is an answer. */
export async function getJson(
  url: URL | string,
  headers: Readonly<Record<string, string>>,
): Promise<ApiAnswer> {
  const at = new URL(url)
  const response = await boundedFetch(at.href, {
    headers: { Accept: 'application/json', 'User-Agent': 'portico', ...headers },
  })
  return {
    status: response.status,
    body: parse(await response.text()),
    next: nextPage(response.headers.get('link'), at),
  }
}

function nextPage(link: string | null, here: URL): URL | null {
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(link ?? '')?.[1]
  if (target === undefined || !URL.canParse(target, here)) return null
  const next = new URL(target, here)
  // The access token goes with the request.
  return next.origin === here.origin ? next : null
}

async function readAll(response: Response): Promise<Buffer<ArrayBuffer>> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const part of response.body ?? []) {
    size += part.byteLength
    if (size > mostBytes) throw new ProviderFailure('the answer is too long')
    parts.push(part)
  }
  return Buffer.concat(parts)
}

const isEmpty = (status: number): boolean => [204, 205, 304].includes(status)

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
