import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import {
  answering,
  type Asked,
  clientSecret,
  type FakeProvider,
  startFakeProvider,
} from '../../support/fake-provider.ts'
import { allowedBy, driverOf, isGood, logIn, who } from '../../support/preset-login.ts'
import { strategyLogin } from '../../support/strategy-login.ts'

const bearer = ({ headers }: Asked): boolean => headers.authorization === 'Bearer an-access-token'

/** An API with the user at `path`, and what else there is. */
function api(
  provider: FakeProvider,
  paths: Readonly<Record<string, unknown>>,
  tokenPath: string,
  authorizePath: string,
): void {
  for (const [path, answer] of Object.entries(paths))
    provider.routes.set(path, (asked) =>
      bearer(asked) ? answer : answering({ status: 401, body: {} }),
    )
  provider.routes.set(authorizePath, ({ url }) => {
    const back = new URL(url.searchParams.get('redirect_uri') ?? '')
    back.searchParams.set('code', 'code')
    back.searchParams.set('state', url.searchParams.get('state') ?? '')
    return answering({ status: 302, headers: { Location: back.href } })
  })
  provider.routes.set(tokenPath, ({ form, headers }) => {
    const isKnown =
      form.get('client_secret') === clientSecret || headers.authorization !== undefined
    return form.get('code') === 'code' && form.get('code_verifier') && isKnown
      ? { access_token: 'an-access-token', token_type: 'bearer', scope: 'read:org,user:email' }
      : { error: 'bad_verification_code' }
  })
}

const member = answering({ status: 204 })
const noMember = answering({ status: 404, body: {} })

describe('github', () => {
  async function site(t: TestContext, user: object = { id: 7, login: 'Ada' }) {
    const provider = await startFakeProvider(t)
    const paths = {
      '/api/v3/user': user,
      '/api/v3/orgs/lab/members/Ada': member,
      '/api/v3/orgs/closed/members/Ada': noMember,
      '/api/v3/orgs/closed/teams/core/members/Ada': member,
      '/api/v3/user/emails': [
        { email: 'boss@example.org', primary: true, verified: false },
        { email: 'ada@example.org', primary: false, verified: true },
      ],
      '/api/v3/user/teams': answering({
        headers: { Link: `<${provider.issuer}/api/v3/more>; rel="next", <x>; rel="last"` },
        body: [{ slug: 'one' }],
      }),
      '/api/v3/more': answering({
        headers: { Link: '<https://evil.test/user/teams>; rel="next"' },
        body: [{ slug: 'two' }],
      }),
    }
    api(provider, paths, '/login/oauth/access_token', '/login/oauth/authorize')
    return { provider, options: { githubUrl: provider.issuer } }
  }

  it('knows people by their number: login names are given up and taken by others', async (t) => {
    const { options } = await site(t)
    assert.equal(who(await logIn('github', options)), 'Ada = 7')
    const nameless = await site(t, { login: 'Ada' })
    assert.equal(await logIn('github', nameless.options), 'denied')
  })

  it('lets in members of organisations and teams', async (t) => {
    const { options } = await site(t)
    const rule = async (...allowedOrganizations: string[]) =>
      allowedBy(await logIn('github', { ...options, allowedOrganizations }))
    assert.match((await rule('other', 'lab')) ?? '', /lab/)
    assert.match((await rule('closed:core')) ?? '', /closed:core/)
    assert.equal(await rule('closed'), undefined)
    assert.equal(await rule('lab:core'), undefined)
    assert.ok(!isGood('github', { allowedOrganizations: ['lab/../user'] }))
  })

  it('stores no e-mail address that was not verified, and sends its token nowhere else', async (t) => {
    const { options } = await site(t)
    const identity = await logIn('github', {
      ...options,
      scope: ['read:org', 'user:email'],
      populateTeamsInAuthState: true,
    })
    assert.ok(identity !== 'denied')
    const state = identity.authState as Record<string, unknown>
    assert.equal(state['email'], null)
    assert.deepEqual(state['teams'], [{ slug: 'one' }, { slug: 'two' }])
    assert.deepEqual(state['scope'], ['read:org', 'user:email'])
    assert.ok(!isGood('github', { populateTeamsInAuthState: true }))
  })

  it('sees the errors that GitHub answers with status 200', async (t) => {
    const { provider, options } = await site(t)
    provider.routes.set('/login/oauth/access_token', () => ({
      error: 'bad_verification_code',
      error_description: 'The code passed is incorrect or expired.',
    }))
    await assert.rejects(logIn('github', options), { code: 'invalid_request' })
  })

  it('refuses who was logged out or locked at GitHub at the next refresh', async (t) => {
    const { provider, options } = await site(t)
    const login = await strategyLogin(driverOf('github'), options)
    const outcome = await login.logIn()
    assert.ok(outcome.kind === 'identified')
    const again = () => login.authenticator.refresh?.(outcome.identity)
    assert.equal((await again())?.subject, '7')
    provider.routes.set('/api/v3/user', () => ({ id: 8, login: 'Ada' }))
    assert.equal(await again(), null)
    provider.routes.set('/api/v3/user', () => answering({ status: 401, body: {} }))
    assert.equal(await again(), null)
    provider.routes.set('/api/v3/user', () => answering({ status: 502, body: {} }))
    await assert.rejects(async () => again())
  })
})

describe('gitlab', () => {
  it('asks for little, reads groups and projects rightly, and knows who was blocked', async (t) => {
    const provider = await startFakeProvider(t)
    const user = { id: 7, username: 'ada', state: 'active' }
    const paths = {
      '/api/v4/user': user,
      '/api/v4/groups/lab%2Fstaff/members/all/7': { access_level: 10, state: 'active' },
      '/api/v4/projects/1/members/all/7': { access_level: 20 },
      '/api/v4/projects/2/members/all/7': { access_level: 30 },
    }
    api(provider, paths, '/oauth/token', '/oauth/authorize')
    const options = { gitlabUrl: provider.issuer, scope: ['read_api'] }
    const rule = async (more: object) => allowedBy(await logIn('gitlab', { ...options, ...more }))
    assert.match((await rule({ allowedGitlabGroups: ['other', 'lab/staff'] })) ?? '', /lab\/staff/)
    assert.equal(await rule({ allowedGitlabGroups: ['lab'] }), undefined)
    assert.equal(await rule({ allowedProjectIds: [1] }), undefined)
    assert.match((await rule({ allowedProjectIds: [1, 2] })) ?? '', /\(2\)/)
    assert.equal(who(await logIn('gitlab', { gitlabUrl: provider.issuer })), 'ada = 7')
    const scopes = provider.asked.map(({ url }) => url.searchParams.get('scope'))
    assert.equal(scopes.filter((scope) => scope !== null).at(-1), 'read_user')
    provider.routes.set('/api/v4/user', () => ({ ...user, state: 'blocked' }))
    assert.equal(await logIn('gitlab', options), 'denied')
    assert.ok(!isGood('gitlab', { scope: [] }))
    assert.ok(!isGood('gitlab', { allowedProjectIds: [2] }))
  })
})

describe('bitbucket', () => {
  it('compares workspaces by slug and uuid, never by name, over all pages of its own', async (t) => {
    const provider = await startFakeProvider(t)
    const workspaces = (next: string, ...values: object[]) => ({ values, next })
    const paths = {
      '/2.0/user': { uuid: '{7}', username: 'ada' },
      '/2.0/workspaces': workspaces(`${provider.issuer}/2.0/more`, { slug: 'evil', name: 'lab' }),
      '/2.0/more': workspaces('https://evil.test/', { slug: 'staff', uuid: '{1}', name: 'x' }),
    }
    api(provider, paths, '/site/oauth2/access_token', '/site/oauth2/authorize')
    const options = { bitbucketUrl: provider.issuer, bitbucketApi: `${provider.issuer}/2.0` }
    const rule = async (...allowedTeams: string[]) =>
      allowedBy(await logIn('bitbucket', { ...options, allowedTeams }))
    assert.equal(await rule('lab'), undefined)
    assert.match((await rule('staff')) ?? '', /staff/)
    assert.match((await rule('{1}')) ?? '', /\{1\}/)
    assert.equal(who(await logIn('bitbucket', options)), 'ada = {7}')
  })
})

describe('generic-oauth', () => {
  it('needs an account that stays the same, and trusts no ID token that it has not verified', async (t) => {
    const provider = await startFakeProvider(t)
    provider.routes.set('/me', (asked) =>
      bearer(asked) ? { id: 7, username: 'ada', groups: ['staff'] } : answering({ status: 401 }),
    )
    provider.answerUrl = (url) => url.searchParams.delete('iss')
    provider.claims = { iss: 'https://evil.test', sub: 'forged' }
    const options = {
      authorizeUrl: `${provider.issuer}/authorize`,
      tokenUrl: `${provider.issuer}/token`,
      userdataUrl: `${provider.issuer}/me`,
      allowedGroups: ['staff'],
      basicAuth: true,
    }
    assert.equal(await logIn('generic-oauth', options), 'denied', 'there is no sub')
    const identity = await logIn('generic-oauth', { ...options, subjectClaim: 'id' }, true)
    assert.ok(identity !== 'denied')
    assert.equal(who(identity), 'ada = 7')
    assert.equal(identity.issuer, provider.issuer)
    assert.deepEqual(identity.groups, ['staff'])
    assert.match(identity.allowedBy ?? '', /staff/)
    assert.equal((identity.authState as Record<string, unknown>)['id_token'], null)
    assert.ok(!isGood('generic-oauth', { ...options, userdataUrl: 'http://example.org/me' }))
  })
})

describe('openshift', () => {
  it('finds its authorization server, and knows people by their uid', async (t) => {
    const provider = await startFakeProvider(t)
    const user = { metadata: { name: 'ada', uid: 'u-7' }, groups: ['lab'] }
    const at = '/apis/user.openshift.io/v1/users/~'
    api(provider, { [at]: user }, '/auth/oauth/token', '/auth/oauth/authorize')
    let issuer = `${provider.issuer}/auth`
    provider.routes.set('/.well-known/oauth-authorization-server', () => ({ issuer }))
    const options = { openshiftUrl: provider.issuer, allowedGroups: ['lab'] }
    const identity = await logIn('openshift', options)
    assert.equal(who(identity), 'ada = u-7')
    assert.match(allowedBy(identity) ?? '', /lab/)
    provider.routes.set(at, () => ({ metadata: { name: 'kube:admin' } }))
    assert.equal(await logIn('openshift', options), 'denied')
    issuer = 'http://evil.test'
    await assert.rejects(logIn('openshift', options), { code: 'unavailable' })
  })
})
