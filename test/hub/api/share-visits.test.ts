import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { apiCaller, type CallApi } from '../../support/api-caller.ts'
import { Browser } from '../../support/browser.ts'
import { decide } from '../../support/consent.ts'
import { startTestHub, type TestHub } from '../../support/start-hub.ts'

const clientId = 'jupyterhub-user-ada-lab'
const redirectUri = '/user/ada/lab/oauth_callback'

describe('visitors of a shared server', () => {
  let test: TestHub
  let root: CallApi
  let secret = ''

  before(async () => {
    test = await startTestHub({
      config: {
        hub: { adminUsers: ['root'], allowNamedServers: true, loadGroups: { team: ['bob'] } },
        authenticator: { allowAll: true },
      },
    })
    await test.operator.createUsers(['ada'])
    root = apiCaller(test, (await test.operator.createToken('root')).token)
    assert.equal((await root('POST', 'users/ada/servers/lab')).status, 201)
    const reply = await fetch(`${test.origin}/user/ada/lab/`)
    const { pid } = (await reply.json()) as { pid: number }
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
    const valueOf = (name: string) =>
      variables.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? ''
    assert.equal(valueOf('JUPYTERHUB_CLIENT_ID'), clientId)
    secret = valueOf('JUPYTERHUB_API_TOKEN')
  })
  after(() => test[Symbol.asyncDispose]())

  /** A browser's way into the server, as far as the token that the server gets for it. */
  async function visit(browser: Browser): Promise<CallApi> {
    const query = new URLSearchParams({
      client_id: clientId,
      redirect_uri: redirectUri,
      response_type: 'code',
    })
    let page = await browser.get(`/hub/api/oauth2/authorize?${query.toString()}`)
    if (page.status === 200) page = await decide(browser, page, 'authorize')
    assert.equal(page.status, 302, page.text)
    const code = new URL(page.headers.get('location') ?? '', test.origin).searchParams.get('code')
    const reply = await fetch(`${test.origin}/hub/api/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        client_id: clientId,
        client_secret: secret,
        redirect_uri: redirectUri,
        code: code ?? '',
      }),
    })
    const { access_token: token } = (await reply.json()) as { access_token: string }
    return apiCaller(test, token)
  }

  for (const to of [{ user: 'bob' }, { group: 'team' }])
    it(`come in by a share to ${JSON.stringify(to)}, and are out when it ends`, async () => {
      const bob = new Browser(test.origin)
      await bob.logIn('/', 'bob')
      await root('POST', 'shares/ada/lab', to)
      const call = await visit(bob)
      const { status, json } = await call('GET', 'user')
      assert.equal(status, 200)
      assert.ok((json['scopes'] as string[]).includes('access:servers!server=ada/lab'))
      await root('PATCH', 'shares/ada/lab', to)
      assert.equal((await call('GET', 'user')).status, 403)
    })

  it('stay while another share lets them in', async () => {
    const bob = new Browser(test.origin)
    await bob.logIn('/', 'bob')
    await root('POST', 'shares/ada/lab', { user: 'bob' })
    await root('POST', 'shares/ada/lab', { group: 'team' })
    const call = await visit(bob)
    await root('PATCH', 'shares/ada/lab', { user: 'bob' })
    assert.equal((await call('GET', 'user')).status, 200)
    await root('DELETE', 'shares/ada/lab')
    assert.equal((await call('GET', 'user')).status, 403)
  })

  it('are out when the server stops, and its owner keeps nothing of it', async () => {
    const bob = new Browser(test.origin)
    await bob.logIn('/', 'bob')
    await root('POST', 'shares/ada/lab', { user: 'bob' })
    const call = await visit(bob)
    const server = apiCaller(test, secret)
    assert.equal((await server('GET', 'user')).status, 200)
    assert.equal((await root('DELETE', 'users/ada/servers/lab')).status, 204)
    assert.equal((await call('GET', 'user')).status, 403)
    assert.equal((await server('GET', 'user')).status, 403)
  })

  it('never get in by the server of somebody whose name looks like it', async () => {
    await test.operator.createUsers(['ada-lab'])
    assert.equal((await root('POST', 'users/ada-lab/server')).status, 201)
    assert.equal((await root('POST', 'users/ada/servers/lab')).status, 201)
    const reply = await fetch(`${test.origin}/user/ada/lab/`)
    const { pid } = (await reply.json()) as { pid: number }
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8')
    assert.match(variables, /JUPYTERHUB_CLIENT_ID=jupyterhub-user-ada\+lab\0/)
    const owner = new Browser(test.origin)
    await owner.logIn('/', 'ada-lab')
    const query = new URLSearchParams({ client_id: clientId, response_type: 'code' })
    const page = await owner.get(`/hub/api/oauth2/authorize?${query.toString()}`)
    assert.match(page.headers.get('location') ?? '', /^\/user\/ada-lab\/oauth_callback\?code=/)
  })
})
