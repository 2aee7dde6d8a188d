import { createHash, randomBytes } from 'node:crypto'
import { HubError } from '../core/errors.ts'
import { parseJson, type HubAuthConfig } from './config.ts'
import { hubRequest } from './hub-request.ts'
import { isRecord, type Sealer } from './seal.ts'

/** Seconds between leaving for the hub and coming back. */
export const attemptSeconds = 600

/** One login attempt on its way out. `cookie` stays with the browser until it comes back. */
export interface Attempt {
  readonly id: string
  readonly authorizeUrl: string
  readonly cookie: string
}

export interface Grant {
  readonly token: string
  /** Seconds the hub says the token lives. */
  readonly expiresIn: number
  readonly next: string
}

/**
 * The client side of the hub's authorization-code grant (RFC 6749 section 4.1, RFC 7636 with
 * S256). `state` is sealed and carries where to go afterwards; it only counts together with the
 * cookie of the browser that began the attempt, and only once.
 */
export class OAuthClient {
  readonly #config: HubAuthConfig
  readonly #sealer: Sealer
  readonly #spent = new Map<string, number>()

  constructor(config: HubAuthConfig, sealer: Sealer) {
    this.#config = config
    this.#sealer = sealer
  }

  begin(next: string): Attempt {
    const id = randomBytes(6).toString('hex')
    const verifier = randomBytes(32).toString('base64url')
    const expires = Date.now() + attemptSeconds * 1000
    const { host, baseUrl, clientId, callbackUrl } = this.#config
    const query = new URLSearchParams({
      client_id: clientId,
      redirect_uri: callbackUrl,
      response_type: 'code',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      state: this.#sealer.seal('state', { id, next, expires }),
    })
    return {
      id,
      authorizeUrl: `${host}${baseUrl}hub/api/oauth2/authorize?${query}`,
      cookie: this.#sealer.seal('attempt', { id, verifier, expires }),
    }
  }

  /** The id of the attempt a callback belongs to. Throws `invalid_request` or `forbidden`. */
  attemptOf(query: URLSearchParams): string {
    this.#refuse(query)
    return this.#stateOf(query).id
  }

  /**
   * Exchanges the code. `cookies` are the browser's cookies of this attempt, unverified. Throws
   * `invalid_request` for an attempt that is not this browser's, is over, or was used before.
   */
  async finish(query: URLSearchParams, cookies: readonly string[]): Promise<Grant> {
    const { id, next } = this.#stateOf(query)
    const attempt = cookies
      .map((cookie) => this.#sealer.open('attempt', cookie))
      .find((opened) => opened?.['id'] === id)
    if (!attempt) {
      throw invalid('this login was begun in another browser, or its cookies are blocked')
    }
    this.#spend(id)
    return { ...(await this.#exchange(query, String(attempt['verifier']))), next }
  }

  #refuse(query: URLSearchParams): void {
    for (const name of ['code', 'state', 'error']) {
      if (query.getAll(name).length > 1) throw invalid(`the parameter ${name} appears twice`)
    }
    const error = query.get('error')
    if (error === null) return
    const known = /^[a-z_]{1,40}$/.test(error) ? error : 'an unknown error'
    throw new HubError('forbidden', `the hub did not allow this login (${known})`)
  }

  #stateOf(query: URLSearchParams): { id: string; next: string } {
    const { id, next } = this.#sealer.open('state', query.get('state') ?? '') ?? {}
    if (typeof id === 'string' && typeof next === 'string') return { id, next }
    throw invalid('this login took too long, or was begun before the server was restarted')
  }

  #spend(id: string): void {
    const now = Date.now()
    for (const [old, until] of this.#spent) if (until < now) this.#spent.delete(old)
    if (this.#spent.has(id)) throw invalid('this login was already completed once')
    this.#spent.set(id, now + attemptSeconds * 1000)
  }

  async #exchange(query: URLSearchParams, verifier: string): Promise<Omit<Grant, 'next'>> {
    const { apiUrl, apiToken, clientId, callbackUrl } = this.#config
    const code = query.get('code')
    if (!code) throw invalid('the hub sent no code')
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: callbackUrl,
      client_id: clientId,
      client_secret: apiToken,
      code_verifier: verifier,
    })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    const url = `${apiUrl}/oauth2/token`
    const reply = await hubRequest(url, { method: 'POST', headers, body: body.toString() })
    return grantFrom(reply.status, parseJson(reply.body))
  }
}

function grantFrom(status: number, answer: unknown): Omit<Grant, 'next'> {
  const fields = isRecord(answer) ? answer : {}
  if (status >= 500) throw new HubError('unavailable', `the hub answers ${status} to the code`)
  const token = fields['access_token']
  if (status !== 200 || typeof token !== 'string' || token === '') {
    throw invalid(`the hub refused the login code (${refusal(fields['error'])})`)
  }
  const seconds = Number(fields['expires_in'])
  return { token, expiresIn: seconds > 0 ? Math.min(seconds, 14 * 86_400) : 14 * 86_400 }
}

function refusal(error: unknown): string {
  return typeof error === 'string' && /^[a-z_]{1,40}$/.test(error) ? error : 'no reason given'
}

function invalid(message: string): HubError {
  return new HubError('invalid_request', message)
}
