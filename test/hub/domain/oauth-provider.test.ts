import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { type Access, type Caller, createAccess } from '../../../hub/domain/access.ts'
import { Changes } from '../../../hub/domain/changes.ts'
import { createOauthProvider, type Parameters } from '../../../hub/domain/oauth-provider.ts'
import { createEvents, type HubEvent } from '../../../hub/events.ts'
import { type Database, openDatabase } from '../../../hub/store/database.ts'
import { oauthStore } from '../../../hub/store/oauth.ts'
import { roleStore } from '../../../hub/store/roles.ts'
import { serverStore } from '../../../hub/store/servers.ts'
import { sessionStore } from '../../../hub/store/sessions.ts'
import { tokenStore } from '../../../hub/store/tokens.ts'
import { type User, userStore } from '../../../hub/store/users.ts'
import { defaultRoles } from '../../../packages/core/scopes.ts'

const folder = mkdtempSync(join(tmpdir(), 'portico-oauth-'))
const clientId = 'jupyterhub-user-ada'
const secret = 'the-own-token-of-the-server'
const redirectUri = '/user/ada/oauth_callback'
const verifier = 'v'.repeat(43)
/** From a JupyterHub 6 server: S256 of 43 times `v`. */
const challenge = '7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM'

let database: Database
let access: Access
const changes = new Changes()
const events = createEvents()
let now = new Date('2026-11-22T12:00:00Z')
const clock = () => now
let ada: User | null = null
let bob: User | null = null
let boss: User | null = null
let serverId = 0

before(async () => {
  database = await openDatabase(join(folder, 'oauth.sqlite'))
  await roleStore(database).define(defaultRoles)
  const [users, sessions] = [userStore(database), sessionStore(database)]
  const [tokens, roles] = [tokenStore(database), roleStore(database)]
  access = createAccess({ users, sessions, tokens, roles, changes, clock })
  ada = await users.create('ada', { admin: false, now })
  bob = await users.create('bob', { admin: false, now })
  boss = await users.create('boss', { admin: true, now })
  const row = { userId: ada?.id ?? 0, name: '', spawner: 'simple', userOptions: null }
  serverId = (
    await serverStore(database).beginStart({ ...row, displayName: null, now, deadline: now })
  ).id
})
beforeEach(() => register())
after(async () => {
  await database[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

async function register(change: { requirePkce?: boolean; allowedScopes?: readonly string[] } = {}) {
  await oauthStore(database).registerClient({
    identifier: clientId,
    description: 'Server at /user/ada/',
    secret,
    redirectUri,
    allowedScopes: ['access:servers!server=ada/'],
    requirePkce: false,
    serverId,
    ...change,
  })
}

function provider(more: { requirePkce?: boolean; issuer?: string } = {}) {
  return createOauthProvider({
    oauth: oauthStore(database),
    tokens: tokenStore(database),
    users: userStore(database),
    roles: roleStore(database),
    access,
    changes,
    events,
    clock,
    tokenSeconds: 3600,
    requirePkce: more.requirePkce ?? false,
    issuer: more.issuer ?? null,
  })
}

/** The user in a fresh browser session. */
async function browserOf(user: User | null): Promise<Caller> {
  assert.ok(user)
  const made = await sessionStore(database).create({
    userId: user.id,
    browserSessionId: 'b'.repeat(32),
    createdAt: now,
    expiresAt: new Date(now.getTime() + 86_400_000),
    cookieKeyId: 'key',
    provider: 'test',
    admin: user.admin,
  })
  const caller = await access.ofSession(made.secret)
  assert.ok(caller)
  return caller
}

type Values = Readonly<Record<string, string | readonly string[] | undefined>>

function parameters(values: Values): Parameters {
  return new Map(
    Object.entries(values).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, [value].flat()] as const],
    ),
  )
}

const authorizeValues = {
  client_id: clientId,
  redirect_uri: redirectUri,
  response_type: 'code',
  state: 'a b&c=é',
}
const tokenValues = {
  grant_type: 'authorization_code',
  client_id: clientId,
  client_secret: secret,
  redirect_uri: redirectUri,
}

async function authorize(values: Values = {}, more: Visit = {}) {
  const caller = more.caller ?? (await browserOf(ada))
  return (more.provider ?? provider()).authorize(
    parameters({ ...authorizeValues, ...values }),
    caller,
    more.consented ?? null,
  )
}
interface Visit {
  readonly caller?: Caller
  readonly consented?: readonly string[] | 'denied' | null
  readonly provider?: ReturnType<typeof provider>
}

/** Where the browser is sent, as an url. */
async function redirected(values: Values = {}, more: Visit = {}): Promise<URL> {
  const answer = await authorize(values, more)
  assert.equal(answer.kind, 'redirect', JSON.stringify(answer))
  return new URL(answer.kind === 'redirect' ? answer.location : '', 'http://hub.test')
}

async function codeFor(values: Values = {}, more: Visit = {}): Promise<string> {
  const code = (await redirected(values, more)).searchParams.get('code')
  assert.ok(code)
  return code
}

const exchange = (values: Values) => provider().token(parameters({ ...tokenValues, ...values }))

async function tokenFor(values: Values): Promise<string> {
  const answer = await exchange(values)
  assert.equal(answer.kind, 'token', JSON.stringify(answer))
  return answer.kind === 'token' ? answer.accessToken : ''
}

async function refused(values: Values, error: string, status = 400): Promise<void> {
  const answer = await exchange(values)
  assert.equal(answer.kind, 'error', JSON.stringify(values))
  if (answer.kind === 'error')
    assert.deepEqual([answer.status, answer.error], [status, error], answer.description)
}

describe('the authorize endpoint', () => {
  it('sends the owner back with a code and the state as it was', async () => {
    const url = await redirected()
    assert.equal(url.pathname, redirectUri)
    assert.equal(url.searchParams.get('state'), authorizeValues.state)
    assert.equal(url.searchParams.get('iss'), null)
    const named = await redirected({}, { provider: provider({ issuer: 'https://hub.test/' }) })
    assert.equal(named.searchParams.get('iss'), 'https://hub.test/')
  })

  it('needs neither state nor redirect URI, as on the wire', async () => {
    const url = await redirected({ state: undefined, redirect_uri: undefined })
    assert.equal(url.pathname, redirectUri)
    assert.ok(!url.searchParams.has('state'))
  })

  it('redirects nobody for an unknown client, a wrong redirect URI or a repeated parameter', async () => {
    const wrong: readonly Values[] = [
      { client_id: undefined },
      { client_id: '' },
      { client_id: 'jupyterhub-user-nobody' },
      { client_id: 'jupyterhub' },
      `${redirectUri}/`,
      redirectUri.slice(0, -1),
      `${redirectUri}?x=1`,
      `${redirectUri}#x`,
      '/user/ada/OAUTH_callback',
      `http://evil.test${redirectUri}`,
      `//evil.test`,
      ' ',
      '',
    ].map((entry) => (typeof entry === 'string' ? { redirect_uri: entry } : entry))
    const repeated = Object.entries(authorizeValues).map(([name, value]) => ({
      [name]: [value, value],
    }))
    for (const values of [...wrong, ...repeated, { scope: ['a', 'b'] }, { nonsense: ['1', '2'] }]) {
      const answer = await authorize(values)
      assert.equal(answer.kind, 'refused', JSON.stringify(values))
      if (answer.kind === 'refused') assert.equal(answer.status, 400)
    }
  })

  it('tells the client of its own mistakes', async () => {
    const cases: readonly (readonly [Values, string])[] = [
      [{ response_type: undefined }, 'invalid_request'],
      [{ response_type: 'token' }, 'unsupported_response_type'],
      [{ response_type: 'code token' }, 'unsupported_response_type'],
      [{ scope: 'no:such' }, 'invalid_scope'],
      [{ scope: `x"\\\u00e9${'y'.repeat(500)}` }, 'invalid_scope'],
      [{ scope: 'admin:users' }, 'invalid_scope'],
      [{ scope: 'access:servers' }, 'invalid_scope'],
      [{ scope: 'inherit' }, 'invalid_scope'],
      [{ scope: 'self' }, 'invalid_scope'],
      [{ code_challenge: challenge, code_challenge_method: 'S512' }, 'invalid_request'],
      [{ code_challenge: 'short', code_challenge_method: 'S256' }, 'invalid_request'],
      [{ code_challenge_method: 'S256' }, 'invalid_request'],
    ]
    for (const [values, error] of cases) {
      const url = await redirected(values)
      assert.equal(url.searchParams.get('error'), error, JSON.stringify(values))
      assert.match(`${url.searchParams.get('error_description')}`, /^[ !#-[\]-~]{1,200}$/)
      assert.equal(url.searchParams.get('state'), authorizeValues.state)
      assert.ok(!url.searchParams.has('code'))
    }
  })

  it('refuses with 403 who has no access, on the first visit and on a posted form', async () => {
    const caller = await browserOf(bob)
    for (const consented of [null, ['access:servers!server=ada/'], [], 'denied'] as const) {
      const answer = await authorize({}, { caller, consented })
      assert.equal(answer.kind, 'refused', String(consented))
      if (answer.kind === 'refused') assert.equal(answer.status, 403)
    }
  })

  it('refuses callers without a browser session', async () => {
    const { secret: token } = await tokenStore(database).issue(
      { userId: ada?.id ?? 0, scopes: ['inherit'], note: '', expiresAt: null },
      now,
    )
    const caller = await access.ofToken(token)
    assert.ok(caller)
    assert.equal((await authorize({}, { caller })).kind, 'refused')
    assert.equal((await authorize({}, { caller: access.operator() })).kind, 'refused')
  })

  it('asks others than the owner first, and again only for more', async () => {
    const caller = await browserOf(boss)
    const asked = await authorize({}, { caller })
    assert.equal(asked.kind, 'consent')
    const scopes = asked.kind === 'consent' ? asked.scopes.map(({ raw }) => raw) : []
    assert.ok(scopes.includes('access:servers!server=ada/'))
    const denied = await redirected({}, { caller, consented: 'denied' })
    assert.equal(denied.searchParams.get('error'), 'access_denied')
    assert.equal(denied.searchParams.get('state'), authorizeValues.state)
    await tokenFor({ code: await codeFor({}, { caller, consented: scopes }) })
    assert.equal((await authorize({}, { caller })).kind, 'redirect')
  })

  it('grants no more than was asked, allowed and consented to', async () => {
    const caller = await browserOf(boss)
    const consented = ['access:servers!server=ada/', 'admin:users', 'inherit', 'servers!user=ada']
    const token = await tokenFor({ code: await codeFor({}, { caller, consented }) })
    const scopes = (await access.ofToken(token))?.scopes
    assert.deepEqual([...(scopes ?? [])].toSorted(), [
      'access:servers!server=ada/',
      'read:users:groups!user=boss',
      'read:users:name!user=boss',
    ])
  })
})

describe('PKCE', () => {
  const withPkce = { code_challenge: challenge, code_challenge_method: 'S256' }

  it("takes JupyterHub's test vector", async () => {
    assert.equal(createHash('sha256').update(verifier).digest('base64url'), challenge)
    await tokenFor({ code: await codeFor(withPkce), code_verifier: verifier })
  })

  it('takes plain where it is not required, also unnamed', async () => {
    for (const code_challenge_method of ['plain', undefined]) {
      const code = await codeFor({ code_challenge: verifier, code_challenge_method })
      await tokenFor({ code, code_verifier: verifier })
    }
  })

  it('is demanded as S256 of clients and hubs that require it', async () => {
    await register({ requirePkce: true })
    const ask = [{}, { code_challenge: verifier }, { ...withPkce, code_challenge_method: 'plain' }]
    for (const values of ask)
      assert.equal((await redirected(values)).searchParams.get('error'), 'invalid_request')
    await tokenFor({ code: await codeFor(withPkce), code_verifier: verifier })
    await register()
    const strict = provider({ requirePkce: true })
    const url = await redirected({}, { provider: strict })
    assert.equal(url.searchParams.get('error'), 'invalid_request')
  })

  it('cannot be left out, guessed or added afterwards, and a wrong try does not use up the code', async () => {
    const code = await codeFor(withPkce)
    await refused({ code }, 'invalid_request')
    await refused({ code, code_verifier: '' }, 'invalid_grant')
    await refused({ code, code_verifier: challenge }, 'invalid_grant')
    await refused({ code, code_verifier: `${verifier}v` }, 'invalid_grant')
    await refused({ code, code_verifier: [verifier, verifier] }, 'invalid_request')
    await tokenFor({ code, code_verifier: verifier })
    await refused({ code: await codeFor(), code_verifier: verifier }, 'invalid_grant')
  })
})

describe('the token endpoint', () => {
  it('gives a token for this server alone, bound to session and user', async () => {
    const token = await tokenFor({ code: await codeFor() })
    const caller = await access.ofToken(token)
    assert.equal(caller?.name, 'ada')
    assert.ok(caller.proof.kind === 'token')
    assert.equal(caller.proof.token.browserSessionId, 'b'.repeat(32))
    assert.equal(caller.proof.token.expiresAt?.getTime(), now.getTime() + 3_600_000)
    assert.deepEqual([...caller.scopes].toSorted(), [
      'access:servers!server=ada/',
      'read:users:groups!user=ada',
      'read:users:name!user=ada',
    ])
  })

  it('names what is wrong with a request in the words of RFC 6749', async () => {
    const code = await codeFor()
    await refused({ code, client_secret: undefined }, 'invalid_client', 401)
    await refused({ code, client_secret: '' }, 'invalid_client', 401)
    await refused({ code, client_secret: `${secret} ` }, 'invalid_client', 401)
    await refused({ code, client_id: 'jupyterhub-user-bob' }, 'invalid_client', 401)
    await refused({ code, client_id: undefined }, 'invalid_client', 401)
    await refused({ code, grant_type: undefined }, 'unsupported_grant_type')
    for (const grant of ['password', 'client_credentials', 'refresh_token', 'implicit'])
      await refused({ code, grant_type: grant }, 'unsupported_grant_type')
    await refused({ code: undefined }, 'invalid_request')
    await refused({ code: 'x' }, 'invalid_grant')
    await refused({ code: [code, code] }, 'invalid_request')
    for (const uri of [`${redirectUri}x`, `http://hub.test${redirectUri}`, ''])
      await refused({ code, redirect_uri: uri }, 'invalid_request')
    await tokenFor({ code, redirect_uri: undefined })
  })

  it('takes a code once; a second use revokes what the first one gave', async () => {
    const told: HubEvent[] = []
    const forget = events.on((event) => told.push(event))
    const code = await codeFor()
    const token = await tokenFor({ code })
    const caller = await access.ofToken(token)
    assert.ok(caller?.proof.kind === 'token')
    await refused({ code }, 'invalid_grant')
    assert.equal(await access.ofToken(token), null)
    await refused({ code }, 'invalid_grant')
    forget()
    const about = { user: 'ada', token: `a${caller.proof.token.id}` }
    assert.deepEqual(told, [
      { kind: 'token-issued', ...about, by: clientId },
      { kind: 'token-revoked', ...about, by: 'hub' },
    ])
  })

  it('gives one token when a code is used twice at the same time', async () => {
    const code = await codeFor()
    const answers = await Promise.all([exchange({ code }), exchange({ code }), exchange({ code })])
    assert.equal(answers.filter(({ kind }) => kind === 'token').length, 1)
  })

  it('refuses a code after 60 seconds', async () => {
    const start = now
    const code = await codeFor()
    now = new Date(start.getTime() + 59_999)
    await tokenFor({ code })
    const late = await codeFor()
    now = new Date(now.getTime() + 60_000)
    await refused({ code: late }, 'invalid_grant')
    now = start
  })

  it("refuses another client's code without using it up", async () => {
    const oauth = oauthStore(database)
    await oauth.registerClient({
      identifier: 'jupyterhub-user-ada-other',
      description: 'other',
      secret: 'other',
      redirectUri,
      allowedScopes: [],
      requirePkce: false,
      serverId,
    })
    const code = await codeFor()
    const other = { client_id: 'jupyterhub-user-ada-other', client_secret: 'other' }
    await refused({ code, ...other }, 'invalid_grant')
    await tokenFor({ code })
  })

  it('checks access again: a login that ended or a right that is gone gives nothing', async () => {
    const caller = await browserOf(ada)
    const code = await codeFor({}, { caller })
    assert.ok(caller.proof.kind === 'session')
    await sessionStore(database).delete(caller.proof.session.id)
    changes.touchAll()
    await refused({ code }, 'invalid_grant')

    const byBoss = await browserOf(boss)
    const consented = ['access:servers!server=ada/']
    const late = await codeFor({}, { caller: byBoss, consented })
    await userStore(database).setAdmin('boss', false)
    changes.touchAll()
    await refused({ code: late }, 'invalid_grant')
    await userStore(database).setAdmin('boss', true)
  })

  it('forgets codes and tokens of a server that was started again', async () => {
    const [code, used] = [await codeFor(), await codeFor()]
    const token = await tokenFor({ code: used })
    await register()
    changes.touchAll()
    await refused({ code }, 'invalid_grant')
    assert.equal(await access.ofToken(token), null)
  })

  it('stores neither codes nor tokens in clear', async () => {
    const code = await codeFor()
    const token = await tokenFor({ code })
    const codes = await database.db.selectFrom('oauth_codes').selectAll().execute()
    const tokens = await database.db.selectFrom('api_tokens').selectAll().execute()
    const clients = await database.db.selectFrom('oauth_clients').selectAll().execute()
    const stored = JSON.stringify([codes, tokens, clients])
    for (const text of [code, token, secret]) assert.ok(!stored.includes(text))
  })
})
