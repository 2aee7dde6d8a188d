import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import express from 'express'
import { HubAuth, hubAuthFromEnv, hubMiddleware, userOf } from '../../packages/hub-auth/index.ts'
import { Browser } from '../support/browser.ts'
import { HubStandIn, serverEnvironment } from '../support/hub-stand-in.ts'

const prefix = '/user/ada/'
const access = 'access:servers!server=ada/'

describe('the middleware of hub-auth', () => {
  let hub: HubStandIn
  let service: Server

  before(async () => {
    hub = await HubStandIn.start()
    const auth = new HubAuth(hubAuthFromEnv(serverEnvironment(hub, 'ada')))
    const { hubRoutes, requireUser } = hubMiddleware(auth)
    const app = express()
    const routes = express.Router()
    app.use(prefix, hubRoutes, routes)
    routes.all('/page', requireUser(), (req, res) => res.send(userOf(req).name))
    routes.get('/grades', requireUser({ scopes: ['custom:grades:read'] }), (_req, res) => {
      res.send('grades')
    })
    routes.get('/open', (req, res) => res.send(userOf(req).name))
    app.use((_error: unknown, _req: unknown, res: express.Response, _next: unknown) => {
      res.status(500).send('the application made a mistake')
    })
    service = app.listen(0, '127.0.0.1')
    await once(service, 'listening')
    hub.routes.set(prefix, (service.address() as AddressInfo).port)
  })
  after(async () => {
    service.close()
    service.closeAllConnections()
    await hub[Symbol.asyncDispose]()
  })

  /** A program; browsers say more. */
  const script = { 'Sec-Fetch-Mode': 'cors', Accept: '*/*' }
  const send = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Browser(hub.url).send(method, `${prefix}${path}`, { headers })
  const loggedIn = async (): Promise<Browser> => {
    const browser = new Browser(hub.url)
    await browser.get('/hub/login?user=ada')
    await browser.visit(`${prefix}page`)
    return browser
  }

  it('sends people to the hub and back to the page they wanted, also below a mounted router', async () => {
    const { status, headers } = await send('page')
    assert.equal(status, 302)
    assert.match(headers.get('location') ?? '', /\/hub\/api\/oauth2\/authorize\?/)
    const page = await (await loggedIn()).get(`${prefix}page`)
    assert.equal(page.text, 'ada')
  })

  it('answers scripts, and forms of people who are not logged in, with 403', async () => {
    for (const answer of [
      await send('page', script),
      await send('page', { ...script, Accept: 'text/html' }),
      await send('page', {}, 'POST'),
      await send('page', { ...script, Authorization: 'token nonsense' }),
    ]) {
      assert.equal(answer.status, 403)
      assert.equal((JSON.parse(answer.text) as { status: number }).status, 403)
    }
  })

  it('lets in tokens with access, and asks for the scopes of the route besides', async () => {
    const withScopes = (...scopes: readonly string[]) => ({
      Authorization: `token ${hub.issueToken('bob', scopes)}`,
    })
    assert.equal((await send('page', withScopes(access))).status, 200)
    assert.equal((await send('page', withScopes('custom:grades:read'))).status, 403)
    assert.equal((await send('grades', withScopes(access))).status, 403)
    const both = withScopes(access, 'custom:grades:read')
    assert.equal((await send('grades', both)).text, 'grades')
  })

  it('refuses what other sites make browsers send, but not what tokens prove', async () => {
    const browser = await loggedIn()
    const post = async (site: string): Promise<number> => {
      const headers = { 'Sec-Fetch-Site': site }
      return (await browser.send('POST', `${prefix}page`, { headers })).status
    }
    assert.equal(await post('cross-site'), 403)
    assert.equal(await post('same-site'), 403)
    assert.equal(await post('same-origin'), 200)
    const headers = { Authorization: `token ${hub.issueToken('bob', [access])}` }
    const foreign = { ...headers, 'Sec-Fetch-Site': 'cross-site' }
    assert.equal((await send('page', foreign, 'POST')).status, 200)
  })

  it('says that the hub is away, and leaves other mistakes to the application', async () => {
    hub.down = true
    try {
      const headers = { Authorization: `token ${hub.issueToken('bob', [access])}` }
      assert.equal((await send('page', headers)).status, 503)
      assert.equal((await send('oauth_callback?state=x')).status, 400)
    } finally {
      hub.down = false
    }
    assert.equal((await send('open')).status, 500)
  })
})
