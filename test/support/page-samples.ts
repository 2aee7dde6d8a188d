/** What routers hand to the views, one sample per face of each page. */
interface PageSample {
  readonly view: string
  readonly label: string
  readonly data: object
}

export const globals = {
  baseUrl: '/hub/',
  prefix: '/',
  version: '0.1.0',
  loginUrl: '/hub/login',
  logoutUrl: '/hub/logout',
  quickStart: false,
}

const visitor = { user: null, xsrfToken: 'the-token' }
const ada = { user: { name: 'ada', admin: true }, xsrfToken: 'the-token' }

const server = {
  name: '',
  displayName: '',
  userName: 'ada',
  state: 'stopped',
  url: '/user/ada/',
  spawnUrl: '/hub/spawn/ada',
  pendingUrl: '/hub/spawn-pending/ada',
  apiUrl: '/hub/api/users/ada/server',
  startedAt: null,
  lastActivity: '2026-11-22T01:06:00.000Z',
  exit: null,
}

const named = {
  ...server,
  name: 'thesis',
  displayName: 'Thesis',
  state: 'ready',
  url: '/user/ada/thesis/',
  apiUrl: '/hub/api/users/ada/servers/thesis',
  startedAt: '2026-11-22T01:00:00.000Z',
}

const shared = {
  name: '',
  ownerName: 'bob',
  state: 'ready',
  url: '/user/bob/',
  spawnUrl: '/hub/spawn/bob',
  mayOpen: true,
  mayStart: false,
}

const login = {
  ...visitor,
  next: '/hub/home',
  username: '',
  error: '',
  loginForm: null,
  loginService: null,
  loginServiceUrl: '',
  formAction: '/hub/login',
  noAllowRule: false,
}

const linkForm = {
  title: 'Log in with a link',
  help: 'Paste the part after #.',
  fields: [
    {
      name: 'secret',
      label: 'Secret',
      type: 'password',
      autocomplete: 'off',
      fromFragment: true,
    },
  ],
}

const notRunning = {
  ...ada,
  server,
  forUser: null,
  spawnUrl: '/hub/spawn/ada',
  exit: null,
  hint: '',
  logTail: [],
  next: '/user/ada/lab',
}

const failed = {
  exit: { cause: 'command-not-found', message: 'No such command.', code: 127 },
  hint: 'Set spawner.cmd.',
  logTail: ['first line', '<second>'],
}

const spawn = {
  ...ada,
  server,
  forUser: null,
  formAction: '/hub/spawn/ada',
  error: '',
  confirm: true,
  title: '',
}

const consent = {
  ...ada,
  clientDescription: 'Server at /user/bob/',
  redirectUri: '/user/bob/oauth_callback',
  scopes: [
    { raw: 'access:servers!server=bob/', description: 'Access servers.', filter: 'bob/ only' },
    { raw: 'identify', description: '', filter: '' },
  ],
  identifyOnly: false,
  formAction: '',
}

const offer = {
  ...ada,
  code: 'the-code',
  ownerName: 'bob',
  serverName: '',
  serverUrl: '/user/bob/',
  isReady: true,
  scopes: [{ raw: 'access:servers', description: 'Open servers.', filter: '' }],
  landing: '/user/bob/',
  expiresAt: '2026-11-23T01:06:00.000Z',
  formAction: '/hub/accept-share?code=the-code',
}

const pending = {
  ...ada,
  server: { ...server, state: 'starting' },
  forUser: null,
  progressUrl: '/hub/api/users/ada/server/progress',
  apiUrl: '/hub/api/users/ada/server',
  nextUrl: '/user/ada/lab',
  events: [{ progress: 30, message: 'Launched' }],
  startedAt: '2026-11-22T01:06:00.000Z',
}

const token = {
  id: 'a1',
  note: 'Backup script',
  createdAt: '2026-11-20T01:06:00.000Z',
  usedAt: null,
  expiresAt: '2026-12-20T01:06:00.000Z',
  scopes: [{ raw: 'read:servers!user', description: 'Read servers', filter: 'only your own' }],
}

const noTokens = {
  ...ada,
  secret: '',
  error: '',
  note: '',
  tokens: [],
  serverTokens: [],
  applications: [],
  choices: [
    { value: '3600', label: '1 hour', isDefault: true },
    { value: '', label: 'Never', isDefault: false },
  ],
  offered: token.scopes,
  apiUrl: '/hub/api/users/ada/tokens',
  mayChange: true,
}

const failure = {
  ...ada,
  status: 503,
  statusText: 'Service Unavailable',
  message: 'The proxy does not answer.',
  hint: 'Try again in a few seconds.',
  requestId: 'a1b2',
  retryUrl: '/hub/home',
  homeUrl: '/hub/home',
}

export const samples: readonly PageSample[] = [
  { view: 'login', label: 'form', data: login },
  {
    view: 'login',
    label: 'refused',
    data: {
      ...login,
      username: 'ada',
      error: 'Invalid username or password',
      noAllowRule: true,
      announcement: 'Maintenance on Friday.',
    },
  },
  { view: 'login', label: 'link', data: { ...login, loginForm: linkForm, quickStart: true } },
  {
    view: 'login',
    label: 'service',
    data: { ...login, loginService: 'Campus', loginServiceUrl: '/hub/oauth_login' },
  },
  {
    view: 'home',
    label: 'stopped',
    data: { ...ada, server, servers: [], allowNamedServers: false },
  },
  {
    view: 'home',
    label: 'named',
    data: {
      ...ada,
      server: { ...server, exit: { cause: 'killed', message: 'It was killed.' } },
      servers: [named],
      allowNamedServers: true,
      invalidNames: [],
      addError: '',
      typedName: '',
    },
  },
  {
    view: 'home',
    label: 'refused',
    data: {
      ...ada,
      server,
      servers: [{ ...named, name: 'Old_Name' }],
      allowNamedServers: true,
      invalidNames: ['Old_Name'],
      addError: 'User ada already has the maximum of 1 named servers.',
      typedName: 'Second',
    },
  },
  {
    view: 'home',
    label: 'shared',
    data: {
      ...ada,
      server,
      servers: [],
      allowNamedServers: false,
      shared: [
        shared,
        { ...shared, name: 'thesis', state: 'stopped', mayStart: true },
        { ...shared, ownerName: 'cy', state: 'stopped' },
      ],
      unlistedShares: 2,
    },
  },
  { view: 'token', label: 'none', data: noTokens },
  {
    view: 'token',
    label: 'made',
    data: {
      ...noTokens,
      secret: 'the-secret',
      tokens: [token, { ...token, id: 'a2', note: '', expiresAt: null }],
      serverTokens: [{ ...token, id: 'a3', note: 'Server at /user/ada/' }],
      applications: [{ ...token, id: 'a4', note: 'Grades', count: 2 }],
    },
  },
  {
    view: 'token',
    label: 'refused',
    data: { ...noTokens, error: 'unknown scopes: "x"', note: 'Mine', tokens: [token] },
  },
  { view: 'token', label: 'read only', data: { ...noTokens, tokens: [token], mayChange: false } },
  { view: 'spawn', label: 'confirm', data: spawn },
  {
    view: 'spawn',
    label: 'error',
    data: { ...spawn, forUser: 'grace', error: 'Too many servers.', confirm: false },
  },
  { view: 'spawn-pending', label: 'starting', data: pending },
  {
    view: 'stop-pending',
    label: 'stopping',
    data: { ...ada, server: { ...named, state: 'stopping' }, forUser: 'grace' },
  },
  { view: 'not-running', label: 'stopped', data: notRunning },
  { view: 'not-running', label: 'failed', data: { ...notRunning, ...failed } },
  {
    view: 'not-running',
    label: 'crashed',
    data: { ...notRunning, ...failed, exit: { ...failed.exit, wasReady: true, crashed: true } },
  },
  { view: 'logout', label: 'plain', data: visitor },
  { view: 'logout', label: 'automatic', data: { ...visitor, autoLogin: true } },
  {
    view: 'authenticator',
    label: 'form',
    data: {
      ...visitor,
      page: {
        title: 'Sign up',
        error: 'That name is taken.',
        text: ['Somebody approves it.'],
        form: {
          action: '/hub/signup',
          submit: 'Sign up',
          hidden: { step: '2' },
          fields: [
            { name: 'username', label: 'Username', type: 'text', autocomplete: 'username' },
            { name: 'password', label: 'Password', type: 'password', autocomplete: 'new-password' },
          ],
        },
        links: [{ label: 'Log in', path: '/hub/login' }],
      },
    },
  },
  {
    view: 'authenticator',
    label: 'list',
    data: {
      ...ada,
      page: {
        title: 'Sign-ups',
        entries: [
          {
            title: 'zoe',
            detail: 'since 2026-11-22',
            buttons: [
              { action: '/hub/signups', submit: 'Approve', hidden: { name: 'zoe' }, fields: [] },
            ],
          },
        ],
      },
    },
  },
  { view: 'lead-on', label: 'plain', data: { ...visitor, url: '/hub/spawn' } },
  { view: 'logout-confirm', label: 'plain', data: { ...ada, formAction: '/hub/logout' } },
  { view: 'accept-share', label: 'ready', data: offer },
  {
    view: 'accept-share',
    label: 'stopped',
    data: { ...offer, serverName: 'thesis', isReady: false, landing: '/user/bob/thesis/lab' },
  },
  { view: 'oauth', label: 'scopes', data: consent },
  { view: 'oauth', label: 'identify', data: { ...consent, scopes: [], identifyOnly: true } },
  { view: 'error', label: '503', data: failure },
  { view: 'error', label: 'starting', data: { ...failure, reloadAfter: 3 } },
  { view: 'error', label: 'crashed', data: { ...failure, startUrl: '/hub/user/ada/lab' } },
  {
    view: 'api-docs',
    label: 'one call',
    data: {
      ...visitor,
      apiUrl: '/hub/api',
      groups: [
        {
          name: 'users',
          operations: [
            {
              id: 'get_users',
              method: 'GET',
              path: '/users',
              summary: 'List users',
              scopes: ['list:users', 'users'],
              query: ['limit'],
              body: '{}',
              answers: [{ status: '200', description: 'OK', body: '{}' }],
            },
          ],
        },
      ],
    },
  },
  {
    view: '404',
    label: 'plain',
    data: { ...failure, status: 404, statusText: 'Not Found', message: '', retryUrl: '' },
  },
]

const attack = `javascript:alert(1)"><img src=x onerror='alert(1)'>`
const kept = new Set(['state', 'cause', 'name', 'type', 'startedAt', 'lastActivity'])

/** The same data with an attack in every text that is not a keyword to the views. */
export function hostile(data: unknown, key = ''): object {
  return attacked(data, key) as object
}

function attacked(value: unknown, key: string): unknown {
  if (typeof value === 'string') return kept.has(key) ? value : attack
  if (Array.isArray(value)) return value.map((item) => attacked(item, key))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => [name, attacked(item, name)]),
  )
}
