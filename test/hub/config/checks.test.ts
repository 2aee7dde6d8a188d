import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { z } from 'zod'
import { type ConfigInput, describeProblem } from '../../../hub/config.ts'
import { accepted, dummy, load, refuses } from '../../support/load-config.ts'

describe('refused at start', () => {
  const routable = { bindUrl: 'http://0.0.0.0:8000' }
  const safe = { publicUrl: 'https://jupyter.example.org' }

  test('plain http on a routable address, until an https front end is declared or it is allowed', async () => {
    const insecure = { ...dummy, allowInsecureTestAuthenticator: true }
    await refuses({ hub: routable, authenticator: insecure }, /bindUrl: .*allowPlainHttp.*A1-1/)
    await accepted({ hub: { ...routable, ...safe }, authenticator: insecure })
    await accepted({ hub: { ...routable, allowPlainHttp: true }, authenticator: insecure })
  })

  test('a plain http front end', async () => {
    const authenticator = { ...dummy, allowInsecureTestAuthenticator: true }
    const hub = { publicUrl: 'http://jupyter.example.org' }
    await refuses({ hub, authenticator }, /hub\.publicUrl: .*A1-1/)
  })

  test('a test authenticator that others can reach, directly or through a front end', async () => {
    const rule = /authenticator\.driver: 'dummy'.*allowInsecureTestAuthenticator.*A2-17/
    await refuses({ hub: { ...routable, ...safe }, authenticator: dummy }, rule)
    await refuses({ hub: safe, authenticator: dummy }, rule)
    await accepted({
      hub: safe,
      authenticator: { ...dummy, allowInsecureTestAuthenticator: true },
    })
  })

  for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '[::1]']) {
    test(`not ${host}`, async () => {
      await accepted({ hub: { bindUrl: `http://${host}:8000` }, authenticator: dummy })
    })
  }

  test('a plain http callback of a login provider', async () => {
    const provider = {
      name: 'provider',
      config: z.strictObject({ oauthCallbackUrl: z.string() }),
      create: () => assert.fail('not needed'),
    }
    const authenticator = (oauthCallbackUrl: string) => ({
      driver: provider,
      oauthCallbackUrl,
      allowAll: true,
    })
    await refuses(
      { authenticator: authenticator('http://jupyter.example.org/hub/oauth_callback') },
      /authenticator\.oauthCallbackUrl: .*A2-31/,
    )
    await accepted({ authenticator: authenticator('http://127.0.0.1:8000/hub/oauth_callback') })
    await accepted({
      authenticator: authenticator('https://jupyter.example.org/hub/oauth_callback'),
    })
  })

  test('variables with secrets among those that servers inherit', async () => {
    const spawner = { envKeep: ['PATH', 'CONFIGPROXY_AUTH_TOKEN', 'JUPYTERHUB_CRYPT_KEY'] }
    await refuses(
      { authenticator: dummy, spawner },
      /envKeep\[1\]: 'CONFIGPROXY_AUTH_TOKEN'/,
      /envKeep\[2\]: 'JUPYTERHUB_CRYPT_KEY'/,
    )
  })
})

describe('contradictions are refused:', () => {
  const contradictions: [string, unknown, ...RegExp[]][] = [
    [
      'a blocked user who is allowed and admin',
      {
        hub: { adminUsers: ['eve'] },
        authenticator: {
          ...dummy,
          allowedUsers: ['eve'],
          adminUsers: ['Eve'],
          blockedUsers: ['eve'],
        },
      },
      /'eve' is also in hub\.adminUsers/,
      /'eve' is also in authenticator\.adminUsers/,
      /'eve' is also in authenticator\.allowedUsers/,
    ],
    [
      'a blocked name that no login can have',
      { authenticator: { ...dummy, blockedUsers: ['Eve', 'e\u0301ve'] } },
      /blockedUsers\[0\]: 'Eve' would block nobody.*'eve'/,
      /blockedUsers\[1\]: .*would block nobody/,
    ],
    [
      'everybody, and some by name',
      { authenticator: { ...dummy, allowAll: true } },
      /allowAll: lets everybody in/,
    ],
    [
      'a chain in the map of names',
      { authenticator: { ...dummy, usernameMap: { a: 'b', b: 'c', Z: 'z' } } },
      /usernameMap\.a: leads to 'b', which is mapped again/,
      /usernameMap\.Z: never applies/,
    ],
    [
      'one address for proxy and hub',
      { hub: { hubBindUrl: 'http://127.0.0.1:8000' }, authenticator: dummy },
      /hubBindUrl: is the same address/,
    ],
    [
      'two base urls',
      { hub: { bindUrl: 'http://127.0.0.1:8000/a', baseUrl: '/b' }, authenticator: dummy },
      /baseUrl: is '\/b\/', but hub\.bindUrl has the path '\/a\/'/,
    ],
    [
      'a public url elsewhere',
      {
        hub: { baseUrl: '/b/', publicUrl: 'https://localhost/c' },
        authenticator: dummy,
      },
      /publicUrl: has the path '\/c\/'/,
    ],
    [
      'host cookies without https',
      { hub: { cookieHostPrefixEnabled: true }, authenticator: dummy },
      /cookieHostPrefixEnabled: needs an https/,
    ],
    [
      'a page larger than the largest',
      { hub: { apiPageDefaultLimit: 500 }, authenticator: dummy },
      /apiPageDefaultLimit: is 500/,
    ],
  ]
  for (const [what, input, ...texts] of contradictions) {
    test(what, () => refuses(input, ...texts))
  }

  test('not where one side is itself wrong', async () => {
    await refuses(
      { hub: { bindUrl: 'http://0.0.0.0:8000', publicUrl: 'https://' }, authenticator: dummy },
      /hub\.publicUrl: is not a url/,
    )
  })
})

describe('warnings', () => {
  async function warnings(input: ConfigInput) {
    const loaded = await load(input)
    if ('problems' in loaded) assert.fail(loaded.problems.map(describeProblem).join('\n'))
    return loaded.warnings
  }

  test('say that nobody can come in, which fails the check and not the start', async () => {
    const [warning] = await warnings({ authenticator: { driver: 'dummy', allowAll: false } })
    assert.match(warning?.message ?? '', /no rule lets anybody in.*A2-18/)
    assert.equal(warning?.failsCheck, true)
    const client = { clientId: 'hub', clientSecret: 'secret' }
    const google = { driver: 'google', ...client }
    const idp = { usernameDerivation: { usernameClaim: 'eppn' } }
    const cilogon = { driver: 'cilogon', ...client, idps: { lab: idp } }
    for (const closed of [google, { ...google, allowUnverifiedEmail: true }, cilogon])
      assert.equal((await warnings({ authenticator: closed })).length, 1, JSON.stringify(closed))
    for (const open of [
      { ...google, allowedHostedDomains: ['example.org'] },
      { ...cilogon, idps: { lab: { ...idp, allowAll: true } } },
    ])
      assert.deepEqual(await warnings({ authenticator: open }), [], JSON.stringify(open))
  })

  test('point out names that match nobody', async () => {
    const [warning] = await warnings({ authenticator: { ...dummy, allowedUsers: ['Ada'] } })
    assert.match(warning?.message ?? '', /'Ada' matches nobody.*'ada'/)
    assert.equal(warning?.failsCheck, false)
  })

  test('are absent from a good config', async () => {
    assert.deepEqual(await warnings({ authenticator: dummy }), [])
  })
})
