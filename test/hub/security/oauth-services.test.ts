import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { Browser, type Page } from '../../support/browser.ts'
import { decide } from '../../support/consent.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const authorizePath = '/hub/api/oauth2/authorize'
const callback = 'https://grades.example.org/callback?site=1'
const secret = 'the-secret-of-the-grades-service'
const access = 'access:services!service=grades'

describe('OAuth for a service on another site', () => {
  let test: TestHub
  before(async () => {
    test = await startTestHub({
      config: {
        hub: {
          customScopes: { 'custom:grades:read': { description: 'Read grades' } },
          loadRoles: [
            {
              name: 'teacher',
              users: ['ada'],
              scopes: [access, 'custom:grades:read', 'access:services!service=plain'],
            },
            { name: 'pupil', users: ['carol', 'dave'], scopes: [access] },
            { name: 'reading', scopes: ['custom:grades:read'] },
          ],
        },
        services: [
          {
            name: 'grades',
            apiToken: secret,
            oauthRedirectUri: callback,
            oauthClientAllowedScopes: ['custom:grades:read', 'read:users!user', 'access:servers'],
          },
          {
            name: 'plain',
            apiToken: 'the-secret-of-the-plain-service',
            oauthClientId: 'service-somewhere-else',
            oauthRedirectUri: '/services/plain/back',
            oauthNoConfirm: true,
            oauthRequirePkce: true,
          },
        ],
      },
    })
  })
  after(() => test[Symbol.asyncDispose]())

  const pathOf = (values: Record<string, string> = {}): string =>
    `${authorizePath}?${new URLSearchParams({
      client_id: 'service-grades',
      redirect_uri: callback,
      response_type: 'code',
      state: 'a b',
      ...values,
    })}`
  const loggedIn = async (name: string): Promise<Browser> => {
    const browser = new Browser(test.origin)
    await browser.logIn('/', name)
    return browser
  }
  const target = (page: Page): URL => new URL(page.headers.get('location') ?? '', test.origin)
  const exchange = async (code: string, values: Record<string, string> = {}) => {
    const answer = await fetch(`${test.origin}/hub/api/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: 'service-grades',
        client_secret: secret,
        redirect_uri: callback,
        code,
        ...values,
      }),
    })
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  const scopesOf = async (token: unknown): Promise<string[]> => {
    const page = await new Browser(test.origin).get('/hub/api/user', {
      Authorization: `Bearer ${String(token)}`,
    })
    return (JSON.parse(page.text) as { scopes: string[] }).scopes
  }
  const consented = async (browser: Browser, values: Record<string, string> = {}) => {
    const page = await browser.get(pathOf(values))
    assert.equal(page.status, 200, page.text)
    return target(await decide(browser, page, 'authorize'))
  }

  it('shows what is asked for, and lets the form end where the service is registered', async () => {
    const page = await (await loggedIn('ada')).get(pathOf())
    assert.equal(page.status, 200)
    for (const text of [/JupyterHub service grades/, /Read grades/, /Open servers/])
      assert.match(page.text, text)
    assert.doesNotMatch(page.text, /Open services/)
    const policy = page.headers.get('content-security-policy') ?? ''
    assert.match(policy, /form-action 'self' https:\/\/grades\.example\.org;/)
    const login = (next: string): Promise<Page> =>
      new Browser(test.origin).get(`/hub/login?next=${encodeURIComponent(next)}`)
    const policyOf = async (next: string): Promise<string> =>
      (await login(next)).headers.get('content-security-policy') ?? ''
    assert.match(await policyOf(pathOf()), /form-action 'self' https:\/\/grades\.example\.org;/)
    for (const next of [pathOf({ client_id: 'service-nobody' }), '/hub/home'])
      assert.match(await policyOf(next), /form-action 'self';/)
  })

  it('gives a code at the registered address, and a token that reaches what both may have', async () => {
    const ada = await consented(await loggedIn('ada'))
    assert.equal(ada.href.split('&')[0], callback)
    assert.equal(ada.searchParams.get('state'), 'a b')
    const { status, body } = await exchange(ada.searchParams.get('code') ?? '')
    assert.equal(status, 200)
    assert.deepEqual(await scopesOf(body['access_token']), [
      'access:servers!user=ada',
      access,
      'custom:grades:read',
      'read:users!user=ada',
      'read:users:activity!user=ada',
      'read:users:groups!user=ada',
      'read:users:name!user=ada',
    ])
  })

  it('gives less where the user has less, or the service asks for less', async () => {
    const carol = await consented(await loggedIn('carol'))
    const all = await exchange(carol.searchParams.get('code') ?? '')
    assert.ok(!(await scopesOf(all.body['access_token'])).includes('custom:grades:read'))
    for (const scope of ['custom:grades:read', 'reading']) {
      const some = await loggedIn('ada')
      const page = await some.get(pathOf({ scope }))
      const url = page.status === 302 ? target(page) : target(await decide(some, page, 'authorize'))
      const { body } = await exchange(url.searchParams.get('code') ?? '')
      assert.deepEqual(await scopesOf(body['access_token']), [
        access,
        'custom:grades:read',
        'read:users:groups!user=ada',
        'read:users:name!user=ada',
      ])
    }
  })

  it('does not ask again for what was granted, until the login ends', async () => {
    const browser = await loggedIn('ada')
    const first = await browser.get(pathOf())
    if (first.status === 200) {
      const url = target(await decide(browser, first, 'authorize'))
      await exchange(url.searchParams.get('code') ?? '')
    }
    assert.equal((await browser.get(pathOf())).status, 302)
    assert.equal((await browser.get(pathOf({ scope: 'custom:grades:read' }))).status, 302)
  })

  it('takes a no for an answer, and asks again when it wants more than before', async () => {
    const browser = await loggedIn('dave')
    const url = target(await decide(browser, await browser.get(pathOf()), 'deny'))
    assert.equal(url.origin + url.pathname, 'https://grades.example.org/callback')
    assert.equal(url.searchParams.get('error'), 'access_denied')
    assert.equal(url.searchParams.get('code'), null)
    const small = await consented(browser, { scope: 'identify' })
    await exchange(small.searchParams.get('code') ?? '')
    assert.equal((await browser.get(pathOf({ scope: 'identify' }))).status, 302)
    assert.equal((await browser.get(pathOf())).status, 200)
  })

  it('gives no more than the form was about, whatever is posted', async () => {
    const browser = await loggedIn('carol')
    const post = (scopes: readonly string[]): Promise<Page> => {
      const fields = new URLSearchParams({ _xsrf: browser.cookie('_xsrf') ?? '' })
      for (const scope of scopes) fields.append('scopes', scope)
      return browser.send('POST', pathOf(), {
        body: fields.toString(),
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      })
    }
    await browser.get('/hub/home')
    for (const scopes of [['inherit', 'admin:users', 'tokens'], []]) {
      const code = target(await post(scopes)).searchParams.get('code') ?? ''
      const { body } = await exchange(code)
      assert.deepEqual(await scopesOf(body['access_token']), [
        access,
        'read:users:groups!user=carol',
        'read:users:name!user=carol',
      ])
    }
  })

  it('lets nobody on who has no access, neither to see the form nor to send it', async () => {
    const browser = await loggedIn('bob')
    assert.equal((await browser.get(pathOf())).status, 403)
    await browser.get('/hub/home')
    assert.equal((await browser.post(pathOf(), { scopes: access })).status, 403)
  })

  it('sends errors to the registered address only', async () => {
    const browser = await loggedIn('ada')
    const excess = target(await browser.get(pathOf({ scope: 'admin:users' })))
    assert.equal(excess.origin, 'https://grades.example.org')
    assert.equal(excess.searchParams.get('error'), 'invalid_scope')
    for (const redirect of [
      'https://grades.example.org/callback',
      'https://evil.test/',
      `${callback}1`,
    ])
      for (const scope of ['admin:users', 'custom:grades:read']) {
        const page = await browser.get(pathOf({ redirect_uri: redirect, scope }))
        assert.deepEqual([page.status, page.headers.get('location')], [400, null])
      }
  })

  it('asks nobody for a service without confirmation, and for PKCE where it is demanded', async () => {
    const browser = await loggedIn('ada')
    const plain = {
      client_id: 'service-somewhere-else',
      redirect_uri: '/services/plain/back',
    }
    const refused = target(await browser.get(pathOf(plain)))
    assert.equal(refused.searchParams.get('error'), 'invalid_request')
    const challenge = { code_challenge: 'c'.repeat(43), code_challenge_method: 'S256' }
    const page = await browser.get(pathOf({ ...plain, ...challenge }))
    assert.equal(page.status, 302)
    assert.equal(target(page).pathname, '/services/plain/back')
    assert.ok(target(page).searchParams.get('code'))
  })

  it('ends with the login: tokens and codes of the session are worth nothing', async () => {
    const browser = await loggedIn('ada')
    const codeOf = async (): Promise<string> => {
      const page = await browser.get(pathOf())
      const url =
        page.status === 302 ? target(page) : target(await decide(browser, page, 'authorize'))
      return url.searchParams.get('code') ?? ''
    }
    const { body } = await exchange(await codeOf())
    const unused = await codeOf()
    await browser.visit('/hub/logout')
    const { status } = await new Browser(test.origin).get('/hub/api/user', {
      Authorization: `token ${String(body['access_token'])}`,
    })
    assert.equal(status, 403)
    assert.equal((await exchange(unused)).status, 400)
  })
})
