import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { redact } from '../../../hub/config/redact.ts'
import { loadSecrets } from '../../../hub/secrets.ts'
import { temporaryFolder } from '../../support/folder.ts'
import { accepted, dummy, refuses } from '../../support/load-config.ts'

const load = async (...services: object[]) =>
  (await accepted({ authenticator: dummy, services } as Parameters<typeof accepted>[0])).services
const refusesService = (service: object, ...texts: RegExp[]): Promise<void> =>
  refuses({ authenticator: dummy, services: [service] }, ...texts)

describe('services', () => {
  test('have defaults, and run in the folder of the config', async () => {
    const [culler] = await load({ name: 'culler', command: ['python3', '-m', 'culler'] })
    assert.equal(culler?.cwd, '/etc/portico')
    assert.equal(culler?.timeout, 30)
    assert.deepEqual(culler?.environment, {})
  })

  test('with a user of their own run in the home of that', async () => {
    const [culler] = await load({ name: 'culler', command: 'culler', user: 'nobody' })
    assert.equal(culler?.cwd, undefined)
    assert.deepEqual(culler?.command, ['culler'])
  })

  test('keep their url as it was written', async () => {
    const [service] = await load({ name: 'a', url: 'http://127.0.0.1:10101' })
    assert.equal(service?.url, 'http://127.0.0.1:10101')
  })

  test('with wrong options are refused, each named with its path', async () => {
    await refusesService(
      { name: 'no/slash', url: 'ftp://x', oauth_no_confirm: true, oauthClientId: 'grades' },
      /services\[0\]\.name: is no name/,
      /services\[0\]\.url: must begin with http/,
      /services\[0\]\.oauth_no_confirm: is unknown: did you mean 'oauthNoConfirm'\?/,
      /services\[0\]\.oauthClientId: must begin with 'service-'/,
    )
    await refuses({ authenticator: dummy, services: {} }, /services: must be a list/)
    await refuses({ authenticator: dummy, service: [] }, /service: .*did you mean 'services'/)
  })

  test('need a place where logins return to, which is no clear text', async () => {
    await refusesService({ name: 'a', oauthNoConfirm: true }, /oauthRedirectUri: is required/)
    const oauthRedirectUri = 'http://grades.example.org/callback'
    await refusesService({ name: 'a', oauthRedirectUri }, /oauthRedirectUri: .*A2-31/)
    await refusesService({ name: 'a', oauthRedirectUri: '//evil.org/' }, /must be a path/)
    await refusesService({ name: 'a', oauthRedirectUri: 'https://a.org/#b' }, /must be a path/)
  })

  test('share no name, token or client id', async () => {
    const apiToken = 'a token of the test'.replaceAll(' ', '-')
    await refuses(
      {
        authenticator: dummy,
        services: [
          { name: 'a', apiToken },
          { name: 'a', apiToken },
        ],
      },
      /services\[1\]\.name: is also that of services\[0\]/,
      /services\[1\]\.oauthClientId: is also/,
      /services\[1\]\.apiToken: is also/,
    )
  })

  test('are asked for no scopes that do not exist, and no account without a command', async () => {
    await refusesService(
      { name: 'a', url: 'http://127.0.0.1:1', user: 'x' },
      /services\[0\]\.user: is for services that the hub starts/,
    )
    await refusesService(
      { name: 'a', url: 'http://127.0.0.1:1', oauthClientAllowedScopes: ['reed:users'] },
      /oauthClientAllowedScopes: names scopes that do not exist: "reed:users"/,
    )
  })
})

describe('tokens of services', () => {
  test('come from the config, a variable or a private file', async (t) => {
    const dataDir = temporaryFolder(t)
    const file = join(dataDir, 'token')
    writeFileSync(file, 'token-in-the-file\n', { mode: 0o600 })
    const services = await load(
      { name: 'plain', apiToken: 'token-in-the-config' },
      { name: 'variable', apiToken: { env: 'GRADES_TOKEN' } },
      { name: 'file', apiToken: { file } },
      { name: 'none' },
    )
    const env = { GRADES_TOKEN: 'token-in-the-variable' }
    const { serviceTokens } = loadSecrets({ dataDir, env, services })
    assert.deepEqual(
      [...serviceTokens],
      [
        ['plain', 'token-in-the-config'],
        ['variable', 'token-in-the-variable'],
        ['file', 'token-in-the-file'],
      ],
    )
    assert.throws(
      () => loadSecrets({ dataDir, env: {}, services }),
      /GRADES_TOKEN: holds no token for the service variable/,
    )
    writeFileSync(file, 'short', { mode: 0o600 })
    assert.throws(() => loadSecrets({ dataDir, env, services }), /needs 8 or more characters/)
  })

  test('are not printed', async () => {
    const [service] = await load({ name: 'a', apiToken: 'token-in-the-config' })
    assert.doesNotMatch(JSON.stringify(redact(service)), /token-in-the-config/)
  })
})
