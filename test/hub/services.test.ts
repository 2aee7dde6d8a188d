import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { ServiceModel } from '../../packages/client/index.ts'
import { Browser } from '../support/browser.ts'
import { freePorts, singleUser, startTestHub, type TestHub } from '../support/start-hub.ts'
import { kill, runs } from '../support/hub-process.ts'
import { until } from '../support/until.ts'

const externalToken = 'token-of-the-external-service'

/** The environment that a process was started with. */
function environmentOf(pid: number): Record<string, string> {
  const lines = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s, 2) as [string, string]))
}

describe('services of the config', () => {
  let test: TestHub
  let url = ''
  before(async () => {
    const [port] = await freePorts(1)
    url = `http://127.0.0.1:${port}`
    test = await startTestHub({
      config: {
        hub: {
          adminUsers: ['boss'],
          loadRoles: [{ name: 'lister', scopes: ['list:users'], services: ['probe'] }],
        },
        services: [
          {
            name: 'probe',
            url,
            command: singleUser(),
            environment: { GREETING: 'hello', JUPYTERHUB_SERVICE_NAME: 'other' },
            oauthClientAllowedScopes: ['read:servers!user'],
            info: { about: 'tests' },
          },
          { name: 'quiet', command: singleUser('--never-listen'), display: false },
          { name: 'external', url: 'http://127.0.0.1:9', apiToken: externalToken, timeout: 0.1 },
          { name: 'broken', command: ['/nowhere/at/all'] },
        ],
      },
    })
  })
  after(() => test[Symbol.asyncDispose]())

  const service = (name: string): Promise<ServiceModel> => test.operator.service(name)
  const running = (name: string, not = 0): Promise<number> =>
    until(`${name} runs`, async () => {
      const pid = (await service(name)).pid ?? 0
      return pid !== 0 && pid !== not && pid
    })
  const whoAmI = async (token: string) => {
    const page = await new Browser(test.origin).get('/hub/api/user', {
      Authorization: `token ${token}`,
    })
    return { status: page.status, model: JSON.parse(page.text) as Record<string, unknown> }
  }

  it('run with the environment that JupyterHub gives, and are served below /services/', async () => {
    const pid = await running('probe')
    const environment = environmentOf(pid)
    const { JUPYTERHUB_API_TOKEN: token = '', ...rest } = environment
    const expected = {
      JPY_API_TOKEN: token,
      JUPYTERHUB_CLIENT_ID: 'service-probe',
      JUPYTERHUB_SERVICE_NAME: 'probe',
      JUPYTERHUB_SERVICE_URL: url,
      JUPYTERHUB_SERVICE_PREFIX: '/services/probe/',
      JUPYTERHUB_OAUTH_CALLBACK_URL: '/services/probe/oauth_callback',
      JUPYTERHUB_OAUTH_ACCESS_SCOPES: '["access:services","access:services!service=probe"]',
      JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES: '["read:servers!user"]',
      JUPYTERHUB_API_URL: `${test.hub.internalUrl}/hub/api`,
      JUPYTERHUB_BASE_URL: '/',
      JUPYTERHUB_USER: '',
      JUPYTERHUB_SERVER_NAME: '',
      GREETING: 'hello',
    }
    for (const [name, value] of Object.entries(expected)) assert.equal(rest[name], value, name)
    assert.equal(rest['JUPYTERHUB_ACTIVITY_URL'], undefined)
    const page = await until('it is served', async () => {
      const found = await new Browser(test.origin).get('/services/probe/hello')
      return found.status === 200 && found
    })
    assert.equal((JSON.parse(page.text) as { pid: number }).pid, pid)
  })

  it('without a url have no prefix, no client and no route', async () => {
    const environment = environmentOf(await running('quiet'))
    assert.equal(environment['JUPYTERHUB_SERVICE_NAME'], 'quiet')
    assert.equal(environment['JUPYTERHUB_SERVICE_PREFIX'], undefined)
    assert.equal(environment['JUPYTERHUB_SERVICE_URL'], undefined)
    assert.equal(environment['JUPYTERHUB_CLIENT_ID'], undefined)
  })

  it('have a token with the rights of their roles, and none without', async () => {
    const token = environmentOf(await running('probe'))['JUPYTERHUB_API_TOKEN'] ?? ''
    const { status, model } = await whoAmI(token)
    assert.equal(status, 200)
    assert.equal(model['kind'], 'service')
    assert.equal(model['name'], 'probe')
    assert.deepEqual(model['scopes'], ['list:users', 'read:users:name'])
    const external = await whoAmI(externalToken)
    assert.deepEqual([external.model['name'], external.model['scopes']], ['external', []])
  })

  it('are started again when they end, with a new token in place of the old one', async () => {
    const pid = await running('probe')
    const token = environmentOf(pid)['JUPYTERHUB_API_TOKEN'] ?? ''
    kill(pid)
    const next = await running('probe', pid)
    assert.equal(runs(pid), false)
    assert.equal((await whoAmI(token)).status, 403)
    const fresh = environmentOf(next)['JUPYTERHUB_API_TOKEN'] ?? ''
    assert.equal((await whoAmI(fresh)).status, 200)
    assert.match(test.logLines.join('\n'), /service probe was ended by SIGKILL; again in 1 s/)
  })

  it('that cannot be started or do not answer are lines in the log, and keep nobody waiting', async () => {
    const lines = (): string => test.logLines.join('\n')
    await until('both are logged', () => {
      return (
        /service broken .*program was not found/.test(lines()) &&
        /service external does not answer/.test(lines())
      )
    })
    assert.equal((await service('broken')).pid, 0)
    assert.doesNotMatch(lines(), new RegExp(externalToken))
  })

  it('write to a log file of their own', async () => {
    await running('probe')
    const log = join(test.dataDir, 'logs', 'services', 'broken.log')
    assert.match(readFileSync(log, 'utf8'), /nowhere/)
  })

  it('are listed with what the scopes of the caller show', async () => {
    const probe = await service('probe')
    assert.deepEqual(
      { ...probe, pid: 1 },
      {
        kind: 'service',
        name: 'probe',
        admin: false,
        url,
        prefix: '/services/probe/',
        command: [...singleUser()],
        pid: 1,
        info: { about: 'tests' },
        display: true,
        roles: ['lister'],
      },
    )
    const names = (await test.operator.services()).map(({ name }) => name)
    assert.deepEqual(names.toSorted(), ['broken', 'external', 'probe', 'quiet'])
  })

  it('end with the hub; what has left the config is gone with its token at the next start', async () => {
    const pids = [await running('probe'), await running('quiet')]
    const token = environmentOf(await running('probe'))['JUPYTERHUB_API_TOKEN'] ?? ''
    test = await test.restart({}, [{ name: 'probe' }])
    assert.deepEqual(pids.map(runs), [false, false])
    const left = await test.operator.services()
    assert.deepEqual(
      left.map(({ name, command, prefix }) => [name, command, prefix]),
      [['probe', [], '']],
    )
    for (const gone of [externalToken, token]) assert.equal((await whoAmI(gone)).status, 403)
    assert.equal((await new Browser(test.origin).get('/services/probe/')).status, 302)
  })
})
