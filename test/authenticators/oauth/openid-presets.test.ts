import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { exportPKCS8 } from 'jose'
import { answering, startFakeProvider } from '../../support/fake-provider.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { allowedBy, isGood, logIn, who } from '../../support/preset-login.ts'

describe('google', () => {
  async function google(t: TestContext) {
    const provider = await startFakeProvider(t)
    const ada = { email: 'ada@example.org', email_verified: true, hd: 'example.org' }
    return { provider, ada, options: { issuer: provider.issuer } }
  }

  it('knows organisations by the claim hd, not by the domain of an address', async (t) => {
    const { provider, ada, options } = await google(t)
    const one = { ...options, hostedDomain: ['example.org'] }
    provider.claims = ada
    assert.equal(who(await logIn('google', one)), 'ada = subject-1')
    assert.equal(who(await logIn('google', options)), 'ada@example.org = subject-1')
    for (const hd of [undefined, 'evil.test', 'sub.example.org', ['example.org'], '']) {
      provider.claims = { ...ada, hd }
      assert.equal(await logIn('google', one), 'denied', JSON.stringify(hd))
    }
    // Userinfo is not signed.
    provider.claims = { ...ada, hd: undefined }
    provider.userinfo = { hd: 'example.org' }
    assert.equal(await logIn('google', one), 'denied')
  })

  it('takes no address that was not verified, and grants by organisation when told to', async (t) => {
    const { provider, ada, options } = await google(t)
    provider.claims = { ...ada, email_verified: false }
    assert.equal(await logIn('google', options), 'denied')
    provider.claims = ada
    const rule = async (...allowedHostedDomains: string[]) =>
      allowedBy(await logIn('google', { ...options, allowedHostedDomains }))
    assert.match((await rule('example.org')) ?? '', /example\.org/)
    assert.equal(await rule('other.org'), undefined)
  })

  it('keeps the domain in names as soon as there could be two of them', async (t) => {
    const { provider, ada, options } = await google(t)
    provider.claims = ada
    const two = { ...options, hostedDomain: ['example.org', 'example.net'] }
    assert.equal(who(await logIn('google', two)), 'ada@example.org = subject-1')
    assert.ok(!isGood('google', { ...two, stripDomain: true }))
    assert.ok(!isGood('google', { stripDomain: true }))
    // Somebody of another domain whose address merely looks alike keeps all of it.
    provider.claims = { ...ada, email: 'ada@mail.example.org' }
    const one = { ...options, hostedDomain: ['example.org'] }
    assert.equal(who(await logIn('google', one)), 'ada@mail.example.org = subject-1')
  })

  it('reads groups for a service account, and lets nobody in by a group it could not read', async (t) => {
    const { provider, ada, options } = await google(t)
    const file = join(temporaryFolder(t), 'account.json')
    writeFileSync(
      file,
      JSON.stringify({
        client_email: 'reader@project.test',
        private_key: await exportPKCS8(provider.key.privateKey),
        token_uri: `${provider.issuer}/service-token`,
      }),
    )
    provider.claims = ada
    provider.routes.set('/service-token', () => ({ access_token: 'a-service-token' }))
    let status = 200
    provider.routes.set('/directory/groups', ({ url, headers }) => {
      assert.equal(headers.authorization, 'Bearer a-service-token')
      assert.equal(url.searchParams.get('userKey'), 'ada@example.org')
      const isFirst = url.searchParams.get('pageToken') === null
      const body = isFirst
        ? { groups: [{ email: 'all@example.org' }], nextPageToken: '2' }
        : { groups: [{ email: 'Staff@example.org' }] }
      return answering({ status, body })
    })
    const groups = {
      ...options,
      directoryUrl: `${provider.issuer}/directory/`,
      googleServiceAccountKeys: { 'example.org': file },
      gsuiteAdministrator: { 'example.org': 'boss@example.org' },
      allowedGoogleGroups: { 'example.org': ['staff@example.org'] },
      adminGoogleGroups: { 'example.org': ['admins@example.org'] },
    }
    const identity = await logIn('google', groups)
    assert.ok(identity !== 'denied')
    assert.match(identity.allowedBy ?? '', /staff@example\.org/)
    assert.equal(identity.admin, false)
    status = 403
    await assert.rejects(logIn('google', groups), { code: 'unavailable' })
    assert.ok(!isGood('google', { allowedGoogleGroups: { 'example.org': ['staff@example.org'] } }))
  })
})

describe('globus', () => {
  it('leaves out the domain only of the one institution that may log in', async (t) => {
    const provider = await startFakeProvider(t)
    const options = { issuer: provider.issuer }
    const one = { ...options, identityProvider: 'x.edu' }
    provider.claims = { preferred_username: 'ada@x.edu' }
    assert.equal(who(await logIn('globus', options)), 'ada@x.edu = subject-1')
    assert.equal(who(await logIn('globus', one)), 'ada = subject-1')
    for (const name of ['ada@y.edu', 'ada@x.edu.y.edu', 'ada', 'ada@x.edu@y.edu']) {
      provider.claims = { preferred_username: name }
      assert.equal(await logIn('globus', one), 'denied', name)
    }
  })

  it('takes an address for a name only when it is checked and of the same institution', async (t) => {
    const provider = await startFakeProvider(t)
    const options = { issuer: provider.issuer, usernameFromEmail: true }
    const one = { ...options, identityProvider: 'x.edu' }
    const at = { preferred_username: 'ada@x.edu', email: 'boss@x.edu' }
    provider.claims = at
    for (const given of [options, one]) assert.equal(await logIn('globus', given), 'denied')
    const trusting = { ...one, allowUnverifiedEmail: true }
    assert.equal(who(await logIn('globus', trusting)), 'boss = subject-1')
    provider.claims = { ...at, email_verified: true }
    assert.equal(who(await logIn('globus', options)), 'boss@x.edu = subject-1')
    assert.equal(who(await logIn('globus', one)), 'boss = subject-1')
    // Anybody can have any address; the institution is what their account is of.
    provider.claims = { ...at, email_verified: true, preferred_username: 'eve@globusid.org' }
    assert.equal(await logIn('globus', trusting), 'denied')
    provider.claims = { ...at, email_verified: true, email: 'boss@y.edu' }
    assert.equal(await logIn('globus', one), 'denied')
  })

  it('lets in active members of groups', async (t) => {
    const provider = await startFakeProvider(t)
    const id = '6c91e6eb-085c-11e6-a7a6-22000bf2d559'
    provider.claims = { preferred_username: 'ada@x.edu' }
    provider.tokens = (answer) => ({
      ...answer,
      other_tokens: [{ resource_server: 'groups.api.globus.org', access_token: 'groups-token' }],
    })
    let membership = 'active'
    provider.routes.set('/groups', ({ headers }) =>
      headers.authorization === 'Bearer groups-token'
        ? [{ id, my_memberships: [{ status: membership }] }]
        : answering({ status: 401, body: {} }),
    )
    const options = {
      issuer: provider.issuer,
      groupsUrl: `${provider.issuer}/groups`,
      allowedGlobusGroups: [id],
      adminGlobusGroups: ['11111111-085c-11e6-a7a6-22000bf2d559'],
    }
    const identity = await logIn('globus', options)
    assert.match(allowedBy(identity) ?? '', /6c91e6eb/)
    assert.equal(identity !== 'denied' && identity.admin, false)
    const asked = provider.asked.find(({ url }) => url.pathname === '/authorize')
    assert.match(asked?.url.searchParams.get('scope') ?? '', /view_my_groups/)
    membership = 'invited'
    assert.equal(allowedBy(await logIn('globus', options)), undefined)
  })
})

describe('cilogon', () => {
  it("keeps to each institution's rules, and takes no address for an institution", async (t) => {
    const provider = await startFakeProvider(t)
    const lab = 'https://idp.lab.edu/shibboleth'
    const github = 'http://github.com/login/oauth/authorize'
    const options = {
      issuer: provider.issuer,
      idps: {
        [github]: {
          usernameDerivation: { usernameClaim: 'email', action: 'prefix', prefix: 'gh' },
        },
        [lab]: {
          default: true,
          usernameDerivation: {
            usernameClaim: 'eppn',
            action: 'strip_idp_domain',
            domain: 'lab.edu',
          },
          allowedDomains: ['lab.edu', '*.lab.edu'],
        },
      },
    }
    const as = async (claims: Record<string, unknown>) => {
      provider.claims = claims
      const identity = await logIn('cilogon', options)
      return identity === 'denied' ? identity : [identity.userName, identity.allowedBy]
    }
    const rule = (pattern: string) => `authenticator.idps (${pattern})`
    assert.deepEqual(await as({ idp: lab, eppn: 'ada@lab.edu' }), ['ada', rule('lab.edu')])
    assert.deepEqual(await as({ idp: lab, eppn: 'ada@cs.lab.edu' }), [
      'ada@cs.lab.edu',
      rule('*.lab.edu'),
    ])
    assert.deepEqual(await as({ idp: lab, eppn: 'ada@evil-lab.edu' }), [
      'ada@evil-lab.edu',
      undefined,
    ])
    // An address of the lab, said by somebody else.
    assert.deepEqual(await as({ idp: github, email: 'ada@lab.edu' }), ['gh:ada@lab.edu', undefined])
    assert.equal(await as({ idp: 'https://evil.test', eppn: 'ada@lab.edu' }), 'denied')
    assert.equal(await as({ eppn: 'ada@lab.edu' }), 'denied')
    assert.equal(await as({ idp: '__proto__', eppn: 'ada@lab.edu' }), 'denied')
    assert.equal(await as({ idp: lab }), 'denied')
    const asked = provider.asked.find(({ url }) => url.pathname === '/authorize')
    assert.equal(asked?.url.searchParams.get('selected_idp'), `${lab},${github}`)
    assert.ok(!isGood('cilogon', { idps: {} }))
    const noDomain = { usernameDerivation: { usernameClaim: 'eppn', action: 'strip_idp_domain' } }
    assert.ok(!isGood('cilogon', { idps: { [lab]: noDomain } }))
  })
})

describe('auth0', () => {
  it('takes no address that was not verified', async (t) => {
    const provider = await startFakeProvider(t)
    provider.metadata = { issuer: `${provider.issuer}/` }
    provider.answerUrl = (url) => url.searchParams.set('iss', `${provider.issuer}/`)
    const options = { auth0Domain: new URL(provider.issuer).host }
    for (const email_verified of [undefined, false]) {
      provider.claims = { email: 'ada@example.org', email_verified }
      assert.equal(await logIn('auth0', options), 'denied')
      assert.equal(await logIn('auth0', { ...options, usernameClaim: 'sub' }), 'denied')
    }
    provider.claims = { email: 'ada@example.org', email_verified: true }
    assert.equal(who(await logIn('auth0', options)), 'ada@example.org = subject-1')
    assert.ok(!isGood('auth0', {}))
    assert.ok(!isGood('auth0', { auth0Domain: 'a.auth0.com', auth0Subdomain: 'a' }))
  })
})

describe('azuread', () => {
  const tenant = '11111111-2222-3333-4444-555555555555'

  async function entra(t: TestContext) {
    const provider = await startFakeProvider(t)
    const issuer = `${provider.issuer}/${tenant}/v2.0`
    provider.metadata = { issuer }
    provider.answerUrl = (url) => url.searchParams.set('iss', issuer)
    const { metadata } = provider
    provider.routes.set(`/${tenant}/v2.0/.well-known/openid-configuration`, () => ({
      authorization_endpoint: `${provider.issuer}/authorize`,
      token_endpoint: `${provider.issuer}/token`,
      jwks_uri: `${provider.issuer}/jwks`,
      ...metadata,
    }))
    const ada = { tid: tenant, oid: 'object-7', preferred_username: 'ada@example.org', name: 'Ada' }
    return { provider, ada, options: { tenantId: tenant, loginUrl: provider.issuer } }
  }

  it('knows people by tenant and object id: names and addresses are theirs to change', async (t) => {
    const { provider, ada, options } = await entra(t)
    provider.claims = ada
    assert.equal(who(await logIn('azuread', options)), 'ada@example.org = object-7')
    provider.claims = { ...ada, oid: 'object-8', sub: 'another' }
    assert.equal(who(await logIn('azuread', options)), 'ada@example.org = object-8')
    for (const claims of [
      { tid: '99999999-2222-3333-4444-555555555555' },
      { tid: undefined },
      { oid: undefined },
    ]) {
      provider.claims = { ...ada, ...claims }
      assert.equal(await logIn('azuread', options), 'denied', JSON.stringify(claims))
    }
    for (const tenantId of ['common', 'organizations', '', 'example.org', undefined])
      assert.ok(!isGood('azuread', { tenantId }), tenantId)
  })

  it('lets nobody in by groups that come as a link', async (t) => {
    const { provider, ada, options } = await entra(t)
    const groups = { ...options, allowedGroups: ['g-1'] }
    provider.claims = { ...ada, groups: ['g-1'] }
    assert.match(allowedBy(await logIn('azuread', groups)) ?? '', /g-1/)
    provider.claims = { ...ada, _claim_names: { groups: 'src1' } }
    assert.equal(await logIn('azuread', groups), 'denied')
    assert.equal(await logIn('azuread', options, true), 'denied')
    assert.equal(who(await logIn('azuread', options)), 'ada@example.org = object-7')
  })
})

describe('okta and keycloak', () => {
  it('find their issuer, and take groups from it', async (t) => {
    for (const [name, path, place] of [
      ['okta', '/oauth2/default', (at: URL) => ({ oktaDomain: at.host })],
      ['keycloak', '/realms/my%20lab', (at: URL) => ({ keycloakUrl: at.origin, realm: 'my lab' })],
    ] as const) {
      const provider = await startFakeProvider(t)
      const issuer = `${provider.issuer}${path}`
      provider.metadata = { issuer }
      provider.answerUrl = (url) => url.searchParams.set('iss', issuer)
      provider.claims = { preferred_username: 'ada', groups: ['/staff'] }
      provider.routes.set(`${path}/.well-known/openid-configuration`, () => ({
        issuer,
        authorization_endpoint: `${provider.issuer}/authorize`,
        token_endpoint: `${provider.issuer}/token`,
        jwks_uri: `${provider.issuer}/jwks`,
      }))
      const options = { ...place(new URL(provider.issuer)), allowedGroups: ['/staff'] }
      const identity = await logIn(name, options)
      assert.equal(who(identity), 'ada = subject-1')
      assert.match(allowedBy(identity) ?? '', /staff/)
    }
  })
})
