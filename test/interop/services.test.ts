import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Browser, type Page } from '../support/browser.ts'
import { decide } from '../support/consent.ts'
import { freePorts, startTestHub, type TestHub } from '../support/start-hub.ts'
import { until } from '../support/until.ts'

const python = '/usr/bin/python3'
const skip = existsSync('/usr/lib/python3/dist-packages/jupyterhub/services/auth.py')
  ? false
  : "Debian's python3-jupyterhub is missing: apt install jupyterhub"

const script = (name: string): string =>
  fileURLToPath(new URL(`services/${name}.py`, import.meta.url))

describe('services on the unmodified jupyterhub.services.auth 3.0.0', { skip }, () => {
  let test: TestHub
  before(async () => {
    const [first, second] = await freePorts(2)
    test = await startTestHub({
      config: {
        hub: {
          customScopes: {
            'custom:reports:read': { description: 'Read reports' },
            'custom:notice:write': { description: 'Write notices' },
          },
          loadRoles: [
            {
              name: 'staff',
              users: ['ada'],
              scopes: [
                'access:services!service=whoami',
                'custom:reports:read',
                'custom:notice:write',
              ],
            },
            { name: 'guest', users: ['carol'], scopes: ['access:services'] },
            { name: 'lister', services: ['whoami'], scopes: ['list:users'] },
          ],
        },
        services: [
          {
            name: 'whoami',
            url: `http://127.0.0.1:${first}`,
            command: [python, script('whoami')],
            oauthClientAllowedScopes: ['custom:reports:read'],
          },
          {
            name: 'notices',
            url: `http://127.0.0.1:${second}/`,
            command: [python, script('notices')],
          },
        ],
      },
    })
    for (const path of ['/services/whoami/oauth_callback', '/services/notices/'])
      await until(`${path} is served`, async () => {
        const { status } = await new Browser(test.origin).get(path)
        return status !== 503 && status !== 404
      })
  })
  after(() => test[Symbol.asyncDispose]())

  const loggedIn = async (name: string): Promise<Browser> => {
    const browser = new Browser(test.origin)
    await browser.logIn('/', name)
    return browser
  }
  const entered = async (name: string): Promise<Browser> => {
    const browser = await loggedIn(name)
    const page = await browser.visit('/services/whoami/')
    if (page.url.pathname === '/hub/api/oauth2/authorize') {
      const decided = await decide(browser, page, 'authorize')
      await browser.visit(decided.headers.get('location') ?? '')
    }
    return browser
  }

  it('HubOAuthenticated logs a user in after consent, with the scopes that were allowed', async () => {
    const browser = await loggedIn('ada')
    const consent = await browser.visit('/services/whoami/')
    assert.match(consent.text, /Read reports/)
    const decided = await decide(browser, consent, 'authorize')
    const page = await browser.visit(decided.headers.get('location') ?? '')
    assert.equal(page.url.pathname, '/services/whoami/')
    const user = JSON.parse(page.text) as { name: string; scopes: string[] }
    assert.equal(user.name, 'ada')
    assert.deepEqual(user.scopes.toSorted(), [
      'access:services!service=whoami',
      'custom:reports:read',
      'read:users:groups!user=ada',
      'read:users:name!user=ada',
    ])
  })

  it('checks the scopes of those who are in', async () => {
    const ada = await entered('ada')
    assert.equal((await ada.get('/services/whoami/reports')).status, 200)
    const carol = await entered('carol')
    const { text } = await carol.get('/services/whoami/')
    assert.equal((JSON.parse(text) as { name: string }).name, 'carol')
    assert.equal((await carol.get('/services/whoami/reports')).status, 403)
  })

  it('lets in nobody whom the hub does not give access', async () => {
    const bob = await loggedIn('bob')
    const page = await bob.visit('/services/whoami/')
    assert.deepEqual([page.status, page.url.pathname], [403, '/hub/api/oauth2/authorize'])
  })

  it('asks the hub with its own token and the rights of its role', async () => {
    const { text } = await (await entered('ada')).get('/services/whoami/people')
    const { people } = JSON.parse(text) as { people: string[] }
    assert.deepEqual(people.toSorted(), ['ada', 'bob', 'carol'])
  })

  it('knows nobody any more after the logout at the hub', async () => {
    const browser = await entered('ada')
    await browser.visit('/hub/logout')
    assert.equal((await browser.visit('/services/whoami/')).url.pathname, '/hub/login')
  })

  it('HubAuthenticated knows the holders of tokens, and what they may do', async () => {
    const post = async (user: string): Promise<Page> => {
      const { token } = await test.operator.createToken(user)
      return new Browser(test.origin).send('POST', '/services/notices/', {
        body: JSON.stringify({ text: `from ${user}` }),
        headers: { Authorization: `token ${token}` },
      })
    }
    assert.equal((await post('carol')).status, 403)
    assert.equal((await post('ada')).status, 200)
    const { text } = await new Browser(test.origin).get('/services/notices/')
    assert.deepEqual(JSON.parse(text), { text: 'from ada', by: 'ada' })
  })
})
