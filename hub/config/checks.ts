import { scopeCatalogue, unknownScopes } from '../../packages/core/scopes.ts'
import { nameKey } from '../../packages/core/slug.ts'
import type { Config } from '../config.ts'
import { roleChecks } from './roles.ts'
import { isClearText } from './services.ts'
import { isLoopback } from './values.ts'

/** What a check found; `fatal` ones keep the hub from starting. */
export interface Finding {
  readonly path: string
  readonly message: string
}

export interface Check {
  /** Paths the check looks at: it is left out when one of them is itself wrong. */
  readonly reads: readonly string[]
  find(config: Config): Iterable<Finding>
}

/** True when people can reach the hub from other machines, directly or through a front end. */
function isRoutable({ hub }: Config): boolean {
  return (
    !isLoopback(hub.bindUrl.hostname) ||
    (hub.publicUrl !== undefined && !isLoopback(hub.publicUrl.hostname))
  )
}

/** Security checklist A1-1. */
const plainHttp: Check = {
  reads: ['hub.bindUrl', 'hub.publicUrl', 'hub.allowPlainHttp'],
  *find(config) {
    const { bindUrl, publicUrl, allowPlainHttp } = config.hub
    if (allowPlainHttp || publicUrl?.protocol === 'https:' || !isRoutable(config)) return
    const path = publicUrl === undefined ? 'hub.bindUrl' : 'hub.publicUrl'
    yield {
      path,
      message:
        `would carry passwords over plain http (${String(publicUrl ?? bindUrl)}): put an https front ` +
        "end before Portico and name its address in hub.publicUrl, or set 'hub.allowPlainHttp: true' " +
        'for a test network (rule A1-1)',
    }
  },
}

/** Security checklist A2-17. */
const testAuthenticator: Check = {
  reads: [
    'hub.bindUrl',
    'hub.publicUrl',
    'authenticator.driver',
    'authenticator.allowInsecureTestAuthenticator',
  ],
  *find(config) {
    const { driver, base } = config.authenticator
    if (!driver.insecure || base.allowInsecureTestAuthenticator || !isRoutable(config)) return
    yield {
      path: 'authenticator.driver',
      message:
        `'${driver.name}' is made for tests and lets strangers in, and this hub can be reached from ` +
        'other machines: choose another authenticator, listen on 127.0.0.1, or set ' +
        "'authenticator.allowInsecureTestAuthenticator: true' (rule A2-17)",
    }
  },
}

/** Security checklist A2-31. */
const callbackUrl: Check = {
  reads: ['authenticator.oauthCallbackUrl', 'hub.allowPlainHttp'],
  *find({ hub, authenticator }) {
    const url = authenticator.options['oauthCallbackUrl']
    if (hub.allowPlainHttp || typeof url !== 'string' || !URL.canParse(url)) return
    const { protocol, hostname } = new URL(url)
    if (protocol === 'https:' || isLoopback(hostname)) return
    yield {
      path: 'authenticator.oauthCallbackUrl',
      message:
        "must begin with https://, since login codes pass through it; or set 'hub.allowPlainHttp: true' " +
        'for a test network (rule A2-31)',
    }
  },
}

/** Security checklist A2-31, for our own OAuth clients. */
const serviceCallbacks: Check = {
  reads: ['services', 'hub.allowPlainHttp'],
  *find({ hub, services }) {
    if (hub.allowPlainHttp) return
    for (const [index, { oauthRedirectUri = '' }] of services.entries()) {
      if (!isClearText(oauthRedirectUri)) continue
      yield {
        path: `services[${index}].oauthRedirectUri`,
        message:
          "must begin with https://, since login codes pass through it; or set 'hub.allowPlainHttp: true' " +
          'for a test network (rule A2-31)',
      }
    }
  },
}

const serviceScopes: Check = {
  reads: ['services', 'hub.customScopes'],
  *find({ hub, services }) {
    const catalogue = scopeCatalogue(hub.customScopes)
    for (const [index, { oauthClientAllowedScopes }] of services.entries()) {
      const unknown = unknownScopes(oauthClientAllowedScopes, catalogue)
      if (unknown.length === 0) continue
      const path = `services[${index}].oauthClientAllowedScopes`
      yield { path, message: `names scopes that do not exist: ${unknown.join(', ')}` }
    }
  },
}

/** Security checklist A3-36. */
const secretVariables: Check = {
  reads: ['spawner.envKeep'],
  *find({ spawner }) {
    const secrets = ['CONFIGPROXY_AUTH_TOKEN', 'JPY_COOKIE_SECRET', 'JUPYTERHUB_CRYPT_KEY']
    for (const [index, name] of spawner.base.envKeep.entries()) {
      if (!secrets.includes(name)) continue
      yield {
        path: `spawner.envKeep[${index}]`,
        message: `'${name}' holds a secret of the hub, which servers must not see: remove it`,
      }
    }
  },
}

const contradictoryUrls: Check = {
  reads: [
    'hub.bindUrl',
    'hub.hubBindUrl',
    'hub.baseUrl',
    'hub.publicUrl',
    'hub.cookieHostPrefixEnabled',
  ],
  *find({ hub }) {
    if (hub.bindUrl.host === hub.hubBindUrl.host && hub.bindUrl.port !== '0') {
      yield {
        path: 'hub.hubBindUrl',
        message: `is the same address as hub.bindUrl (${hub.bindUrl.host}): proxy and hub each need their own port`,
      }
    }
    if (hub.publicUrl && hub.publicUrl.pathname !== hub.baseUrl) {
      yield {
        path: 'hub.publicUrl',
        message: `has the path '${hub.publicUrl.pathname}', but hub.baseUrl is '${hub.baseUrl}': make them equal`,
      }
    }
    if (hub.cookieHostPrefixEnabled && hub.publicUrl?.protocol !== 'https:') {
      yield {
        path: 'hub.cookieHostPrefixEnabled',
        message: 'needs an https hub.publicUrl: browsers drop __Host- cookies on plain http',
      }
    }
  },
}

const contradictoryPages: Check = {
  reads: ['hub.apiPageDefaultLimit', 'hub.apiPageMaxLimit'],
  *find({ hub }) {
    if (hub.apiPageDefaultLimit <= hub.apiPageMaxLimit) return
    yield {
      path: 'hub.apiPageDefaultLimit',
      message: `is ${hub.apiPageDefaultLimit}, more than hub.apiPageMaxLimit (${hub.apiPageMaxLimit})`,
    }
  },
}

const contradictoryUsers: Check = {
  reads: [
    'hub.adminUsers',
    'authenticator.adminUsers',
    'authenticator.allowedUsers',
    'authenticator.blockedUsers',
    'authenticator.allowAll',
  ],
  *find({ hub, authenticator: { base } }) {
    if (base.allowAll && base.allowedUsers.length > 0) {
      yield {
        path: 'authenticator.allowAll',
        message:
          'lets everybody in, so that allowedUsers would restrict nothing: remove one of the two',
      }
    }
    const lists = [
      { name: 'authenticator.allowedUsers', users: base.allowedUsers },
      { name: 'authenticator.adminUsers', users: base.adminUsers },
      { name: 'hub.adminUsers', users: hub.adminUsers },
    ]
    for (const [index, blocked] of base.blockedUsers.entries()) {
      yield* blockedTwice(`authenticator.blockedUsers[${index}]`, blocked, lists)
    }
  },
}

function* blockedTwice(
  path: string,
  blocked: string,
  lists: readonly { readonly name: string; readonly users: readonly string[] }[],
): Iterable<Finding> {
  const normal = nameKey(blocked)
  if (normal !== blocked) {
    yield {
      path,
      message: `'${blocked}' would block nobody, since names are compared in lower case: write '${normal}'`,
    }
  }
  for (const { name, users } of lists) {
    if (!users.some((user) => nameKey(user) === normal)) continue
    yield { path, message: `'${blocked}' is also in ${name}: remove it from one of the two` }
  }
}

const userMap: Check = {
  reads: ['authenticator.usernameMap'],
  *find({ authenticator: { base } }) {
    for (const [from, to] of Object.entries(base.usernameMap)) {
      const path = `authenticator.usernameMap.${from}`
      if (nameKey(from) !== from) {
        yield {
          path,
          message: `never applies, since names are put in lower case first: write '${nameKey(from)}'`,
        }
      }
      if (to !== from && Object.hasOwn(base.usernameMap, to)) {
        yield {
          path,
          message: `leads to '${to}', which is mapped again; the map is applied once: name the last name`,
        }
      }
    }
  },
}

const managedRoles: Check = {
  reads: ['authenticator.manageRoles', 'authenticator.resetManagedRolesOnStartup'],
  *find({ authenticator: { base } }) {
    if (!base.resetManagedRolesOnStartup || base.manageRoles) return
    yield {
      path: 'authenticator.resetManagedRolesOnStartup',
      message: "needs 'authenticator.manageRoles: true': without it there is nothing to reset",
    }
  },
}

/** Findings of these keep the hub from starting. */
export const refusals: readonly Check[] = [
  plainHttp,
  testAuthenticator,
  callbackUrl,
  serviceCallbacks,
  serviceScopes,
  secretVariables,
  contradictoryUrls,
  contradictoryPages,
  contradictoryUsers,
  userMap,
  managedRoles,
  ...roleChecks,
]

/** Security checklist A2-18: such a config starts and lets nobody in; `config check` fails. */
export const allowRule: Check = {
  reads: ['authenticator.allowAll', 'authenticator.allowedUsers', 'authenticator.driver'],
  *find({ authenticator: { base, options, driver } }) {
    const own =
      driver.allows?.(options as never) ??
      Object.entries(options).some(([name, value]) => name.startsWith('allow') && isRule(value))
    const { allowedUsers, allowedGroups } = base
    const names = allowedUsers.length + allowedGroups.length > 0
    if (base.allowAll || base.allowExistingUsers || names || own) return
    yield {
      path: 'authenticator',
      message: 'no rule lets anybody in: name people in allowedUsers, or set allowAll (rule A2-18)',
    }
  },
}

function isRule(value: unknown): boolean {
  return typeof value === 'object' && value !== null
    ? Object.keys(value).length > 0
    : value === true
}

/** Names that can never match: harmless, and never meant. */
export const unmatchableNames: Check = {
  reads: [],
  *find({ hub, authenticator: { base } }) {
    const lists = {
      'hub.adminUsers': hub.adminUsers,
      'authenticator.adminUsers': base.adminUsers,
      'authenticator.allowedUsers': base.allowedUsers,
    }
    for (const [path, users] of Object.entries(lists)) {
      for (const [index, name] of users.entries()) {
        const normal = nameKey(name)
        if (normal === name) continue
        yield {
          path: `${path}[${index}]`,
          message: `'${name}' matches nobody, since names are compared in lower case: write '${normal}'`,
        }
      }
    }
  },
}
