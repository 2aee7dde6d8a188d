import type { RequestHandler, Response } from 'express'
import { wireVersion } from './api/hub.ts'
import type { HubUrls } from './domain/urls.ts'

const everywhere = {
  'X-JupyterHub-Version': wireVersion,
  'Access-Control-Allow-Headers': 'accept, content-type, authorization',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

/**
 * Headers of API answers, names and values in turn, with JupyterHub's content security policy
 * (wire section 1.2).
 */
export function apiHeaders(urls: HubUrls): readonly string[] {
  const policy = `frame-ancestors 'none'; report-uri ${urls.hubPrefix}security/csp-report; default-src 'none'`
  return Object.entries({ ...everywhere, 'Content-Security-Policy': policy }).flat()
}

const ownForms = "form-action 'self'"

/** Headers of pages: nothing foreign runs in them, frames them or gets what they send. */
export function pageHeaders(urls: HubUrls): RequestHandler {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    ownForms,
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
    `report-uri ${urls.hubPrefix}security/csp-report`,
  ].join('; ')
  const headers = Object.entries({
    ...everywhere,
    'Content-Security-Policy': policy,
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Permissions-Policy': 'camera=(), microphone=(), geolocation=(), payment=()',
  })
  return (_req, res, next) => {
    for (const [name, value] of headers) res.setHeader(name, value)
    next()
  }
}

/**
 * Lets what is sent from this one page end on another site: browsers hold `form-action` against
 * every redirect on the way (CSP 3 section 6.4.1). `origin` must come from a registered address.
 */
export function allowFormsTo(res: Response, origin: string): void {
  const policy = String(res.getHeader('Content-Security-Policy'))
  res.setHeader('Content-Security-Policy', policy.replace(ownForms, `${ownForms} ${origin}`))
}
