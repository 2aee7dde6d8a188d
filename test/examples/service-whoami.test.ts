import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import example from '../../examples/service-whoami/portico.config.ts'
import { Browser, type Page } from '../support/browser.ts'
import { runCommand } from '../support/command-run.ts'
import { decide } from '../support/consent.ts'
import { temporaryFolder } from '../support/folder.ts'
import { freePorts, startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const prefix = '/services/whoami/'
const folder = fileURLToPath(new URL('../../examples/service-whoami', import.meta.url))

describe('examples/service-whoami', () => {
  let test: TestHub
  before(async () => {
    const [port] = await freePorts(1)
    const services = (example.services ?? []).map((service) => ({
      ...service,
      url: `http://127.0.0.1:${port}`,
      cwd: folder,
    }))
    const { spawner: _spawner, ...config } = example
    test = await startTestHub({ config: { ...config, services } })
    await until('the service answers', async () => {
      const page = await new Browser(test.origin).get(prefix)
      return page.status === 302 && page.headers.get('location')?.includes('oauth2/authorize')
    })
  })
  after(() => test[Symbol.asyncDispose]())

  const loggedIn = async (name = 'ada'): Promise<Browser> => {
    const browser = new Browser(test.origin)
    await browser.logIn('/', name)
    return browser
  }

  it('has a config without mistakes', async (t) => {
    const dataDir = temporaryFolder(t)
    const { status, err } = await runCommand(`config check --data-dir ${dataDir}`, { cwd: folder })
    assert.deepEqual([status, err], [0, []])
  })

  it('asks for consent, then knows who the user is and what the service may do for them', async () => {
    const browser = await loggedIn()
    const consent = await browser.visit(`${prefix}?a=1`)
    assert.equal(consent.url.pathname, '/hub/api/oauth2/authorize')
    assert.match(consent.text, /JupyterHub service whoami/)
    assert.match(consent.text, /Read servers <small>only your own/)
    const decided = await decide(browser, consent, 'authorize')
    const back = await browser.visit(decided.headers.get('location') ?? '')
    assert.equal(back.url.pathname + back.url.search, `${prefix}?a=1`)
    const user = JSON.parse(back.text) as { name: string; kind: string; scopes: string[] }
    assert.deepEqual([user.name, user.kind], ['ada', 'user'])
    assert.deepEqual(user.scopes.toSorted(), [
      'access:services!service=whoami',
      'read:servers!user=ada',
      'read:users:groups!user=ada',
      'read:users:name!user=ada',
    ])
    assert.equal((await browser.get(`${prefix}servers`)).status, 403)
  })

  it('is not asked again, and ends with the login at the hub', async () => {
    const browser = await loggedIn()
    assert.equal((await browser.visit(prefix)).url.pathname, prefix)
    await browser.visit(`${prefix}logout`)
    assert.equal((await browser.visit(prefix)).url.pathname, '/hub/login')
  })

  it('lets nobody in who says no', async () => {
    const browser = await loggedIn('grace')
    const decided = await decide(browser, await browser.visit(prefix), 'deny')
    const refused = await browser.visit(decided.headers.get('location') ?? '')
    assert.equal(refused.status, 403)
    assert.match(refused.text, /access_denied/)
  })

  it('answers scripts by their token', async () => {
    const script = (token: string): Promise<Page> =>
      new Browser(test.origin).get(prefix, {
        Authorization: `token ${token}`,
        'Sec-Fetch-Mode': 'cors',
      })
    const { token } = await test.operator.createToken('ada')
    const answer = await script(token)
    assert.equal(answer.status, 200)
    assert.equal((JSON.parse(answer.text) as { name: string }).name, 'ada')
    assert.equal((await script('nonsense')).status, 403)
  })
})
