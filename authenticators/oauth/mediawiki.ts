import { readFile } from 'node:fs/promises'
import {
  type AuthenticatorContext,
  defineAuthenticator,
  type Identity,
  type LoginStrategy,
  type StrategyRequest,
  type Verdict,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import { callbackUrlOf } from './callback-url.ts'
import { boundedFetch } from './http.ts'
import { type Consumer, signed, type TokenPair } from './oauth1.ts'
import { oauthOptions, providerUrl } from './options.ts'
import { idOf, textAt, valueAt } from './provider.ts'

const shared = oauthOptions({
  loginService: 'MediaWiki',
  scope: [],
  usernameClaim: 'username',
  authStateGroupsKey: '',
})

/**
 * MediaWiki, by OAuth 1.0a. Its names tell upper from lower case and the hub's do not, so that the
 * account is the wiki's own number: `Ada_B` and `Ada_b` never become one.
 */
export const mediawiki = defineAuthenticator({
  name: 'mediawiki',
  config: z
    .strictObject({
      clientId: shared.clientId,
      clientSecret: shared.clientSecret,
      clientSecretFile: shared.clientSecretFile,
      oauthCallbackUrl: shared.oauthCallbackUrl,
      custom403Message: shared.custom403Message,
      loginService: shared.loginService,
      logoutRedirectUrl: shared.logoutRedirectUrl,
      /** The wiki's `index.php`. */
      mwIndexUrl: providerUrl.default('https://meta.wikimedia.org/w/index.php'),
    })
    .refine((options) => options.clientSecret ?? options.clientSecretFile, {
      path: ['clientSecret'],
      error: 'or clientSecretFile is required',
    }),
  async create(options, context) {
    const { clientSecretFile, custom403Message, logoutRedirectUrl } = options
    const secret = options.clientSecret ?? (await readFile(clientSecretFile ?? '', 'utf8')).trim()
    const wiki = new Wiki(options.mwIndexUrl, { key: options.clientId, secret })
    const callbackUrl = callbackUrlOf(options, context)
    return {
      authenticate: () =>
        Promise.resolve<Verdict>({ kind: 'denied', reason: 'logins go through the provider' }),
      loginService: options.loginService,
      strategy: wikiStrategy(wiki, callbackUrl, context.log),
      ...(custom403Message === '' ? {} : { refusalText: custom403Message }),
      ...(logoutRedirectUrl === undefined ? {} : { logoutUrl: logoutRedirectUrl }),
    }
  },
})

interface Actions {
  success(identity: Identity): void
  fail(reason: string): void
  redirect(url: string): void
  error(error: unknown): void
}

function wikiStrategy(
  wiki: Wiki,
  callbackUrl: URL,
  log: AuthenticatorContext['log'],
): LoginStrategy {
  return {
    authenticate(given) {
      const actions = this as unknown as Actions
      const request = given as StrategyRequest
      const isStart = new URL(request.originalUrl, callbackUrl).pathname.endsWith('/oauth_login')
      const step = isStart
        ? leave(wiki, callbackUrl, request).then((url) => actions.redirect(url.href))
        : comeBack(wiki, request).then((verdict) => {
            if (verdict.kind === 'identified') actions.success(verdict.identity)
            else actions.fail(verdict.reason)
          })
      step.catch((error: unknown) => {
        if (error instanceof HubError) return actions.error(error)
        log.warn(
          `a login at the wiki failed: ${error instanceof Error ? error.message : 'unknown'}`,
        )
        actions.error(
          new HubError('unavailable', 'The wiki gives no valid answer. Try again in a moment', {
            cause: error,
            retryAfter: 10,
          }),
        )
      })
    },
  }
}

async function leave(wiki: Wiki, callbackUrl: URL, { session }: StrategyRequest): Promise<URL> {
  const token = await wiki.requestToken(callbackUrl)
  session['mediawiki'] = { ...token }
  return wiki.page('authenticate', {
    oauth_token: token.key,
    oauth_consumer_key: wiki.consumer.key,
  })
}

async function comeBack(wiki: Wiki, { query, session }: StrategyRequest): Promise<Verdict> {
  const begun = session['mediawiki']
  const token = { key: textAt(begun, 'key') ?? '', secret: textAt(begun, 'secret') ?? '' }
  const verifier = query['oauth_verifier']
  if (typeof verifier !== 'string' || query['oauth_token'] !== token.key)
    throw new HubError('invalid_request', 'OAuth callback made without a verifier')
  return wiki.identify(await wiki.accessToken(token, verifier))
}

/** The four calls of MediaWiki's OAuth extension (https://www.mediawiki.org/wiki/OAuth/For_Developers). */
class Wiki {
  readonly #indexUrl: string
  readonly consumer: Consumer

  constructor(indexUrl: string, consumer: Consumer) {
    this.#indexUrl = indexUrl
    this.consumer = consumer
  }

  page(name: string, parameters: Readonly<Record<string, string>> = {}): URL {
    const url = new URL(this.#indexUrl)
    url.search = new URLSearchParams({ title: `Special:OAuth/${name}`, ...parameters }).toString()
    return url
  }

  async requestToken(callbackUrl: URL): Promise<TokenPair> {
    const extra = { oauth_callback: callbackUrl.href }
    return this.#tokenFrom(signed(this.page('initiate'), this.consumer, { extra }))
  }

  async accessToken(token: TokenPair, verifier: string): Promise<TokenPair> {
    const extra = { oauth_verifier: verifier }
    return this.#tokenFrom(signed(this.page('token'), this.consumer, { token, extra }))
  }

  /** A statement that the wiki has signed with the secret that both know, for this one request. */
  async identify(token: TokenPair): Promise<Verdict> {
    const { jwtVerify } = await import('jose')
    const request = signed(this.page('identify'), this.consumer, { token })
    const { payload } = await jwtVerify(
      await answerTo(request),
      new TextEncoder().encode(this.consumer.secret),
      { algorithms: ['HS256'], audience: this.consumer.key, clockTolerance: 30 },
    )
    const issuer = new URL(this.#indexUrl)
    if (new URL(payload.iss ?? '').host !== issuer.host)
      return { kind: 'denied', reason: 'the statement comes from another wiki' }
    if (payload['nonce'] !== request.nonce)
      return { kind: 'denied', reason: 'the statement was made for another request' }
    if (payload['blocked'] === true)
      return { kind: 'denied', reason: 'their account is blocked at the wiki' }
    const subject = idOf(valueAt(payload, 'sub'))
    const name = textAt(payload, 'username')
    if (subject === null || name === undefined)
      return { kind: 'denied', reason: 'the wiki names no account' }
    const userName = name.replaceAll(' ', '_')
    const authState = {
      ACCESS_TOKEN_KEY: token.key,
      ACCESS_TOKEN_SECRET: token.secret,
      MEDIAWIKI_USER_IDENTITY: { username: name, sub: subject },
    }
    return {
      kind: 'identified',
      identity: { userName, issuer: issuer.origin, subject, authState },
    }
  }

  async #tokenFrom(request: ReturnType<typeof signed>): Promise<TokenPair> {
    const answer = new URLSearchParams(await answerTo(request))
    const [key, secret] = [answer.get('oauth_token'), answer.get('oauth_token_secret')]
    if (!key || !secret) throw new Error('the wiki gives no token')
    return { key, secret }
  }
}

async function answerTo({ url, headers }: ReturnType<typeof signed>): Promise<string> {
  const response = await boundedFetch(url.href, { headers })
  if (response.status !== 200) throw new Error(`the wiki answered ${response.status}`)
  return (await response.text()).trim()
}
