import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import type { Request } from 'express'
import { lti13 } from '../../authenticators/lti13.ts'
import { runStrategy } from '../../hub/pages/run-strategy.ts'
import {
  authenticatorContract,
  createAuthenticator,
  loginRequest,
} from '../contracts/authenticator.ts'
import { authenticatorContext } from '../support/authenticator-context.ts'
import {
  claim,
  claimsOf,
  issuer,
  newKey,
  part,
  startPlatform,
  tokenOf,
} from '../support/lti-platform.ts'

async function subject(t: TestContext, more: Record<string, unknown> = {}) {
  const platform = await startPlatform(t)
  const options = { ...platform.options, ...more }
  const { authenticator } = await createAuthenticator(t, lti13, options)
  const act = (request: object, session: Record<string, unknown>) => {
    const { strategy } = authenticator
    assert.ok(strategy)
    return runStrategy(strategy, { headers: {}, ...request } as Request, session)
  }
  const begin = async (query: Record<string, string>, session: Record<string, unknown> = {}) => ({
    outcome: await act({ method: 'GET', query }, session),
    session,
  })
  return {
    authenticator,
    platform,
    begin,
    /** Comes back with a token for the nonce of this attempt. */
    launch: async (make: (nonce: unknown) => string | object) => {
      const { session } = await begin({ iss: issuer, login_hint: 'h' })
      const made = make(session['nonce'])
      const body = typeof made === 'string' ? { id_token: made } : made
      const outcome = await act({ method: 'POST', query: {}, body }, session)
      assert.notEqual(outcome.kind, 'redirect')
      return outcome.kind === 'identified' ? outcome.identity : outcome
    },
  }
}

authenticatorContract('lti13', async (t) => ({
  driver: lti13,
  options: (await startPlatform(t)).options,
}))

describe('lti13', () => {
  it('sends people to the platform and knows them by its issuer and their sub', async (t) => {
    const { begin, launch, platform } = await subject(t)
    const query = { iss: issuer, login_hint: 'h', lti_message_hint: 'm', client_id: 'hub' }
    const { outcome, session } = await begin(query)
    assert.equal(outcome.kind, 'redirect')
    const { searchParams } = outcome.url
    assert.equal(outcome.url.origin, issuer)
    assert.equal(searchParams.get('nonce'), session['nonce'])
    assert.match(searchParams.get('state') ?? '', /^[\w-]{43}$/)
    assert.deepEqual(
      ['x', 'response_type', 'response_mode', 'redirect_uri', 'login_hint'].map((name) =>
        searchParams.get(name),
      ),
      ['1', 'id_token', 'form_post', 'https://hub.test/hub/oauth_callback', 'h'],
    )
    const person = { userName: 'zoe@platform.test', issuer, subject: 'u-1' }
    for (let index = 0; index < 2; index += 1)
      assert.deepEqual(await launch((nonce) => tokenOf(platform, claimsOf(nonce))), person)
    assert.equal(platform.asked(), 1)
  })

  it('names them by any claim, and by sub where there is none', async (t) => {
    const { launch, platform } = await subject(t, { usernameKey: 'custom_login' })
    const named = await launch((nonce) => tokenOf(platform, claimsOf(nonce)))
    const unnamed = await launch((nonce) =>
      tokenOf(platform, claimsOf(nonce, { [`${claim}/custom`]: undefined })),
    )
    assert.ok('userName' in named && 'userName' in unnamed)
    assert.deepEqual([named.userName, unnamed.userName], ['zoe', 'u-1'])
  })

  it('takes no token that lies', async (t) => {
    const { launch, platform } = await subject(t)
    const now = Math.floor(Date.now() / 1_000)
    const lies: readonly [Record<string, unknown>, RegExp][] = [
      [{ iss: 'https://other.test' }, /issuer/],
      [{ aud: 'other' }, /client/],
      [{ aud: ['hub', 'other'] }, /azp/],
      [{ azp: 'other' }, /azp/],
      [{ exp: now - 60 }, /expired/],
      [{ exp: undefined }, /expired/],
      [{ iat: now - 900 }, /too old/],
      [{ iat: now + 900 }, /future/],
      [{ nonce: 'x' }, /nonce/],
      [{ nonce: undefined }, /nonce/],
      [{ sub: '' }, /sub/],
      [{ sub: 7 }, /sub/],
      [{ [`${claim}/version`]: '1.1' }, /version/],
      [{ [`${claim}/message_type`]: 'x' }, /launch/],
      [{ [`${claim}/deployment_id`]: '8' }, /deployment/],
      [{ [`${claim}/resource_link`]: {} }, /resource_link/],
      [{ [`${claim}/roles`]: undefined }, /roles/],
    ]
    for (const [change, reason] of lies) {
      const answer = await launch((nonce) => tokenOf(platform, claimsOf(nonce, change)))
      assert.ok('reason' in answer, JSON.stringify(change))
      assert.match(answer.reason, reason)
    }
    assert.ok('reason' in (await launch(() => ({ error: 'login_required' }))))
    assert.ok('reason' in (await launch(() => ({}))))
  })

  it('takes no token that the platform has not signed', async (t) => {
    const { launch, platform } = await subject(t)
    const stranger = { ...platform, key: newKey().privateKey }
    const weak = { ...platform, kid: 'unknown' }
    const unsigned = (nonce: unknown) =>
      `${part({ alg: 'none', kid: platform.kid })}.${part(claimsOf(nonce))}.`
    const confused = (nonce: unknown) => {
      const input = `${part({ alg: 'HS256', kid: platform.kid })}.${part(claimsOf(nonce))}`
      return `${input}.${createHmac('sha256', platform.publicPem).update(input).digest('base64url')}`
    }
    const changed = (nonce: unknown) => {
      const [head, , signature] = tokenOf(platform, claimsOf(nonce)).split('.')
      return `${head}.${part(claimsOf(nonce, { sub: 'root' }))}.${signature}`
    }
    for (const make of [
      (nonce: unknown) => tokenOf(stranger, claimsOf(nonce)),
      (nonce: unknown) => tokenOf(weak, claimsOf(nonce)),
      (nonce: unknown) => tokenOf(platform, claimsOf(nonce), { alg: 'RS512' }),
      (nonce: unknown) => tokenOf(platform, claimsOf(nonce), { crit: ['x'] }),
      unsigned,
      confused,
      changed,
      () => 'x',
    ])
      assert.ok('reason' in (await launch(make)))
    assert.ok(platform.asked() <= 2)
  })

  it('begins only for its platform and its own client ids', async (t) => {
    const { begin } = await subject(t)
    for (const query of [
      { iss: 'https://other.test', login_hint: 'h' },
      { iss: issuer },
      { login_hint: 'h' },
      { iss: issuer, login_hint: 'h', client_id: 'other' },
    ])
      await assert.rejects(begin(query as Record<string, string>), /course|client_id/)
  })

  it('lets platforms begin by POST, and comes back only to this hub', async (t) => {
    const { authenticator } = await subject(t)
    const [route] = authenticator.routes ?? []
    assert.ok(route?.crossSite && route.path === '/oauth_login')
    const form = { iss: issuer, login_hint: 'a&b', other: 'x' }
    const post = async (target: string) => {
      const visit = { ...loginRequest(), userName: null, admin: false }
      const posted = { ...visit, form: { ...form, target_link_uri: target } }
      const answer = await route.handle(new Request('https://hub.test/'), posted)
      assert.ok(answer instanceof Response && answer.status === 303)
      return new URL(answer.headers.get('location') ?? '', 'https://hub.test/hub/oauth_login')
    }
    const there = await post('https://hub.test/user-redirect/lab?a=1')
    assert.equal(there.pathname, '/hub/oauth_login')
    assert.equal(there.searchParams.get('login_hint'), 'a&b')
    assert.equal(there.searchParams.get('other'), null)
    assert.equal(there.searchParams.get('next'), '/user-redirect/lab?a=1')
    assert.equal((await post('https://evil.test/x')).searchParams.get('next'), null)
  })

  it('does not start without https, over which alone browsers keep its cookie', async (t) => {
    const { options } = await startPlatform(t)
    for (const publicUrl of ['http://hub.test/', 'http://127.0.0.1:8000/']) {
      const context = await authenticatorContext(t, { publicUrl })
      await assert.rejects(
        createAuthenticator(t, lti13, options, context),
        /needs an https hub\.publicUrl/,
      )
    }
  })

  it('refuses endpoints in clear text, and no deployment', async (t) => {
    const { options } = await startPlatform(t)
    for (const change of [
      { authorizeUrl: 'http://platform.test/' },
      { jwksEndpoint: 'http://platform.test/' },
      { deploymentIds: [] },
      { jwksAlgorithms: ['none'] },
      { jwksAlgorithms: ['HS256'] },
    ])
      assert.equal(lti13.config.safeParse({ ...options, ...change }).success, false)
  })
})
