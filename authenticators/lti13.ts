import { randomBytes } from 'node:crypto'
import {
  type AuthenticatorContext,
  type AuthenticatorRoute,
  defineAuthenticator,
  type Identity,
  type LoginStrategy,
  type StrategyRequest,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import { sameSecret } from './secret.ts'
import { algorithms, PlatformKeys, verifiedClaims } from './platform-keys.ts'

const spec = 'https://purl.imsglobal.org/spec/lti/claim'
/** Seconds that a token may be old, and clocks differ. */
const maxAge = 600
const leeway = 30

const url = z.string().refine((text) => isSecure(text), 'must begin with https://')
const names = z.union([
  z
    .string()
    .min(1)
    .transform((name) => [name]),
  z.array(z.string().min(1)).min(1),
])

const schema = z.strictObject({
  /** The platform, as it calls itself. */
  issuer: z.string().min(1),
  /** What the platform calls this hub; several for several courses. */
  clientId: names,
  /** Deployments of the hub at the platform that may send people; the platform shows their ids. */
  deploymentIds: z
    .array(z.string().min(1))
    .min(1, 'must list the deployments that may send people'),
  /** Where the platform logs people in. */
  authorizeUrl: url,
  /** Where the platform publishes its keys. */
  jwksEndpoint: url,
  /** Algorithms of its signatures. */
  jwksAlgorithms: z.array(z.enum(algorithms)).min(1).default(['RS256']),
  /** The claim that becomes the name; `custom_NAME` is a custom parameter, and `sub` always there. */
  usernameKey: z.string().min(1).default('email'),
})
type Options = z.output<typeof schema>

/**
 * People who come from a learning platform (LTI 1.3, IMS Security Framework 1.0). Whoever comes is
 * known by (issuer, sub); the name is only how they are called here. JupyterHub: LTI13Authenticator.
 */
export const lti13 = defineAuthenticator({
  name: 'lti13',
  crossSitePost: true,
  config: schema,
  create(options, context) {
    const callback = context.publicUrl('/oauth_callback')
    if (callback === null)
      throw new HubError(
        'invalid_request',
        'lti13 needs hub.publicUrl: the platform sends people to its /hub/oauth_callback',
      )
    if (callback.protocol !== 'https:')
      throw new HubError(
        'invalid_request',
        'lti13 needs an https hub.publicUrl: browsers send a cookie along with what another site posts only over https',
      )
    const keys = new PlatformKeys(options.jwksEndpoint)
    return {
      authenticate: () =>
        Promise.resolve({ kind: 'denied', reason: 'people come from the platform' }),
      loginForm: {
        title: 'Log in',
        help: 'Open this hub from your course.',
        fields: [],
        isClosed: true,
      },
      strategy: strategyOf({ options, callback, keys }),
      routes: [launchByPost(context)],
    }
  },
})

/** Platforms may begin a login by POST as well (section 5.1.1.1); it goes on as a GET. */
function launchByPost(context: AuthenticatorContext): AuthenticatorRoute {
  return {
    method: 'POST',
    path: '/oauth_login',
    crossSite: true,
    handle(_request, { form }) {
      const known = ['iss', 'client_id', 'login_hint', 'lti_message_hint', 'target_link_uri']
      const query = new URLSearchParams(
        known.flatMap((name) => (form[name] === undefined ? [] : [[name, form[name]]])),
      )
      const target = form['target_link_uri'] ?? ''
      const home = context.publicUrl('/')
      if (URL.canParse(target) && new URL(target).origin === home?.origin)
        query.set('next', new URL(target).pathname + new URL(target).search)
      return new Response(null, { status: 303, headers: { location: `oauth_login?${query}` } })
    },
  }
}

interface Platform {
  readonly options: Options
  readonly callback: URL
  readonly keys: PlatformKeys
}

/** What passport puts into a strategy before it calls it. */
interface Actions {
  success(identity: Identity): void
  fail(reason: string): void
  redirect(url: string): void
  error(error: unknown): void
}

function strategyOf(platform: Platform): LoginStrategy {
  return {
    authenticate(this: Actions, given: unknown): void {
      const request = given as StrategyRequest
      if (request.method === 'GET') return begin(platform, request, this)
      finish(platform, request).then(
        (identity) => this.success(identity),
        (error: unknown) => this.fail(error instanceof Error ? error.message : String(error)),
      )
    },
  }
}

function begin(
  { options, callback }: Platform,
  { query, session }: StrategyRequest,
  actions: Actions,
): void {
  const text = (name: string): string => {
    const value = query[name]
    return typeof value === 'string' ? value : ''
  }
  const clientId = text('client_id') === '' ? options.clientId[0] : text('client_id')
  if (text('iss') !== options.issuer || text('login_hint') === '')
    return actions.error(
      new HubError('invalid_request', 'Open this hub from your course: the login begins there'),
    )
  if (clientId === undefined || !options.clientId.includes(clientId))
    return actions.error(new HubError('invalid_request', 'The platform names an unknown client_id'))
  const [state, nonce] = [random(), random()]
  Object.assign(session, { nonce, clientId })
  const to = new URL(options.authorizeUrl)
  for (const [name, value] of Object.entries({
    scope: 'openid',
    response_type: 'id_token',
    response_mode: 'form_post',
    prompt: 'none',
    client_id: clientId,
    redirect_uri: callback.href,
    login_hint: text('login_hint'),
    lti_message_hint: text('lti_message_hint'),
    state,
    nonce,
  }))
    if (value !== '') to.searchParams.set(name, value)
  actions.redirect(to.href)
}

/** Throws why the platform's answer does not say who this is. */
async function finish(
  { options, keys }: Platform,
  { body, session }: StrategyRequest,
): Promise<Identity> {
  const { id_token: token, error } = (body ?? {}) as Record<string, unknown>
  if (typeof error === 'string') throw new Error(`the platform says ${JSON.stringify(error)}`)
  if (typeof token !== 'string') throw new Error('the platform has sent no token')
  const claims = await verifiedClaims(token, keys, options.jwksAlgorithms)
  const problem = problemWith(claims, options, session)
  if (problem !== null) throw new Error(problem)
  const subject = typeof claims['sub'] === 'string' ? claims['sub'] : ''
  return { userName: nameIn(claims, options) ?? subject, issuer: options.issuer, subject }
}

/** Section 5.1.3 of the IMS Security Framework, and the claims of LTI 1.3 itself. */
function problemWith(
  claims: Readonly<Record<string, unknown>>,
  options: Options,
  { nonce, clientId }: Readonly<Record<string, unknown>>,
): string | null {
  const now = Date.now() / 1_000
  const audience = [claims['aud']].flat()
  const { exp, iat, sub } = claims
  const deployment = claims[`${spec}/deployment_id`]
  const checks: readonly [boolean, string][] = [
    [claims['iss'] === options.issuer, 'the token is of another issuer'],
    [audience.includes(clientId), 'the token is for another client'],
    [audience.length === 1 || claims['azp'] === clientId, 'azp is missing or another'],
    [claims['azp'] === undefined || claims['azp'] === clientId, 'azp is another'],
    [typeof exp === 'number' && exp > now - leeway, 'the token has expired'],
    [typeof iat === 'number' && iat < now + leeway, 'the token is of the future'],
    [typeof iat === 'number' && iat > now - maxAge, 'the token is too old'],
    [isSame(claims['nonce'], nonce), 'the nonce is another'],
    [typeof sub === 'string' && sub !== '' && sub.length <= 255, 'there is no sub'],
    [claims[`${spec}/version`] === '1.3.0', 'the version is not 1.3.0'],
    [claims[`${spec}/message_type`] === 'LtiResourceLinkRequest', 'the message is no launch'],
    [hasId(claims[`${spec}/resource_link`]), 'there is no resource_link'],
    [Array.isArray(claims[`${spec}/roles`]), 'there are no roles'],
    [
      typeof deployment === 'string' && options.deploymentIds.includes(deployment),
      'the deployment is not in deploymentIds',
    ],
  ]
  return checks.find(([holds]) => !holds)?.[1] ?? null
}

function nameIn(
  claims: Readonly<Record<string, unknown>>,
  { usernameKey }: Options,
): string | null {
  const custom = (claims[`${spec}/custom`] ?? {}) as Readonly<Record<string, unknown>>
  const value = usernameKey.startsWith('custom_')
    ? custom[usernameKey.slice('custom_'.length)]
    : claims[usernameKey]
  return typeof value === 'string' && value !== '' ? value : null
}

function hasId(link: unknown): boolean {
  const id = (link as { id?: unknown } | null | undefined)?.id
  return typeof id === 'string' && id !== ''
}

const isSame = (given: unknown, wanted: unknown): boolean =>
  typeof given === 'string' && typeof wanted === 'string' && sameSecret(given, wanted)

const random = (): string => randomBytes(32).toString('base64url')

function isSecure(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname } = new URL(text)
  return protocol === 'https:' || /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}
