import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { Browser, type Page } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const redirectUri = '/user/ada/oauth_callback'
const clientId = 'jupyterhub-user-ada'
const authorizePath = '/hub/api/oauth2/authorize'
const tokenPath = '/hub/api/oauth2/token'
const consent = ['access:servers!server=ada/', 'read:users:name!user', 'read:users:groups!user']

describe('OAuth for a single-user server', () => {
  let test: TestHub
  let ada: Browser
  let boss: Browser
  let secret = ''

  before(async () => {
    test = await startTestHub({ config: { hub: { adminUsers: ['boss'] } } })
    ada = new Browser(test.origin)
    boss = new Browser(test.origin)
    await ada.logIn('/', 'ada')
    await boss.logIn('/', 'boss')
    await test.operator.startServer('ada')
    secret = await serverToken()
  })
  after(() => test[Symbol.asyncDispose]())

  /** What the hub gave the server's process. */
  async function serverToken(): Promise<string> {
    const { pid } = JSON.parse((await ada.get('/user/ada/')).text) as { pid: number }
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    const line = variables.find((variable) => variable.startsWith('JUPYTERHUB_API_TOKEN='))
    return line?.slice('JUPYTERHUB_API_TOKEN='.length) ?? ''
  }

  const query = (values: Record<string, string> = {}) =>
    new URLSearchParams({
      client_id: clientId,
      redirect_uri: redirectUri,
      response_type: 'code',
      state: 'st&te é',
      ...values,
    }).toString()

  const location = (page: Page) => new URL(page.headers.get('location') ?? '', test.origin)

  async function codeFor(browser: Browser, values: Record<string, string> = {}): Promise<string> {
    const page = await browser.get(`${authorizePath}?${query(values)}`)
    assert.equal(page.status, 302, page.text)
    return location(page).searchParams.get('code') ?? ''
  }

  function exchange(
    values: Record<string, string>,
    more: { query?: string; headers?: Record<string, string> } = {},
  ): Promise<Page> {
    const body = new URLSearchParams({
      grant_type: 'authorization_code',
      client_id: clientId,
      client_secret: secret,
      redirect_uri: redirectUri,
      ...values,
    })
    for (const [name, value] of Array.from(body)) if (value === '') body.delete(name)
    return post(`${tokenPath}${more.query ?? ''}`, body.toString(), more.headers)
  }

  /** As a server does it: no cookies, nothing that only browsers send. */
  async function post(path: string, body: string, headers: Record<string, string> = {}) {
    const response = await fetch(`${test.origin}${path}`, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', ...headers },
    })
    const { status, url } = response
    return { status, url: new URL(url), headers: response.headers, text: await response.text() }
  }

  const bearer = (token: string) => ({ headers: { Authorization: `Bearer ${token}` } })
  const whoami = (token: string) => fetch(`${test.origin}/hub/api/user`, bearer(token))

  async function tokenFrom(page: Page): Promise<string> {
    assert.equal(page.status, 200, page.text)
    return (JSON.parse(page.text) as { access_token: string }).access_token
  }

  async function refused(page: Page | Promise<Page>, error: string, status = 400): Promise<void> {
    const { status: actual, text } = await page
    assert.equal(actual, status, text)
    assert.equal((JSON.parse(text) as { error: string }).error, error)
  }

  it('gives a token as JupyterHub does, and says who it is', async () => {
    const page = await exchange({ code: await codeFor(ada) })
    assert.equal(page.headers.get('cache-control'), 'no-store')
    assert.equal(page.headers.get('pragma'), 'no-cache')
    const answer = JSON.parse(page.text) as Record<string, unknown>
    assert.deepEqual(Object.keys(answer).toSorted(), [
      'access_token',
      'expires_in',
      'scope',
      'token_type',
    ])
    assert.equal(answer['token_type'], 'Bearer')
    assert.equal(answer['expires_in'], 14 * 86_400)
    const model = (await (await whoami(String(answer['access_token']))).json()) as {
      token_id: string
    }
    assert.match(model.token_id, /^a\d+$/)
    assert.deepEqual(
      { ...model, token_id: 'a0' },
      {
        kind: 'user',
        name: 'ada',
        admin: false,
        groups: [],
        user_info: null,
        token_id: 'a0',
        session_id: ada.cookie('jupyterhub-session-id'),
        scopes: [
          'access:servers!server=ada/',
          'read:users:groups!user=ada',
          'read:users:name!user=ada',
        ],
      },
    )
  })

  it('gives the server itself the scopes of JupyterHub, and nothing more', async () => {
    const model = (await (await whoami(secret)).json()) as { scopes: string[]; name: string }
    assert.equal(model.name, 'ada')
    assert.deepEqual(model.scopes, [
      'access:servers!server=ada/',
      'read:users:activity!user=ada',
      'read:users:groups!user=ada',
      'read:users:name!user=ada',
      'users:activity!user=ada',
    ])
    const may = async (method: string, path: string, body?: string) =>
      (
        await fetch(`${test.origin}/hub/api/${path}`, {
          method,
          ...bearer(secret),
          body: body ?? null,
        })
      ).status
    assert.equal(
      await may('POST', 'users/ada/activity', '{"servers":{},"last_activity":"2026-01-01"}'),
      200,
    )
    assert.equal(await may('DELETE', 'users/ada/server'), 403)
    assert.equal(await may('GET', 'users/ada/server'), 403)
    assert.equal(await may('POST', 'users/ada/tokens', '{}'), 403)
    assert.equal(await may('GET', 'users/ada/tokens'), 403)
    assert.equal(await may('GET', 'users/boss'), 404)
    assert.equal(await may('GET', 'users'), 403)
  })

  it('keeps the state as it was and never sends a browser to a foreign place', async () => {
    const page = await ada.get(`${authorizePath}?${query()}`)
    assert.equal(location(page).pathname, redirectUri)
    assert.equal(location(page).searchParams.get('state'), 'st&te é')
    const wrong = [
      query({ client_id: 'jupyterhub-user-nobody' }),
      query({ client_id: '' }),
      query({ redirect_uri: `${redirectUri}/` }),
      query({ redirect_uri: 'http://evil.test/user/ada/oauth_callback' }),
      query({ redirect_uri: '/user/ada/oauth_callbacK' }),
      `${query()}&redirect_uri=${encodeURIComponent(redirectUri)}`,
      `${query()}&state=2`,
      `${query()}&client_id=${clientId}`,
      '',
    ]
    for (const each of wrong) {
      const answer = await ada.get(`${authorizePath}?${each}`)
      assert.equal(answer.status, 400, each)
      assert.equal(answer.headers.get('location'), null)
      assert.match(answer.headers.get('content-type') ?? '', /^text\/html/)
    }
    const mistake = location(await ada.get(`${authorizePath}?${query({ response_type: 'token' })}`))
    assert.equal(mistake.searchParams.get('error'), 'unsupported_response_type')
    assert.equal(mistake.searchParams.get('state'), 'st&te é')
  })

  it('asks who is not logged in to log in, and comes back', async () => {
    const page = await new Browser(test.origin).get(`${authorizePath}?${query()}`)
    assert.equal(page.status, 302)
    assert.equal(location(page).pathname, '/hub/login')
    assert.equal(location(page).searchParams.get('next'), `${authorizePath}?${query()}`)
  })

  it('shows an admin a form, and takes a no', async () => {
    const form = await boss.get(`${authorizePath}?${query()}`)
    assert.equal(form.status, 200)
    for (const scope of consent) assert.ok(form.text.includes(scope), scope)
    const denied = await boss.post(`${authorizePath}?${query()}`, { action: 'deny' })
    assert.equal(location(denied).searchParams.get('error'), 'access_denied')
    assert.ok(!location(denied).searchParams.has('code'))
    const agreed = await boss.post(`${authorizePath}?${query()}`, { scopes: consent[0] ?? '' })
    const code = location(agreed).searchParams.get('code') ?? ''
    const model = (await (await whoami(await tokenFrom(await exchange({ code })))).json()) as {
      name: string
    }
    assert.equal(model.name, 'boss')
  })

  it('refuses a posted form without access, without login and without XSRF token', async () => {
    const eve = new Browser(test.origin)
    await eve.logIn('/', 'eve')
    const page = await eve.post(`${authorizePath}?${query()}`, { scopes: consent[0] ?? '' })
    assert.equal(page.status, 403)
    assert.equal(page.headers.get('location'), null)
    assert.equal((await eve.get(`${authorizePath}?${query()}`)).status, 403)
    const stranger = new Browser(test.origin)
    await stranger.get('/hub/login')
    assert.equal((await stranger.post(`${authorizePath}?${query()}`)).status, 403)
    const forged = await ada.send('POST', `${authorizePath}?${query()}`, {
      body: 'scopes=identify',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    })
    assert.equal(forged.status, 403)
  })

  it('takes credentials from the body alone', async () => {
    const code = await codeFor(ada)
    const basic = `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}`
    const byHeader = { client_id: '', client_secret: '', code }
    const page = await exchange(byHeader, { headers: { Authorization: basic } })
    await refused(page, 'invalid_client', 401)
    assert.equal(page.headers.get('www-authenticate'), 'Bearer error="invalid_client"')
    const inQuery = `?client_id=${clientId}&client_secret=${encodeURIComponent(secret)}`
    await refused(exchange(byHeader, { query: inQuery }), 'invalid_request')
    await refused(exchange({ code }, { query: inQuery }), 'invalid_request')
    await refused(exchange({ code }, { query: `?code=${code}` }), 'invalid_request')
    await refused(post(tokenPath, ''), 'invalid_client', 401)
    await refused(
      post(tokenPath, '{"client_id":"x"}', { 'Content-Type': 'application/json' }),
      'invalid_client',
      401,
    )
    await tokenFrom(await exchange({ code }))
  })

  it('is not for browsers', async () => {
    const code = await codeFor(ada)
    for (const headers of [{ Origin: test.origin }, { Origin: 'http://evil.test' }]) {
      const page = await exchange({ code }, { headers: headers as Record<string, string> })
      assert.equal(page.status, 403)
    }
    await tokenFrom(await exchange({ code }))
  })

  it('uses a code once, and revokes what it gave when it comes again', async () => {
    const code = await codeFor(ada)
    for (const wrong of [
      { client_secret: 'x' },
      { redirect_uri: `${redirectUri}x` },
      { code_verifier: 'v'.repeat(43) },
      { grant_type: 'password' },
    ])
      assert.ok((await exchange({ code, ...wrong })).status >= 400)
    const token = await tokenFrom(await exchange({ code }))
    assert.equal((await whoami(token)).status, 200)
    await refused(exchange({ code }), 'invalid_grant')
    assert.equal((await whoami(token)).status, 403)
  })

  it('holds whoever sends a challenge to it', async () => {
    const verifier = 'v'.repeat(64)
    const challenge = createHash('sha256').update(verifier).digest('base64url')
    const pkce = { code_challenge: challenge, code_challenge_method: 'S256' }
    const code = await codeFor(ada, pkce)
    await refused(exchange({ code }), 'invalid_request')
    await refused(exchange({ code, code_verifier: 'w'.repeat(64) }), 'invalid_grant')
    await tokenFrom(await exchange({ code, code_verifier: verifier }))
  })

  it('ends with the login it came from, and with no other', async () => {
    const phone = new Browser(test.origin)
    await phone.logIn('/', 'ada')
    const onPhone = await tokenFrom(await exchange({ code: await codeFor(phone) }))
    const onLaptop = await tokenFrom(await exchange({ code: await codeFor(ada) }))
    const unused = await codeFor(phone)
    await phone.get('/hub/logout')
    assert.equal((await whoami(onPhone)).status, 403)
    assert.equal((await whoami(onLaptop)).status, 200)
    await refused(exchange({ code: unused }), 'invalid_grant')
  })

  it('ends with the server', async () => {
    const token = await tokenFrom(await exchange({ code: await codeFor(ada) }))
    const code = await codeFor(ada)
    const old = secret
    await test.operator.stopServer('ada')
    assert.equal((await whoami(old)).status, 403)
    assert.equal((await whoami(token)).status, 403)
    await refused(exchange({ code }), 'invalid_client', 401)
    assert.equal((await ada.get(`${authorizePath}?${query()}`)).status, 400)
    await test.operator.startServer('ada')
    secret = await serverToken()
    await refused(exchange({ code }), 'invalid_grant')
    await refused(exchange({ code, client_secret: old }), 'invalid_client', 401)
  })
})
