import { AuthorizationResponseError, ClientError, ResponseBodyError } from 'openid-client'
import { HubError } from 'portico/errors'
import { ProviderFailure } from './provider.ts'

/**
 * What a browser may be told of a login that failed at the provider: never tokens, codes or what
 * the provider's servers said among themselves. Anything unexpected comes back unchanged.
 */
export function publicError(error: unknown): unknown {
  if (error instanceof HubError) return error
  const say = (code: 'invalid_request' | 'unavailable', message: string): HubError =>
    new HubError(code, message, {
      cause: error,
      ...(code === 'unavailable' ? { retryAfter: 10 } : {}),
    })
  if (error instanceof AuthorizationResponseError)
    return say('invalid_request', `OAuth error: ${plain(error.error_description ?? error.error)}`)
  if (error instanceof ResponseBodyError && error.error === 'invalid_client')
    return say(
      'unavailable',
      'The provider does not know this hub: an administrator must look at its log',
    )
  if (error instanceof ResponseBodyError)
    return say(
      'invalid_request',
      `The provider has not accepted this login (${plain(error.error)}). Start again`,
    )
  if (isOutage(error))
    return say('unavailable', 'The provider does not answer. Try again in a moment')
  if (error instanceof ProviderFailure)
    return say('unavailable', 'The provider does not tell this hub what it needs to know')
  if (error instanceof ClientError)
    return say(
      'invalid_request',
      `The answer of the provider is not valid (${error.code ?? 'unknown'}). Start again`,
    )
  return error
}

/** Whether the provider could not be asked, rather than said no. */
export function isOutage(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error instanceof ResponseBodyError) return error.status >= 500
  if (error instanceof ProviderFailure) return error.status === 0 || error.status >= 500
  const { code } = error as { code?: unknown }
  if (code === 'OAUTH_TIMEOUT' || code === 'OAUTH_RESPONSE_IS_NOT_CONFORM') return true
  if (error.name === 'TimeoutError' || error.message === 'fetch failed') return true
  return error.cause !== undefined && isOutage(error.cause)
}

/** Text from outside, short and on one line. */
export function plain(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} .,:;!?'()_/-]/gu, ' ').slice(0, 200)
}
