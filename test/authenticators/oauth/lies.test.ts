import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  decodeProtectedHeader,
  exportSPKI,
  generateKeyPair,
  importJWK,
  jwtVerify,
  SignJWT,
} from 'jose'
import { HubError } from 'portico/errors'
import { oauthDrivers } from '../../../authenticators/oidc.ts'
import {
  answering,
  clientId,
  clientSecret,
  type FakeProvider,
  startFakeProvider,
} from '../../support/fake-provider.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { strategyLogin } from '../../support/strategy-login.ts'

const [oidc] = oauthDrivers.filter(({ name }) => name === 'oidc')
assert.ok(oidc)
const driver = oidc

async function login(t: TestContext, options: Readonly<Record<string, unknown>> = {}) {
  const provider = await startFakeProvider(t)
  provider.claims = { preferred_username: 'ada', name: 'Ada' }
  const login = await strategyLogin(driver, { issuer: provider.issuer, ...options })
  return { provider, login }
}

/** A 4xx or 503 that says nothing of tokens or codes. */
function isRefusal(error: unknown): boolean {
  assert.ok(error instanceof HubError, String(error))
  assert.ok(['invalid_request', 'unavailable'].includes(error.code), error.code)
  assert.doesNotMatch(error.message, /code-\d|access-token|eyJ|secret/)
  return true
}

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('oidc', () => {
  it('logs in with PKCE, state and nonce, by issuer and subject', async (t) => {
    const { provider, login: at } = await login(t)
    const outcome = await at.logIn()
    assert.ok(outcome.kind === 'identified')
    const { userName, issuer, subject, userInfo } = outcome.identity
    assert.deepEqual(
      { userName, issuer, subject, userInfo },
      {
        userName: 'ada',
        issuer: provider.issuer,
        subject: 'subject-1',
        userInfo: { display_name: 'Ada' },
      },
    )
    const [authorize] = provider.asked.filter(({ url }) => url.pathname === '/authorize')
    const asked = authorize?.url.searchParams
    assert.equal(asked?.get('code_challenge_method'), 'S256')
    assert.match(asked?.get('code_challenge') ?? '', /^[\w-]{43}$/)
    assert.ok((asked?.get('state') ?? '').length >= 43 && (asked?.get('nonce') ?? '').length >= 43)
    assert.equal(asked?.get('redirect_uri'), 'https://hub.test/hub/oauth_callback')
    const [token] = provider.asked.filter(({ url }) => url.pathname === '/token')
    assert.match(token?.form.get('code_verifier') ?? '', /^[\w-]{43}$/)
    assert.equal(token?.form.get('client_secret'), clientSecret)
    assert.equal(token?.url.search, '')
  })

  const inTheUrl: readonly [string, (url: URL) => void][] = [
    ['another state', (url) => url.searchParams.set('state', 'x'.repeat(43))],
    ['no state', (url) => url.searchParams.delete('state')],
    ['two states', (url) => url.searchParams.append('state', url.searchParams.get('state') ?? '')],
    ['another issuer', (url) => url.searchParams.set('iss', 'https://evil.test')],
    ['no issuer', (url) => url.searchParams.delete('iss')],
    ['two codes', (url) => url.searchParams.append('code', 'code-9')],
    ['no code', (url) => url.searchParams.delete('code')],
    ['an unknown code', (url) => url.searchParams.set('code', 'code-99')],
    [
      'an error',
      (url) => (url.searchParams.delete('code'), url.searchParams.set('error', 'server_error')),
    ],
    [
      'no consent',
      (url) => (url.searchParams.delete('code'), url.searchParams.set('error', 'access_denied')),
    ],
    ['an ID token in the url', (url) => url.searchParams.set('id_token', 'x.y.z')],
  ]
  for (const [lie, answerUrl] of inTheUrl)
    it(`refuses an answer with ${lie}`, async (t) => {
      const { provider, login: at } = await login(t)
      provider.answerUrl = answerUrl
      await assert.rejects(at.logIn(), isRefusal)
    })

  const soon = (): number => Math.floor(Date.now() / 1000)
  const inTheToken: readonly [string, (provider: FakeProvider) => void | Promise<void>][] = [
    ['another nonce', (provider) => void (provider.claims = { nonce: 'y'.repeat(43) })],
    ['no nonce', (provider) => void (provider.claims = { nonce: undefined })],
    ['another issuer', (provider) => void (provider.claims = { iss: 'https://evil.test' })],
    ['another audience', (provider) => void (provider.claims = { aud: 'another-client' })],
    [
      'several audiences and none that asked',
      (provider) => void (provider.claims = { aud: [clientId, 'other'], azp: 'other' }),
    ],
    ['an end in the past', (provider) => void (provider.claims = { exp: soon() - 120 })],
    ['no end', (provider) => void (provider.claims = { exp: undefined })],
    ['no subject', (provider) => void (provider.claims = { sub: undefined })],
    ['a subject that is a number', (provider) => void (provider.claims = { sub: 7 })],
    [
      'no signature (alg none)',
      (provider) => {
        provider.sign = (claims) =>
          Promise.resolve(`${encoded({ alg: 'none' })}.${encoded(claims)}.`)
      },
    ],
    [
      'the signature of another key',
      async (provider) => {
        const { privateKey } = await generateKeyPair('RS256')
        provider.sign = (claims) =>
          new SignJWT(claims)
            .setProtectedHeader({ alg: 'RS256', kid: provider.key.kid })
            .sign(privateKey)
      },
    ],
    [
      'an HMAC with the public key',
      async (provider) => {
        const secret = await exportSPKI((await importJWK(provider.key.jwk, 'RS256')) as CryptoKey)
        provider.metadata = { id_token_signing_alg_values_supported: ['RS256', 'HS256'] }
        provider.sign = (claims) => {
          const text = `${encoded({ alg: 'HS256', kid: provider.key.kid })}.${encoded(claims)}`
          const mac = createHmac('sha256', secret).update(text).digest('base64url')
          return Promise.resolve(`${text}.${mac}`)
        }
      },
    ],
    [
      'its claims changed after signing',
      (provider) => {
        const { sign } = provider
        provider.sign = async (claims) => {
          const [head, , tail] = (await sign(claims)).split('.')
          return `${head}.${encoded({ ...claims, preferred_username: 'root' })}.${tail}`
        }
      },
    ],
    [
      'an encrypted body nobody asked for',
      (provider) => void (provider.sign = () => Promise.resolve('a.b.c.d.e')),
    ],
  ]
  for (const [lie, tell] of inTheToken)
    it(`refuses an ID token with ${lie}`, async (t) => {
      const { provider, login: at } = await login(t)
      await tell(provider)
      provider.claims = { preferred_username: 'ada', ...provider.claims }
      await assert.rejects(at.logIn(), isRefusal)
    })

  const inTheAnswer: readonly [string, FakeProvider['tokens']][] = [
    ['no ID token', ({ id_token: _gone, ...rest }) => rest],
    ['no access token', ({ access_token: _gone, ...rest }) => rest],
    ['another token type', (answer) => ({ ...answer, token_type: 'mac' })],
    ['something that is no JSON', () => answering({ body: '<html>' })],
    ['a redirect', () => answering({ status: 302, headers: { Location: 'https://evil.test' } })],
    [
      'an error',
      () =>
        answering({
          status: 401,
          body: { error: 'invalid_client', error_description: 'your secret is wrong' },
        }),
    ],
    ['a fault', () => answering({ status: 500, body: { error: 'server_error' } })],
    ['more than anybody can read', () => answering({ body: 'x'.repeat(3 << 20) })],
  ]
  for (const [lie, tokens] of inTheAnswer)
    it(`refuses a token answer with ${lie}`, async (t) => {
      const { provider, login: at } = await login(t)
      provider.tokens = tokens
      await assert.rejects(at.logIn(), isRefusal)
    })

  it('refuses metadata of another issuer, and userinfo of another person', async (t) => {
    const first = await login(t)
    first.provider.metadata = { issuer: 'https://evil.test' }
    await assert.rejects(first.login.logIn(), isRefusal)
    first.provider.metadata = {}
    assert.equal((await first.login.logIn()).kind, 'identified', 'metadata are fetched again')
    const second = await login(t)
    second.provider.userinfo = { sub: 'somebody-else' }
    await assert.rejects(second.login.logIn(), isRefusal)
  })

  it('takes a code once, and an answer only for its own attempt', async (t) => {
    const { login: at } = await login(t)
    const [one, two] = [await at.start(), await at.start()]
    const answer = await fetch(one.url, { redirect: 'manual' })
    const back = new URL(answer.headers.get('location') ?? '')
    await assert.rejects(at.comeBack(back, two.session), isRefusal)
    const kept = structuredClone(one.session)
    assert.equal((await at.comeBack(back, one.session)).kind, 'identified')
    await assert.rejects(at.comeBack(back, kept), isRefusal)
  })

  it('believes no e-mail address that the provider has not checked', async (t) => {
    const { provider, login: at } = await login(t, { usernameClaim: 'email' })
    provider.claims = { email: 'boss@example.org' }
    for (const verified of [undefined, false, 'false', 1, null]) {
      provider.claims = { email: 'boss@example.org', email_verified: verified }
      assert.equal((await at.logIn()).kind, 'denied', String(verified))
    }
    provider.claims = { email: 'boss@example.org', email_verified: true }
    const outcome = await at.logIn()
    assert.ok(outcome.kind === 'identified')
    assert.equal(outcome.identity.userName, 'boss@example.org')
    // What is signed counts, and userinfo cannot take it back.
    provider.claims = { email: 'boss@example.org', email_verified: false }
    provider.userinfo = { email_verified: true }
    assert.equal((await at.logIn()).kind, 'denied')
  })

  it('takes groups only from an array of texts', async (t) => {
    const options = { allowedGroups: ['staff'], adminGroups: ['s'] }
    const { provider, login: at } = await login(t, options)
    const rights = async (groups: unknown) => {
      provider.claims = { preferred_username: 'ada', groups }
      const outcome = await at.logIn()
      if (outcome.kind !== 'identified') return outcome.kind
      const { allowedBy, admin } = outcome.identity
      return { allowedBy, admin }
    }
    const rule = 'authenticator.allowedGroups (staff)'
    assert.deepEqual(await rights(['x', 'staff']), { allowedBy: rule, admin: false })
    assert.deepEqual(await rights(['s', 'staff']), { allowedBy: rule, admin: true })
    assert.deepEqual(await rights(undefined), { allowedBy: undefined, admin: false })
    for (const odd of ['staff', { staff: true }, ['staff', 7], [['staff']], 7])
      assert.equal(await rights(odd), 'denied', JSON.stringify(odd))
  })

  it('refreshes to the same person, or to nobody', async (t) => {
    const { provider, login: at } = await login(t)
    let answer: FakeProvider['tokens'] = (given) => ({ ...given, refresh_token: 'refresh-1' })
    provider.tokens = (given, asked) =>
      asked.form.get('grant_type') === 'refresh_token'
        ? answer(given, asked)
        : { ...given, refresh_token: 'refresh-1' }
    const outcome = await at.logIn()
    assert.ok(outcome.kind === 'identified')
    const { identity } = outcome
    const again = () => at.authenticator.refresh?.(identity)
    provider.claims = { preferred_username: 'ada', groups: ['new'] }
    const fresh = await again()
    assert.equal(fresh?.subject, identity.subject)
    assert.match(JSON.stringify(fresh?.authState), /"groups":\["new"\]/)
    answer = ({ id_token: _none, ...given }) => given
    assert.equal((await again())?.userName, 'ada', 'an answer without an ID token is enough')
    answer = (given) => given
    provider.claims = { preferred_username: 'ada', sub: 'somebody-else' }
    assert.equal(await again(), null)
    provider.claims = { preferred_username: 'ada' }
    answer = () => answering({ status: 400, body: { error: 'invalid_grant' } })
    assert.equal(await again(), null)
    answer = () => answering({ status: 503, body: {} })
    await assert.rejects(async () => again())
    const { authState: _none, ...without } = identity
    assert.deepEqual(await at.authenticator.refresh?.(without), without)
  })

  it('makes tokens worthless and ends the session at the provider, when asked to', async (t) => {
    const { provider, login: at } = await login(t, {
      logoutAtProvider: true,
      logoutRedirectUrl: 'https://hub.test/hub/login',
    })
    provider.tokens = (given) => ({ ...given, refresh_token: 'refresh-1' })
    const outcome = await at.logIn()
    assert.ok(outcome.kind === 'identified')
    const { authState } = outcome.identity
    const { logoutUrl } = at.authenticator
    assert.ok(typeof logoutUrl === 'function')
    assert.equal(await logoutUrl(authState), 'https://hub.test/hub/login')
    await at.authenticator.logOut?.(authState)
    assert.equal(provider.asked.at(-1)?.url.pathname, '/userinfo', 'there is nowhere to revoke')
    const other = await login(t, { logoutAtProvider: true })
    const { issuer } = other.provider
    other.provider.metadata = {
      end_session_endpoint: `${issuer}/end`,
      revocation_endpoint: `${issuer}/revoke`,
    }
    other.provider.routes.set('/revoke', () => '')
    await other.login.authenticator.logOut?.(authState)
    const revoked = other.provider.asked.at(-1)?.form
    assert.deepEqual(
      [revoked?.get('token'), revoked?.get('token_type_hint')],
      ['refresh-1', 'refresh_token'],
    )
    const ends = other.login.authenticator.logoutUrl
    assert.ok(typeof ends === 'function')
    const end = new URL((await ends(authState)) ?? '')
    assert.equal(end.pathname, '/end')
    assert.match(end.searchParams.get('id_token_hint') ?? '', /^eyJ/)
  })

  it('proves itself by a private key', async (t) => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const file = join(temporaryFolder(t), 'client.pem')
    writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const { provider, login: at } = await login(t, {
      clientSecret: undefined,
      clientKeyFile: file,
      clientKeyId: 'key-7',
    })
    assert.equal((await at.logIn()).kind, 'identified')
    const [token] = provider.asked.filter(({ url }) => url.pathname === '/token')
    const assertion = token?.form.get('client_assertion') ?? ''
    const { payload } = await jwtVerify(assertion, publicKey, { audience: provider.issuer })
    assert.equal(payload.iss, clientId)
    assert.equal(decodeProtectedHeader(assertion).kid, 'key-7')
    assert.equal(token?.form.get('client_secret'), null)
  })

  it('ends logins when the provider says so, and for nobody else', async (t) => {
    const { provider, login: at } = await login(t)
    const [route] = at.authenticator.routes ?? []
    assert.ok(route?.crossSite && route.method === 'POST')
    const now = soon()
    const good = {
      iss: provider.issuer,
      aud: clientId,
      sub: 'subject-1',
      sid: 'session-1',
      iat: now,
      exp: now + 60,
      jti: 'one',
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
    }
    const send = async (token: string): Promise<number> => {
      const answer = await route.handle(new Request('https://hub.test/'), {
        userName: null,
        admin: false,
        peerAddress: '127.0.0.1',
        form: { logout_token: token },
        signal: AbortSignal.timeout(30_000),
      })
      assert.ok(answer instanceof Response)
      return answer.status
    }
    assert.equal(await send(await provider.sign(good)), 200)
    assert.deepEqual(at.ended, [
      { issuer: provider.issuer, subject: 'subject-1', providerSession: 'session-1' },
    ])
    const again = await provider.sign(good)
    assert.equal(await send(again), 400, 'a logout is good once')
    const { privateKey } = await generateKeyPair('RS256')
    const bad = [
      '',
      'x.y.z',
      await provider.sign({ ...good, iss: 'https://evil.test' }),
      await provider.sign({ ...good, aud: 'another' }),
      await provider.sign({ ...good, iat: now - 3600 }),
      await provider.sign({ ...good, exp: now - 120 }),
      await provider.sign({ ...good, nonce: 'n' }),
      await provider.sign({ ...good, events: {} }),
      await provider.sign({ ...good, events: 'x' }),
      await provider.sign({ ...good, sub: undefined, sid: undefined }),
      `${encoded({ alg: 'none' })}.${encoded(good)}.`,
      await new SignJWT(good)
        .setProtectedHeader({ alg: 'RS256', kid: provider.key.kid })
        .sign(privateKey),
    ]
    for (const token of bad) assert.equal(await send(token), 400, token.slice(0, 40))
    assert.equal(at.ended.length, 1)
    assert.equal(await send(await provider.sign({ ...good, jti: 'two' })), 200)
  })

  it('starts while its provider is down, and says so at a login', async () => {
    const at = await strategyLogin(driver, { issuer: 'http://127.0.0.1:1' })
    await assert.rejects(at.start(), (error) => {
      assert.ok(error instanceof HubError && error.code === 'unavailable', String(error))
      return true
    })
  })

  it('refuses options that would be unsafe or can never work', async () => {
    const good = { clientId, clientSecret, issuer: 'https://idp.example.org' }
    const isGood = (options: object): boolean => driver.config.safeParse(options).success
    assert.ok(isGood(good))
    for (const bad of [
      { ...good, issuer: 'http://idp.example.org' },
      { ...good, issuer: 'https://user:pass@idp.example.org' },
      { ...good, clientSecret: ' pasted' },
      { ...good, clientId: '' },
      { ...good, clientKeyFile: 'key.pem' },
      { ...good, extraAuthorizeParams: { redirect_uri: 'https://evil.test' } },
      { ...good, allowedScopes: ['other'] },
      { ...good, allowedGroups: 'staff' },
      { ...good, whitelist: ['ada'] },
    ])
      assert.ok(!isGood(bad), JSON.stringify(bad))
    await assert.rejects(
      strategyLogin(driver, {
        ...good,
        oauthCallbackUrl: 'http://hub.example.org/hub/oauth_callback',
      }),
      /https/,
    )
  })
})
