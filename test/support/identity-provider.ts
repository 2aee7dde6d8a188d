import { once } from 'node:events'
import { createServer } from 'node:http'
import type { TestContext } from 'node:test'
import { type Configuration, Provider } from 'oidc-provider'
import type { Browser, Page } from './browser.ts'
import { clientId, clientSecret } from './fake-provider.ts'
import { freePorts } from './start-hub.ts'

/** What is known about somebody at the provider; their login there is the key. */
export type People = Record<string, Readonly<Record<string, unknown>>>

export interface IdentityProvider {
  readonly issuer: string
  /** May be changed at any time. */
  readonly people: People
}

/**
 * A real OpenID Connect provider (`oidc-provider`) on a free port: any password will do, and what
 * somebody types as login is their subject.
 */
export async function startIdentityProvider(
  t: TestContext,
  hubUrl: string,
  people: People,
): Promise<IdentityProvider> {
  const [port = 0] = await freePorts(1)
  const issuer = `http://127.0.0.1:${port}`
  const provider = new Provider(issuer, configuration(hubUrl, people))
  const server = createServer((req, res) => void provider.callback()(req, res))
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { issuer, people }
}

function configuration(hubUrl: string, people: People): Configuration {
  return {
    clients: [
      {
        client_id: clientId,
        client_secret: clientSecret,
        redirect_uris: [`${hubUrl}hub/oauth_callback`],
        post_logout_redirect_uris: [`${hubUrl}hub/login`],
        backchannel_logout_uri: `${hubUrl}hub/oauth_backchannel_logout`,
        backchannel_logout_session_required: true,
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        token_endpoint_auth_method: 'client_secret_post',
      },
    ],
    claims: {
      openid: ['sub', 'sid'],
      profile: ['preferred_username', 'name', 'groups'],
      email: ['email', 'email_verified'],
    },
    conformIdTokenClaims: false,
    cookies: { keys: ['a key of the provider'] },
    features: {
      devInteractions: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: { enabled: true },
    },
    // Its own refuses to reach this machine.
    fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined } as RequestInit),
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => Promise.resolve({ sub: id, ...people[id] }),
    }),
    issueRefreshToken: () => Promise.resolve(true),
    pkce: { required: () => true },
    ttl: { AccessToken: 300, IdToken: 300, Session: 3600, Grant: 3600, Interaction: 600 },
  }
}

/**
 * Logs in at the provider in this browser, from a page of the hub that leads there, and comes back:
 * the page at the end of all redirects.
 */
export async function logInAt(browser: Browser, path: string, login: string): Promise<Page> {
  let page = await browser.visit(path)
  for (let forms = 0; forms < 4 && /name="prompt"/.test(page.text); forms += 1) {
    const action = /<form[^>]* action="([^"]+)"/.exec(page.text)?.[1] ?? ''
    const prompt = /name="prompt" value="(\w+)"/.exec(page.text)?.[1] ?? ''
    const fields = prompt === 'login' ? { prompt, login, password: 'any' } : { prompt }
    const answer = await browser.post(new URL(action, page.url).href, fields)
    page = await browser.visit(new URL(answer.headers.get('location') ?? '', answer.url).href)
  }
  return page
}
