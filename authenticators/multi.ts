import {
  type Authenticator,
  type AuthenticatorContext,
  type AuthenticatorDriver,
  defineAuthenticator,
  type Identity,
  type LoginForm,
  type LoginStrategy,
  type PageLink,
  type RouteVisit,
} from 'portico/authenticator'
import { HubError } from 'portico/errors'
import { z } from 'zod'
import {
  contextOfMember,
  inner,
  innerName,
  type Member,
  memberStrategy,
  outer,
} from './multi-member.ts'
import { memberRoutes, outerLink } from './multi-routes.ts'

const notMembers = new Set(['multi', 'quick-start', 'null'])

/**
 * Several authenticators on one login page. Names are kept apart: `ada` of the provider `github` is
 * the user `github:ada`, and groups likewise. JupyterHub: MultiAuthenticator of idiap, whose children's own allow lists are
 * the hub's lists here, with the prefix.
 */
export function multi(drivers: readonly AuthenticatorDriver[]): AuthenticatorDriver {
  const schema = z.strictObject({
    /** What there is to choose from: `driver`, `name`, `label`, and the options of that driver. */
    providers: z
      .array(providerSchema(drivers))
      .min(1, 'must name at least one provider')
      .superRefine(checkNames),
  })
  return defineAuthenticator({
    name: 'multi',
    config: schema,
    allows: ({ providers }) => providers.some(letsIn),
    async create({ providers }, context) {
      const members: Member[] = []
      try {
        for (const provider of providers) members.push(await createMember(provider, context))
      } catch (error) {
        await closeAll(members)
        throw error
      }
      return new MultiAuthenticator(members)
    },
  })
}

interface Provider {
  readonly name: string
  readonly label: string
  readonly usernamePrefix: string
  /** Undefined: that of all. */
  readonly otpPrompt: string | null | undefined
  readonly driver: AuthenticatorDriver
  readonly options: Record<string, unknown>
}

function providerSchema(drivers: readonly AuthenticatorDriver[]) {
  const known = z.looseObject({
    /** A part of urls, and by default of user names. */
    name: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, 'has lower case letters, digits and dashes'),
    /** What stands on the button. Default: the name. */
    label: z.string().min(1).optional(),
    /** Put before names and groups. One provider may have none. Default: the name and a colon. */
    usernamePrefix: z
      .string()
      .regex(/^(?:[a-z0-9._-]+:)?$/, 'is empty, or ends with a colon')
      .optional(),
    /** Whether its form asks for a one-time password, and how. Default: as `authenticator` says. */
    requestOtp: z.boolean().optional(),
    otpPrompt: z.string().min(1).default('OTP:'),
    driver: z.union([z.string(), z.custom<AuthenticatorDriver>(isDriver)]),
  })
  return known.transform((given, context): Provider => {
    const { name, label = name, usernamePrefix = `${name}:`, driver: wanted, ...more } = given
    const { requestOtp, otpPrompt: prompt, ...rest } = more
    const otpPrompt = requestOtp === undefined ? undefined : requestOtp ? prompt : null
    const fail = (message: string, ...path: PropertyKey[]): void =>
      void context.issues.push({ code: 'custom', message, path, input: given })
    const driver =
      typeof wanted === 'string' ? drivers.find((each) => each.name === wanted) : wanted
    if (!driver || notMembers.has(driver.name) || driver.insecure || driver.crossSitePost) {
      fail(
        `'${typeof wanted === 'string' ? wanted : wanted.name}' is none of those that can be combined`,
        'driver',
      )
      return z.NEVER
    }
    const options = driver.config.safeParse(rest)
    if (options.success)
      return { name, label, usernamePrefix, otpPrompt, driver, options: options.data }
    for (const issue of options.error.issues) fail(issue.message, ...issue.path)
    return z.NEVER
  })
}

/** The hub's own rule where a driver does not say. */
function letsIn({ driver, options }: Provider): boolean {
  if (driver.allows) return driver.allows(options)
  const rules = Object.entries(options).filter(([name]) => name.startsWith('allow'))
  return rules.some(([, value]) => value === true || (Array.isArray(value) && value.length > 0))
}

function isDriver(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'create' in value && 'config' in value
}

function checkNames(providers: readonly Provider[], context: z.RefinementCtx): void {
  for (const key of ['name', 'usernamePrefix'] as const) {
    const values = providers.map((provider) => provider[key])
    const index = values.findIndex((value, place) => values.indexOf(value) !== place)
    if (index < 0) continue
    const message = `'${values[index]}' is taken by another provider: their people would be mixed up`
    context.addIssue({ code: 'custom', path: [index, key], message })
  }
}

async function createMember(provider: Provider, context: AuthenticatorContext): Promise<Member> {
  const { driver, options, otpPrompt = context.otpPrompt, ...rest } = provider
  const names = { ...rest, otpPrompt }
  const authenticator = await driver.create(options, contextOfMember(names, context))
  return { ...names, authenticator }
}

class MultiAuthenticator implements Authenticator {
  readonly loginForm: LoginForm
  readonly routes: NonNullable<Authenticator['routes']>
  readonly strategies: Readonly<Record<string, LoginStrategy>>
  readonly #members: readonly Member[]

  constructor(members: readonly Member[]) {
    this.#members = members
    this.routes = members.flatMap(memberRoutes)
    this.strategies = Object.fromEntries(
      members.flatMap((member) => {
        const { strategy } = member.authenticator
        return strategy ? [[`/${member.name}`, memberStrategy(member, strategy)]] : []
      }),
    )
    this.loginForm = {
      title: 'Log in',
      help: 'How would you like to log in?',
      fields: [],
      isClosed: true,
      links: members.map(({ name, label, authenticator }) => ({
        label: `Log in with ${label}`,
        path: authenticator.strategy ? `/${name}/oauth_login` : `/${name}/login`,
      })),
    }
  }

  authenticate() {
    return Promise.resolve({ kind: 'denied' as const, reason: 'no provider was chosen' })
  }

  async refresh(identity: Identity): Promise<Identity | null> {
    const member = this.#memberOf(identity.userName)
    const origin = providerIn(identity.authState)
    if (!member || (origin !== undefined && origin !== member.name)) return null
    const { authenticator } = member
    if (!authenticator.refresh) return identity
    const asked = inner(member, identity)
    const own = await authenticator.refresh(asked)
    if (own === asked) return identity
    const again = own && outer(member, own)
    return typeof again === 'string' ? null : again
  }

  async allowedBy(userName: string): Promise<string | null | undefined> {
    const member = this.#memberOf(userName)
    if (!member) return null
    const rule = await member.authenticator.allowedBy?.(innerName(member, userName))
    return rule ? `${member.name}: ${rule}` : rule
  }

  async addUser(userName: string): Promise<void> {
    const member = this.#memberOf(userName)
    await member?.authenticator.addUser?.(innerName(member, userName))
  }

  async deleteUser(userName: string): Promise<void> {
    const member = this.#memberOf(userName)
    await member?.authenticator.deleteUser?.(innerName(member, userName))
  }

  async logOut(authState: Identity['authState']): Promise<void> {
    await this.#memberOfState(authState)?.authenticator.logOut?.(authState)
  }

  async logoutUrl(authState: Identity['authState']): Promise<string | undefined> {
    const { logoutUrl } = this.#memberOfState(authState)?.authenticator ?? {}
    return typeof logoutUrl === 'function' ? logoutUrl(authState) : logoutUrl
  }

  accountLinks({ userName, admin }: Pick<RouteVisit, 'userName' | 'admin'>): readonly PageLink[] {
    const own = userName === null ? undefined : this.#memberOf(userName)
    return this.#members.flatMap((member) => {
      const name = member === own && userName !== null ? innerName(member, userName) : null
      const links = member.authenticator.accountLinks?.({ userName: name, admin }) ?? []
      return links.map((link) => outerLink(member, link))
    })
  }

  issueLink(): { readonly path: string; readonly expiresAt: Date } {
    for (const { name, authenticator } of this.#members) {
      const link = authenticator.issueLink?.()
      if (link) return { ...link, path: `/${name}${link.path}` }
    }
    throw new HubError('invalid_request', 'none of the providers has login links')
  }

  async close(): Promise<void> {
    await closeAll(this.#members)
  }

  /** Only the provider that somebody came from ever sees their tokens. */
  #memberOfState(authState: Identity['authState']): Member | undefined {
    const name = providerIn(authState)
    return this.#members.find((member) => member.name === name)
  }

  /** By the prefix; the provider without one has the names that begin with no other. */
  #memberOf(userName: string): Member | undefined {
    const prefixed = this.#members.filter(({ usernamePrefix }) => usernamePrefix !== '')
    return (
      prefixed.find(({ usernamePrefix }) => userName.startsWith(usernamePrefix)) ??
      (userName.includes(':')
        ? undefined
        : this.#members.find(({ usernamePrefix }) => usernamePrefix === ''))
    )
  }
}

function providerIn(authState: Identity['authState']): unknown {
  return (authState as { portico_provider?: unknown } | null | undefined)?.portico_provider
}

async function closeAll(members: readonly Member[]): Promise<void> {
  for (const { authenticator } of members) await authenticator.close?.()
}
