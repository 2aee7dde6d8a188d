import { z } from 'zod'
import type { Identity } from '../../packages/core/authenticator.ts'
import type { Json } from '../../packages/core/spawner.ts'
import { namedServerOptions } from './named-servers.ts'
import { customScopesSchema, groupsSchema, roleSchema } from './roles.ts'
import {
  basePath,
  count,
  hook,
  httpUrl,
  landingUrl,
  listenUrl,
  seconds,
  userNames,
} from './values.ts'

/**
 * The options of `hub`. Each comment ends with JupyterHub's name where ours is not simply its
 * camelCase form; `docs/options.md` lists all names and every default that differs.
 */
export const hubSchema = z.strictObject({
  /** Where the proxy listens for browsers. A path here is the base url. */
  bindUrl: listenUrl.prefault('http://127.0.0.1:8000'),
  /** Path prefix of everything. Default: the path of `bindUrl`. */
  baseUrl: basePath.optional(),
  /** The url that browsers use when a front end stands before Portico, with the base url. */
  publicUrl: z
    .string()
    .transform((text) => (text.includes('://') ? text : `https://${text}`))
    .pipe(httpUrl)
    .optional(),
  /** Where the hub itself listens for the proxy and for servers. */
  hubBindUrl: listenUrl.prefault('http://127.0.0.1:8081'),
  /** The url by which proxy and servers reach the hub. Default: `hubBindUrl`. */
  hubConnectUrl: httpUrl.optional(),
  /** Folder of database, secrets and logs, private to the hub's account. No JupyterHub name. */
  dataDir: z.string().min(1).optional(),
  /** Admins from the start. Naming somebody here does not let them in: see `allowedUsers`. */
  adminUsers: userNames.default([]),
  /** Days for which a login is valid. */
  cookieMaxAgeDays: z.number().positive().default(14),
  /** Seconds after which a browser that nobody uses is logged out. 0: never. No JupyterHub name. */
  sessionIdleTimeout: seconds.default(0),
  /** Gives the login cookie the `__Host-` prefix. Needs an https `publicUrl`. */
  cookieHostPrefixEnabled: z.boolean().default(false),
  /** Stops all servers when the hub stops. */
  cleanupServers: z.boolean().default(false),
  /** Stops the proxy when the hub stops. */
  cleanupProxy: z.boolean().default(false),
  /** Sends people to their server after login, rather than to the home page. */
  redirectToServer: z.boolean().default(true),
  /** Where people land after login; empty: server or home page. */
  defaultUrl: landingUrl.default(''),
  /** Stops a user's servers at logout. */
  shutdownOnLogout: z.boolean().default(false),
  /** Starts that may be under way at once; further ones get 429. 0: no limit. */
  concurrentSpawnLimit: count.default(100),
  /** Servers that may exist at once; further starts get 429. 0: no limit. */
  activeServerLimit: count.default(0),
  ...namedServerOptions,
  /** Seconds; activity closer than this to the last one is not written. 0: every one is. */
  activityResolution: seconds.default(30),
  /** Seconds between two rounds of collecting activity and checking routes. */
  lastActivityInterval: z.number().positive().default(300),
  /** Seconds between two looks at whether services answer; only the log tells. 0: never. */
  serviceCheckInterval: seconds.default(60),
  /** Seconds that a start of the hub waits for servers of the last run; then it goes on meanwhile. */
  initSpawnersTimeout: z.number().default(10),
  /** Seconds after which the API answers 202 to a start that still goes on. */
  slowSpawnTimeout: seconds.default(10),
  /** Seconds after which the API answers 202 to a stop that still goes on. */
  slowStopTimeout: seconds.default(10),
  /** Seconds for which OAuth tokens are valid. Default: `cookieMaxAgeDays`. */
  oauthTokenExpiresIn: z.int().positive().optional(),
  /** Demands PKCE (S256) of every OAuth client; servers of JupyterHub 3 to 5 cannot do it. */
  oauthRequirePkce: z.boolean().default(false),
  /** Longest life in seconds of a token made through the API. 0: no limit. */
  tokenExpiresInMaxSeconds: count.default(0),
  /** Roles besides the default ones, and who has them; a default role keeps what is not given. */
  loadRoles: z.array(roleSchema).default([]),
  /** Groups that exist from the start: members are added, properties replaced. */
  loadGroups: groupsSchema.default({}),
  /** Scopes that services define for themselves; names begin with `custom:`. */
  customScopes: customScopesSchema.default({}),
  /** Scopes that the role `user` has besides `self`. */
  extraUserScopes: z.array(z.string().min(1)).default([]),
  /** Page size for API clients that ask for pages. */
  apiPageDefaultLimit: z.int().positive().default(50),
  /** Largest page, and what clients get that do not ask for pages. */
  apiPageMaxLimit: z.int().positive().default(200),
  /** Answers 503 instead of 424 for a server that does not run. */
  useLegacyStoppedServerStatusCode: z.boolean().default(false),
  /** Asks for the scope `read:metrics` before metrics are shown. */
  authenticatePrometheus: z.boolean().default(true),
  /** File for what happens, one JSON line an event; relative to the config file. JupyterHub: `EventLog.handlers`. */
  eventLogFile: z.string().min(1).optional(),
  /** Folders with templates that replace built-in ones; relative to the config file. */
  templatePaths: z.array(z.string().min(1)).default([]),
  /** Least level that is logged. */
  logLevel: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
  /** Accepts passwords over plain http on a routable address. No JupyterHub name. */
  allowPlainHttp: z.boolean().default(false),
})

/** Receives what the authenticator found; its result is used instead, and null refuses the login. */
export type PostAuthHook = (identity: Identity) => Identity | null | Promise<Identity | null>

/** Options of every authenticator, next to its own. */
export const authenticatorSchema = z.strictObject({
  /** Lets in everybody who can log in. */
  allowAll: z.boolean().optional(),
  /** Who may come in. */
  allowedUsers: userNames.default([]),
  /** Who may not come in, whatever else says so. */
  blockedUsers: userNames.default([]),
  /** Made admins when they log in. Naming somebody here does not let them in. */
  adminUsers: userNames.default([]),
  /** Lets in users the database knows. Default: true when `allowedUsers` names somebody. */
  allowExistingUsers: z.boolean().optional(),
  /**
   * Whether an account at a provider may become an existing user of its name that has no account
   * there yet: nobody, everybody, or these users. No JupyterHub name.
   */
  linkExisting: z.union([z.boolean(), userNames]).default(false),
  /** Whole names must match this regular expression. Empty: every name. */
  usernamePattern: z
    .union([z.string(), z.instanceof(RegExp)])
    .default('')
    .transform(asPattern),
  /** From the name at the provider, in lower case, to the name here. Applied once. */
  usernameMap: z.record(z.string(), z.string()).default({}),
  /** Lets in members of these groups; for authenticators without such an option of their own. */
  allowedGroups: userNames.default([]),
  /** Makes members of these groups admins at login, and nobody else but `adminUsers`. */
  adminGroups: userNames.default([]),
  /** Groups are those that the authenticator names, replaced at each login and refresh. */
  manageGroups: z.boolean().default(false),
  /** The authenticator gives roles, replaced at each login and refresh. */
  manageRoles: z.boolean().default(false),
  /** At each start, roles and members that the authenticator gave and does not know any more are gone. */
  resetManagedRolesOnStartup: z.boolean().default(false),
  /** Goes on to the authenticator without showing the login page. */
  autoLogin: z.boolean().default(false),
  /** The same, only for logins that an OAuth client, such as a server, has asked for. */
  autoLoginOauth2Authorize: z.boolean().default(false),
  /** Asks on the login form for a one-time password, for authenticators that can use a second answer. */
  requestOtp: z.boolean().default(false),
  /** What stands beside that field. */
  otpPrompt: z.string().min(1).default('OTP:'),
  /** Template that replaces the form of the login page. Trusted: whatever it says is shown. */
  customHtml: z.string().default(''),
  /** Keeps what the authenticator knows of people (tokens of a provider), encrypted. Needs `JUPYTERHUB_CRYPT_KEY`. */
  enableAuthState: z.boolean().default(false),
  /** Seconds after which the authenticator is asked again about somebody who is logged in. 0: never. */
  authRefreshAge: seconds.default(300),
  /** Asks again before each start of a server. */
  refreshPreSpawn: z.boolean().default(false),
  /** Asks again before each stop of a server. */
  refreshPreStop: z.boolean().default(false),
  /** Stops the servers of people who are not let in any more. No JupyterHub name. */
  stopServersOfRefused: z.boolean().default(false),
  /** Deletes users at start whom the authenticator does not know any more. */
  deleteInvalidUsers: z.boolean().default(false),
  /** Seconds after which a refused login is answered, whatever the reason. 0: at once. No JupyterHub name. */
  refusalTime: seconds.default(1),
  /** Wrong logins of one address at one name until it must wait between them. 0: it never must. No JupyterHub name. */
  freeFailures: count.default(10),
  /** Accepts an authenticator made for tests on a routable address. No JupyterHub name. */
  allowInsecureTestAuthenticator: z.boolean().default(false),
  /** Called after every login that succeeds, before the user is stored. */
  postAuthHook: hook<PostAuthHook>().optional(),
})

function asPattern(pattern: string | RegExp, context: z.RefinementCtx): RegExp | null {
  const source = typeof pattern === 'string' ? pattern : pattern.source
  if (source === '') return null
  try {
    const flags = typeof pattern === 'string' ? 'u' : pattern.flags.replaceAll(/[gmy]/g, '')
    return new RegExp(`^(?:${source})$`, flags)
  } catch (error) {
    context.issues.push({ code: 'custom', message: (error as Error).message, input: pattern })
    return z.NEVER
  }
}

/** The start that a hook is asked about. */
export interface SpawnRequest {
  readonly userName: string
  /** Empty for the default server. */
  readonly serverName: string
  /** What the user chose. Hostile input. */
  readonly userOptions: Json
  /** Variables for this one start; a `preSpawnHook` may add to them. They win over all others. */
  readonly environment: Record<string, string>
}

/**
 * Runs before each start; a throw fails the start with its message. A `HubError` of `portico/errors`
 * refuses it: the request is answered with the error's own status rather than with 500.
 */
export type PreSpawnHook = (request: SpawnRequest) => void | Promise<void>

/** Receives what the authenticator knows of the user, or null; may add to the environment. */
export type AuthStateHook = (request: SpawnRequest, authState: Json | null) => void | Promise<void>

const variableValue = z.union([
  z.string().refine((value) => !value.includes('\0'), { error: 'must not hold a NUL' }),
  hook<(request: SpawnRequest) => string>(),
])

const variableName = z.string().regex(/^[A-Za-z_]\w*$/, 'is no name of an environment variable')

/** Options of every spawner, next to its own. */
export const spawnerSchema = z.strictObject({
  /** Variables for the server, each a value or a function that gives it. They win over all others. */
  environment: z.record(variableName, variableValue).default({}),
  /** Variables that servers inherit from the hub, where set. */
  envKeep: z
    .array(variableName)
    .default([
      'JUPYTERHUB_SINGLEUSER_APP',
      'CONDA_DEFAULT_ENV',
      'CONDA_ROOT',
      'LANG',
      'LC_ALL',
      'LD_LIBRARY_PATH',
      'PATH',
      'PYTHONPATH',
      'VIRTUAL_ENV',
    ]),
  /** Seconds until a server must have been launched. */
  startTimeout: z.number().positive().default(60),
  /** Seconds until a launched server must answer HTTP. */
  httpTimeout: z.number().positive().default(30),
  /** Seconds after which a stop that does not end is reported as failed. No JupyterHub name. */
  stopTimeout: z.number().positive().default(90),
  /** Seconds between two looks at a running server. 0 or less: never. */
  pollInterval: z.number().default(30),
  /** Share of `pollInterval` by which each look is moved at random. */
  pollJitter: z.number().min(0).max(1).default(0.1),
  /** Root folder of the server; `{username}` is replaced. Empty: the spawner's choice. */
  notebookDir: z.string().default(''),
  /** First page of the server; `{username}` is replaced. Empty: the server's choice. */
  defaultUrl: z.string().default(''),
  /** Makes servers ignore the configuration in the user's home. */
  disableUserConfig: z.boolean().default(false),
  /** Makes servers log more. */
  debug: z.boolean().default(false),
  /** The url by which servers reach the hub, where it differs from `hub.hubConnectUrl`. */
  hubConnectUrl: httpUrl.optional(),
  /** Scopes that browsers' tokens for a server may get besides access to it. */
  oauthClientAllowedScopes: z.array(z.string().min(1)).default([]),
  /** Scopes of the server's own token. Empty: those of the `server` role. */
  serverTokenScopes: z.array(z.string().min(1)).default([]),
  /** Called before each start, and before `preSpawnHook`, with what the authenticator knows of the user. */
  authStateHook: hook<AuthStateHook>().optional(),
  /** Called before each start. */
  preSpawnHook: hook<PreSpawnHook>().optional(),
})

/** Options of every proxy, next to its own: none so far. */
export const proxySchema = z.strictObject({})
