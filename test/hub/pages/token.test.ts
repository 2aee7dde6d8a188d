import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { Browser, type Page } from '../../support/browser.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const day = 86_400
const serviceSecret = 'the-secret-of-the-grades-service'

describe('the token page', () => {
  let test: TestHub
  let root: CallApi
  let ada: Browser
  let at = ''

  before(async () => {
    test = await startTestHub({
      baseUrl: '/jhub/',
      config: {
        hub: {
          adminUsers: ['root'],
          tokenExpiresInMaxSeconds: 10 * day,
          loadRoles: [
            { name: 'pupil', users: ['ada'], scopes: ['access:services!service=grades'] },
          ],
        },
        authenticator: { allowAll: true },
        services: [
          {
            name: 'grades',
            apiToken: serviceSecret,
            oauthRedirectUri: '/services/grades/back',
            oauthClientAllowedScopes: ['read:users!user'],
            oauthNoConfirm: true,
          },
        ],
      },
    })
    await test.operator.createUsers(['ada', 'bob'])
    root = apiCaller(test, (await test.operator.createToken('root')).token)
    ada = new Browser(test.origin)
    await ada.logIn('/jhub/', 'ada')
    at = '/jhub/hub/token'
  })
  after(() => test[Symbol.asyncDispose]())

  const secretOn = ({ text }: Page) => /id="token-secret" value="([^"]*)"/.exec(text)?.[1] ?? ''
  const errorOn = ({ text }: Page) => /id="token-error"[^>]*>([^<]*)</.exec(text)?.[1] ?? ''
  const tokensOf = async (name: string) =>
    (await root('GET', `users/${name}/tokens`)).json['api_tokens'] as Record<string, unknown>[]

  it('is for people who are logged in, and linked from every page of theirs', async () => {
    const stranger = await new Browser(test.origin).get(at)
    assert.equal(stranger.status, 302)
    assert.match((await ada.get('/jhub/hub/home')).text, /href="\/jhub\/hub\/token"[^>]*>Tokens</)
    const page = await ada.get(at)
    assert.equal(page.status, 200)
    assert.equal(page.headers.get('cache-control'), 'no-store')
    assert.match(page.text, /data-api="\/jhub\/hub\/api\/users\/ada\/tokens"/)
  })

  it('offers only lives that the hub allows', async () => {
    const { text } = await ada.get(at)
    const options = [...text.matchAll(/<option value="(\d*)"( selected)?>/g)]
    const values = options.map(([, value]) => value)
    assert.deepEqual(values, ['3600', `${day}`, `${7 * day}`, `${10 * day}`])
    assert.deepEqual(
      options.map(([, , selected]) => selected !== undefined),
      [false, false, false, true],
    )
    for (const life of ['', `${11 * day}`, '-1', 'x']) {
      const refused = await ada.post(at, { note: 'long', expires_in: life })
      assert.equal(refused.status, 400, life)
      assert.match(errorOn(refused), /^Choose one of the times/)
    }
  })

  it('makes a token without script, whose secret is shown once', async () => {
    const made = await ada.post(at, {
      note: 'Backup <script>',
      expires_in: '3600',
      scope: 'read:users:name!user',
      scopes: 'read:users:groups!user, read:servers!user',
    })
    assert.equal(made.status, 200)
    const secret = secretOn(made)
    assert.ok(secret.length >= 32)
    const caller = await apiCaller(test, secret)('GET', 'user')
    assert.equal(caller.json['name'], 'ada')
    assert.match(String(caller.json['scopes']), /read:servers!user=ada/)
    assert.doesNotMatch(String(caller.json['scopes']), /tokens/)
    const later = await ada.get(at)
    assert.ok(!later.text.includes(secret))
    assert.match(later.text, /Backup &lt;script&gt;/)
    assert.match(later.text, /Read servers, only your own <code>read:servers!user<\/code>/)
    assert.ok(!test.logLines.join('\n').includes(secret))
  })

  it('says why a token cannot be made, and keeps its note', async () => {
    const wrong = await ada.post(at, { note: 'Mine', expires_in: '3600', scopes: 'nonsense' })
    assert.equal(wrong.status, 400)
    assert.match(errorOn(wrong), /^Unknown scopes: &quot;nonsense&quot;\.$/)
    assert.match(wrong.text, /name="note" value="Mine"/)
    assert.equal(secretOn(wrong), '')
    const tooMuch = await ada.post(at, { expires_in: '3600', scopes: 'admin:users' })
    assert.match(errorOn(tooMuch), /^Not assigning requested scopes/)
    assert.equal((await ada.post(at, { expires_in: '3600', _xsrf: 'wrong' })).status, 403)
  })

  /** Logs ada in to the service; the token that it gets. */
  const visitService = async () => {
    const client = { client_id: 'service-grades', redirect_uri: '/services/grades/back' }
    const query = new URLSearchParams({ ...client, response_type: 'code' })
    const page = await ada.get(`/jhub/hub/api/oauth2/authorize?${query}`)
    const location = new URL(page.headers.get('location') ?? '', test.origin)
    const answer = await fetch(`${test.origin}/jhub/hub/api/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({
        ...client,
        client_secret: serviceSecret,
        grant_type: 'authorization_code',
        code: location.searchParams.get('code') ?? '',
      }),
    })
    return ((await answer.json()) as { access_token: string }).access_token
  }

  it('shows what an application got as one entry, and servers’ tokens apart', async () => {
    const got = [await visitService(), await visitService()]
    await test.operator.startServer('ada')
    const { token } = await test.operator.createToken('ada', { note: 'By an admin' })
    const { text } = await ada.get(at)
    for (const secret of [token, ...got]) assert.ok(!text.includes(secret))
    assert.match(text, /data-kind="token" data-label="By an admin"/)
    assert.match(text, /data-kind="server" data-label="Server at \/jhub\/user\/ada\/"/)
    const applications = [...text.matchAll(/data-id="(a\d+)" data-kind="application"/g)]
    assert.equal(applications.length, 1)
    assert.match(text, /JupyterHub service grades<\/strong> <span class="help">2 tokens</)
    assert.match(text, /Open services[^<]*, only service grades/)
    const gone = await ada.api('DELETE', `/jhub/hub/api/users/ada/tokens/${applications[0]?.[1]}`)
    assert.equal(gone.status, 204)
    assert.doesNotMatch((await ada.get(at)).text, /data-kind="application"/)
  })

  it('shows nobody the tokens of others', async () => {
    await test.operator.createToken('bob', { note: 'Of bob' })
    assert.doesNotMatch((await ada.get(at)).text, /Of bob/)
    assert.ok((await tokensOf('bob')).length > 0)
  })
})
