import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { boundedFetch, getJson } from './http.ts'
import { isProviderUrl } from './options.ts'
import { ProviderFailure, textAt } from './provider.ts'

interface DirectoryOptions {
  readonly googleServiceAccountKeys: Readonly<Record<string, string>>
  readonly gsuiteAdministrator: Readonly<Record<string, string>>
  readonly directoryUrl: string
}

const serviceAccount = z.object({
  client_email: z.string(),
  private_key: z.string(),
  token_uri: z.string().refine(isProviderUrl),
})

const page = z.object({
  groups: z.array(z.object({ email: z.string() })).default([]),
  nextPageToken: z.string().optional(),
})

/** Pages of groups that are read of one person. */
const mostPages = 50

/** Reads groups for a service account that may act for an administrator (domain-wide delegation). */
export class GoogleDirectory {
  readonly #options: DirectoryOptions

  constructor(options: DirectoryOptions) {
    this.#options = options
  }

  /**
   * Addresses of the groups that somebody of this organisation is a direct member of, in lower case.
   * @throws {ProviderFailure} when Google does not answer: nobody comes in by a group that was not read.
   */
  async groupsOf(domain: string, email: string): Promise<readonly string[]> {
    const token = await this.#tokenFor(domain)
    const found: string[] = []
    let next: string | undefined
    for (let pages = 0; pages < mostPages; pages += 1) {
      const url = new URL('groups', this.#options.directoryUrl)
      url.searchParams.set('userKey', email)
      if (next !== undefined) url.searchParams.set('pageToken', next)
      const { status, body } = await getJson(url, { Authorization: `Bearer ${token}` })
      const answer = page.safeParse(body)
      if (status !== 200 || !answer.success)
        throw new ProviderFailure(`the groups of ${domain} cannot be read`, status)
      found.push(...answer.data.groups.map((group) => group.email.toLowerCase()))
      next = answer.data.nextPageToken
      if (next === undefined) return found
    }
    throw new ProviderFailure(`somebody of ${domain} is in too many groups`, 200)
  }

  /** RFC 7523: a signed statement for an access token. */
  async #tokenFor(domain: string): Promise<string> {
    const { importPKCS8, SignJWT } = await import('jose')
    const file = this.#options.googleServiceAccountKeys[domain] ?? ''
    const account = serviceAccount.parse(JSON.parse(await readFile(file, 'utf8')))
    const assertion = await new SignJWT({
      scope: 'https://www.googleapis.com/auth/admin.directory.group.readonly',
    })
      .setProtectedHeader({ alg: 'RS256', typ: 'JWT' })
      .setIssuer(account.client_email)
      .setSubject(this.#options.gsuiteAdministrator[domain] ?? '')
      .setAudience(account.token_uri)
      .setIssuedAt()
      .setExpirationTime('5m')
      .sign(await importPKCS8(account.private_key, 'RS256'))
    const response = await boundedFetch(account.token_uri, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
        assertion,
      }),
    })
    const token = textAt(await response.json().catch(() => null), 'access_token')
    if (token === undefined)
      throw new ProviderFailure(`the service account of ${domain} gets no token`, response.status)
    return token
  }
}
