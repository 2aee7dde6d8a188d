import { z } from 'zod'

/** True when only this machine can reach `hostname` (as `URL.hostname` spells it). */
export function isLoopback(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(\.\d{1,3}){3}$/.test(hostname)
  )
}

/** Begins and ends with `/`, no doubled slashes (JupyterHub's `URLPrefix`). */
export function asPrefix(path: string): string {
  return `/${path}/`.replace(/\/{2,}/g, '/')
}

function parseHttpUrl(text: string, context: z.RefinementCtx): URL {
  const problem = problemOfUrl(text)
  if (problem === null) return new URL(text)
  context.issues.push({ code: 'custom', message: problem, input: text })
  return z.NEVER
}

function problemOfUrl(text: string): string | null {
  const anyHost = /^(https?):\/\/(:\d+.*)$/.exec(text)
  if (anyHost)
    return `names no host: for all addresses write '${anyHost[1]}://0.0.0.0${anyHost[2]}'`
  if (!URL.canParse(text)) return `is not a url: write for example 'http://127.0.0.1:8000'`
  const url = new URL(text)
  if (!['http:', 'https:'].includes(url.protocol)) return 'must begin with http:// or https://'
  if (url.username || url.password) return 'must not hold a user name or password'
  if (url.search || url.hash) return 'must not hold a query or a fragment'
  return null
}

/** An absolute http(s) url without credentials, query or fragment. */
export const httpUrl = z.string().transform(parseHttpUrl)

/** A url to listen on: plain http, since the front end ends TLS. */
export const listenUrl = httpUrl.refine((url) => url.protocol === 'http:', {
  error: 'must begin with http:// : Portico itself does not end TLS yet, a front end does',
})

/** A url path that may come with or without its slashes. */
export const basePath = z
  .string()
  .regex(
    /^(?:[\w\-.~/@]|%(?!2[ef]|5c|[01])[0-9a-f]{2})*$/i,
    'may hold letters, digits, - . _ ~ @ and percent-encoded characters, separated by slashes',
  )
  .refine((path) => !path.split('/').some((part) => part === '.' || part === '..'), {
    error: "must not hold '.' or '..'",
  })
  .transform(asPrefix)

/** A landing place: empty, a path below the host, or an absolute http(s) url. */
export const landingUrl = z
  .string()
  .regex(/^$|^\/(?![/\\])|^https?:\/\//, "must be empty, begin with '/', or be an http(s) url")

/** A span of time in seconds; fractions are fine. */
export const seconds = z.number().nonnegative()

export const count = z.int().nonnegative()

export const userNames = z.array(
  z.string().refine((name) => name !== '' && name === name.trim() && !name.includes('/'), {
    error: "is no user name: it must not be empty, begin or end with a space, or hold '/'",
  }),
)

/** Accepts any function: its arguments are the caller's promise, stated in the type. */
export function hook<Signature extends (...args: never[]) => unknown>() {
  return z.custom<Signature>((value) => typeof value === 'function', {
    error: 'must be a function',
  })
}
