import type { HubControl } from '../api/hub.ts'
import type { AppParts } from '../app.ts'
import { allowRule } from '../config/checks.ts'
import type { Config } from '../config.ts'
import { createExplanations } from '../domain/explanations.ts'
import { createGroups } from '../domain/groups.ts'
import { createLoginAttempts } from '../domain/login-attempts.ts'
import { createOauthProvider } from '../domain/oauth-provider.ts'
import type { Routes } from '../domain/routes.ts'
import type { Servers } from '../domain/servers.ts'
import type { Services } from '../domain/services.ts'
import { createShareCodes, createShares } from '../domain/shares.ts'
import { createTokens } from '../domain/tokens.ts'
import type { HubUrls } from '../domain/urls.ts'
import { createUsers } from '../domain/users.ts'
import { createXsrf } from '../domain/xsrf.ts'
import type { Log } from '../log.ts'
import { customLoginView } from '../pages/login.ts'
import { createRenderer } from '../pages/render.ts'
import { createRequests, type RequestDeps } from '../request.ts'
import type { Secrets } from '../secrets.ts'
import type { Core } from './core.ts'
import type { Logins } from './logins.ts'

export interface PartsDeps {
  readonly config: Config
  readonly secrets: Secrets
  readonly quickStart: boolean
  readonly version: string
  readonly core: Core & Logins
  readonly servers: Servers
  readonly services: Services
  readonly routes: Routes
  readonly control: HubControl
  readonly urls: HubUrls
  readonly clientAddress: RequestDeps['clientAddress']
  readonly log: Log
}

/** What the web application is made of; `socketRequests` are those on the hub's own socket. */
export type Parts = AppParts & { readonly socketRequests: AppParts['requests'] }

/** All that answers requests. */
export function createParts(deps: PartsDeps): Parts {
  const { config, secrets, quickStart, version, core, servers, services, routes } = deps
  const { control, urls, clientAddress, log } = deps
  const { base, driver } = config.authenticator
  const { hub } = config
  const requestDeps = {
    ...core,
    urls,
    xsrf: createXsrf(secrets.cookieSecret),
    cookieKey: secrets.cookieSecret,
    cookieMaxAgeDays: hub.cookieMaxAgeDays,
    hostPrefix: hub.cookieHostPrefixEnabled,
    clientAddress,
  }
  const sharing = { ...core, servers }
  const tokens = createTokens({
    ...core,
    store: core.tokens,
    longestLife: hub.tokenExpiresInMaxSeconds,
  })
  return {
    ...core,
    servers,
    services,
    routes,
    control,
    urls,
    log,
    requests: createRequests({ ...requestDeps, isOperator: false }),
    socketRequests: createRequests({ ...requestDeps, isOperator: true }),
    hosts: quickStart ? new Set(['127.0.0.1', 'localhost', '[::1]']) : null,
    crossSitePost: driver.crossSitePost ?? false,
    info: { version, spawner: config.spawner.driver.name, authenticator: driver.name },
    options: pageOptions(deps),
    render: createViews(deps),
    attempts: createLoginAttempts({ store: core.attemptRows, clock: core.clock }),
    provider: createOauthProvider({
      ...core,
      tokenSeconds: hub.oauthTokenExpiresIn,
      requirePkce: hub.oauthRequirePkce,
      issuer: hub.publicUrl?.href ?? null,
    }),
    tokens,
    explanations: createExplanations({ ...core, tokens }),
    groups: createGroups({ ...core, store: core.groupRows }),
    users: createUsers({
      ...core,
      store: core.users,
      log,
      servers,
      pattern: base.usernamePattern,
      slowStop: hub.slowStopTimeout,
    }),
    shares: createShares(sharing),
    shareCodes: createShareCodes(sharing),
  }
}

function pageOptions({ config, core }: PartsDeps): AppParts['options'] {
  const { hub, authenticator } = config
  const { autoLogin, autoLoginOauth2Authorize, customHtml } = authenticator.base
  return {
    ...hub,
    admitsNobody: [...allowRule.find(config)].length > 0,
    autoLogin,
    autoLoginOauth2Authorize,
    otpPrompt: core.otpPrompt,
    customLogin: customHtml !== '',
  }
}

function createViews({ config, version, quickStart, urls }: PartsDeps) {
  const { hubPrefix, baseUrl: prefix } = urls
  const [loginUrl, logoutUrl] = [`${hubPrefix}login`, `${hubPrefix}logout`]
  const globals = { baseUrl: hubPrefix, prefix, version, quickStart, loginUrl, logoutUrl }
  const { customHtml } = config.authenticator.base
  return createRenderer({
    templatePaths: config.hub.templatePaths,
    inline: customHtml === '' ? {} : { [customLoginView]: customHtml },
    globals,
  })
}
