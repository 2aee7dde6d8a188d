import { buildEndSessionUrl, tokenRevocation } from 'openid-client'
import type { Authenticator, Verdict } from 'portico/authenticator'
import { backChannelLogout } from './back-channel.ts'
import { callbackUrlOf } from './callback-url.ts'
import { createClient } from './client.ts'
import { publicError } from './errors.ts'
import { identify, type IdentifyDeps } from './identify.ts'
import type { OauthOptions } from './options.ts'
import { type OauthContext, type Provider, textAt } from './provider.ts'
import { refresh } from './refresh.ts'
import { codeFlow } from './strategy.ts'

/** An authenticator for one provider. @throws {Error} a plain sentence when options cannot work here. */
export async function createOauthAuthenticator(
  options: OauthOptions,
  provider: Provider,
  context: OauthContext,
): Promise<Authenticator> {
  const client = await createClient(options, provider)
  const configuration = () => client.configuration()
  const deps: IdentifyDeps = { options, provider, context, configuration }
  const isOpenId = provider.server.kind === 'oidc'
  const strategy = codeFlow({
    callbackUrl: callbackUrlOf(options, context),
    scope: [...new Set([...options.scope, ...(provider.scope ?? [])])],
    authorizeParams: { ...provider.authorizeParams, ...options.extraAuthorizeParams },
    tokenParams: options.tokenParams,
    withNonce: isOpenId,
    configuration,
    identify: (tokens) => identify(deps, tokens, tokens.claims() ?? {}),
    explain(error) {
      context.log.warn(`a login at the provider failed: ${describe(error)}`)
      return publicError(error)
    },
  })
  return {
    authenticate: () =>
      Promise.resolve<Verdict>({ kind: 'denied', reason: 'logins go through the provider' }),
    loginService: options.loginService,
    ...(options.custom403Message === '' ? {} : { refusalText: options.custom403Message }),
    strategy,
    refresh: (identity) => refresh(deps, identity),
    logOut: (authState) => revoke(deps, authState),
    logoutUrl: (authState) => logoutUrlOf(deps, authState),
    routes: isOpenId
      ? [
          backChannelLogout({
            configuration,
            endSessions: (account) => context.endSessions(account),
            warn: (message) => context.log.warn(message),
          }),
        ]
      : [],
  }
}

/** Makes the tokens of a login worthless, where the provider can (RFC 7009): with the first, the other. */
async function revoke({ configuration }: IdentifyDeps, authState: unknown): Promise<void> {
  const refreshToken = textAt(authState, 'refresh_token')
  const token = refreshToken ?? textAt(authState, 'access_token')
  if (token === undefined) return
  const config = await configuration()
  if (config.serverMetadata().revocation_endpoint === undefined) return
  const kind = refreshToken === undefined ? 'access_token' : 'refresh_token'
  await tokenRevocation(config, token, { token_type_hint: kind })
}

async function logoutUrlOf(
  { options, provider, configuration }: IdentifyDeps,
  authState: unknown,
): Promise<string | undefined> {
  const { logoutAtProvider, logoutRedirectUrl } = options
  if (!logoutAtProvider) return logoutRedirectUrl
  const config = await configuration().catch(() => null)
  if (config?.serverMetadata().end_session_endpoint === undefined)
    return provider.logoutUrl ?? logoutRedirectUrl
  const hint = textAt(authState, 'id_token')
  return buildEndSessionUrl(config, {
    ...(logoutRedirectUrl === undefined ? {} : { post_logout_redirect_uri: logoutRedirectUrl }),
    ...(hint === undefined ? {} : { id_token_hint: hint }),
  }).href
}

/** For the log: messages and codes, which hold no tokens. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, error: oauth } = error as { readonly code?: unknown; readonly error?: unknown }
  const details = [code, oauth].filter((part) => typeof part === 'string')
  const said = details.length === 0 ? error.message : `${error.message} (${details.join(', ')})`
  return error.cause instanceof Error ? `${said}: ${describe(error.cause)}` : said
}
