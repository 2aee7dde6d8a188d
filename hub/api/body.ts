import type { IncomingMessage } from 'node:http'
import { z } from 'zod'
import { HubError } from '../../packages/core/errors.ts'
import type { Json } from '../../packages/core/spawner.ts'
import type { RequestContext } from '../request.ts'
import type { Endpoint } from './endpoint.ts'

/**
 * An object of a body whose values may be anything: they are JSON already, and a schema that looked
 * at each of them would run out of stack on what is nested deeply.
 */
export const jsonObject = z.record(z.string(), z.custom<Json>())

/** Query and body of a request as the endpoint wants them. @throws {HubError} 400 or 413. */
export async function readInput(
  { query, body, bodyFormat, bodyRequired, bodyLimit }: Endpoint,
  context: RequestContext,
): Promise<{ readonly query: unknown; readonly body: unknown }> {
  const asked = query ? readQuery(query, context) : {}
  if (!body) return { query: asked, body: undefined }
  const text = await readText(context.request, bodyLimit ?? megabyte)
  const read = bodyFormat === 'form' ? formFields(text) : parseJson(text)
  const given = read === null && bodyRequired !== true ? {} : read
  return { query: asked, body: body.parse(given) }
}

const megabyte = 1024 * 1024

function readQuery(query: z.ZodObject, context: RequestContext): unknown {
  if (context.url.includes('?')) return query.parse(single(context.query))
  const known = defaults.get(query) ?? query.parse({})
  defaults.set(query, known)
  return known
}

/** What is meant when nothing is asked for. */
const defaults = new WeakMap<z.ZodObject, unknown>()

/** One value for each name. */
function single(query: URLSearchParams): Readonly<Record<string, string>> {
  const values: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [name, value] of query) {
    if (name in values)
      throw new HubError('invalid_request', `${name.slice(0, 64)} is given more than once`)
    values[name] = value
  }
  return values
}

/** Every value of each field of a form body or query string. */
export type FormFields = ReadonlyMap<string, readonly string[]>

export function formFields(text: string): FormFields {
  const fields = new Map<string, string[]>()
  for (const [name, value] of new URLSearchParams(text)) {
    const known = fields.get(name)
    if (known) known.push(value)
    else fields.set(name, [value])
  }
  return fields
}

/** The whole body as text; what is not UTF-8 is replaced (wire section 1.6). */
export async function readText(req: IncomingMessage, limit: number): Promise<string> {
  if (Number(req.headers['content-length'] ?? 0) > limit) throw tooLarge(limit)
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) throw tooLarge(limit)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function tooLarge(limit: number): HubError {
  return new HubError('payload_too_large', `the request body is larger than ${limit} bytes`)
}

/** Levels of lists and objects within each other that a body may have. */
const deepest = 3000

/** The JSON value, or null when the body is empty. @throws {HubError} `invalid_request`. */
function parseJson(text: string): unknown {
  if (text.trim() === '') return null
  if (depthOf(text) > deepest)
    throw new HubError('invalid_request', `the body is nested more than ${deepest} levels deep`)
  try {
    return /__proto__|\\u/.test(text) ? JSON.parse(text, withoutPrototypes) : JSON.parse(text)
  } catch {
    throw new HubError('invalid_request', 'Invalid JSON in body of request')
  }
}

const withoutPrototypes = (key: string, value: unknown): unknown =>
  key === '__proto__' ? undefined : value

/** How deep the brackets go, those within strings left out. */
function depthOf(text: string): number {
  let depth = 0
  let most = 0
  let isInString = false
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (isInString) {
      if (code === backslash) at += 1
      else if (code === quote) isInString = false
    } else if (code === quote) isInString = true
    else if (code === openBrace || code === openBracket) most = Math.max(most, (depth += 1))
    else if (code === closeBrace || code === closeBracket) depth -= 1
  }
  return most
}

const backslash = 0x5c
const quote = 0x22
const openBrace = 0x7b
const openBracket = 0x5b
const closeBrace = 0x7d
const closeBracket = 0x5d
