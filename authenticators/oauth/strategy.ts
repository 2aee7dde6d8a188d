import {
  type Configuration,
  randomNonce,
  randomState,
  type TokenEndpointResponse,
  type TokenEndpointResponseHelpers,
} from 'openid-client'
import { Strategy } from 'openid-client/passport'
import type { Identity, LoginStrategy, StrategyRequest, Verdict } from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { plain } from './errors.ts'

type Tokens = TokenEndpointResponse & TokenEndpointResponseHelpers

/** What passport gives every strategy. */
interface Actions {
  success(identity: Identity): void
  fail(challenge: { readonly message: string; readonly error?: string }): void
  pass(): void
  redirect(url: string, status?: number): void
  error(error: unknown): void
}

export interface StrategyDeps {
  /** Where the provider sends browsers back. */
  readonly callbackUrl: URL
  readonly scope: readonly string[]
  readonly authorizeParams: Readonly<Record<string, string>>
  readonly tokenParams: Readonly<Record<string, string>>
  readonly withNonce: boolean
  readonly configuration: () => Promise<Configuration>
  readonly identify: (tokens: Tokens) => Promise<Verdict>
  /** Turns what went wrong into what may be shown, and writes the rest down. */
  readonly explain: (error: unknown) => unknown
}

/**
 * The authorization code flow as a passport strategy: PKCE (S256), `state` and, with OpenID
 * Connect, `nonce` in every attempt, all of them in the attempt's own record. The provider's
 * metadata are fetched at the first use.
 */
export function codeFlow(deps: StrategyDeps): LoginStrategy {
  return {
    authenticate(request) {
      const actions = this as unknown as Actions
      const explained: Actions = {
        success: (identity) => actions.success(identity),
        fail(challenge) {
          // The provider's own `access_denied` is no word of this hub.
          if (challenge.error === undefined) return actions.fail(challenge)
          actions.error(new HubError('invalid_request', `OAuth error: ${plain(challenge.message)}`))
        },
        pass: () => actions.pass(),
        redirect: (url, status) => actions.redirect(url, status),
        error: (error) => actions.error(deps.explain(error)),
      }
      const begin = async (): Promise<void> => {
        const strategy = new CodeFlow(deps, await deps.configuration())
        strategy.authenticate.call(Object.assign(strategy, explained), request as never, {})
      }
      begin().catch((error: unknown) => explained.error(error))
    },
  }
}

class CodeFlow extends Strategy {
  readonly #deps: StrategyDeps

  constructor(deps: StrategyDeps, config: Configuration) {
    const { callbackUrl, scope, identify } = deps
    super(
      { config, callbackURL: callbackUrl, scope: scope.join(' '), sessionKey: 'oauth' },
      (tokens, verified) => {
        identify(tokens).then((verdict) => {
          if (verdict.kind === 'identified') verified(null, verdict.identity)
          else verified(null, false, { message: verdict.reason })
        }, verified)
      },
    )
    this.#deps = deps
  }

  override authorizationRequestParams(): URLSearchParams {
    const { authorizeParams, withNonce } = this.#deps
    return new URLSearchParams({
      ...authorizeParams,
      state: randomState(),
      ...(withNonce ? { nonce: randomNonce() } : {}),
    })
  }

  override authorizationCodeGrantParameters(): Record<string, string> {
    return { ...this.#deps.tokenParams }
  }

  /** The query of the browser's request on the url that the provider knows; `Host` says nothing. */
  override currentUrl(request: Pick<StrategyRequest, 'originalUrl'>): URL {
    const url = new URL(this.#deps.callbackUrl)
    url.search = new URL(request.originalUrl, url).search
    return url
  }

  override shouldInitiateAuthRequest({
    originalUrl,
  }: Pick<StrategyRequest, 'originalUrl'>): boolean {
    return new URL(originalUrl, this.#deps.callbackUrl).pathname.endsWith('/oauth_login')
  }
}
