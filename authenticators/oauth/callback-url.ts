import { isThisMachine } from './options.ts'
import type { OauthContext } from './provider.ts'

/**
 * Where the provider sends browsers back. Never guessed from a request: whoever chose the `Host`
 * would get the code.
 * @throws {Error} a plain sentence when it is not known.
 */
export function callbackUrlOf(
  { oauthCallbackUrl }: { readonly oauthCallbackUrl?: string | undefined },
  context: OauthContext,
): URL {
  const url =
    oauthCallbackUrl === undefined
      ? context.publicUrl('/oauth_callback')
      : new URL(oauthCallbackUrl)
  if (url === null)
    throw new Error(
      'authenticator.oauthCallbackUrl is required where hub.publicUrl is not set: where the provider sends browsers back, ending in /hub/oauth_callback',
    )
  if (url.protocol !== 'https:' && !isThisMachine(url.hostname))
    throw new Error(`${url.href} must begin with https:// to get codes from a provider`)
  return url
}
