import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Browser } from '../support/browser.ts'
import { startExample } from '../support/examples.ts'
import { clientSecret } from '../support/fake-provider.ts'
import { temporaryFolder } from '../support/folder.ts'
import { logInAt, startIdentityProvider } from '../support/identity-provider.ts'

describe('examples/oidc', () => {
  it('starts, and lets a member of the group in, by the provider', async (t) => {
    const secret = join(temporaryFolder(t), 'secret')
    writeFileSync(secret, `${clientSecret}\n`, { mode: 0o600 })
    const people = { a1: { preferred_username: 'ada', groups: ['staff'] } }
    const { url } = await startExample(
      t,
      'oidc',
      async (hubUrl) => [
        `--set=authenticator.issuer=${(await startIdentityProvider(t, `${hubUrl}/`, people)).issuer}`,
        `--set=authenticator.oauthCallbackUrl=${hubUrl}/hub/oauth_callback`,
      ],
      `--set=authenticator.clientSecretFile=${secret}`,
      '--set=spawner.driver=simple',
      '--set=spawner.allowRoot=true',
    )
    const browser = new Browser(url)
    const home = await logInAt(browser, '/hub/oauth_login?next=%2Fhub%2Fhome', 'a1')
    assert.equal(home.url.href, `${url}/hub/home`)
    const page = await browser.get('/hub/home')
    assert.match(page.text, /data-user="ada"/)
    assert.equal((await logInAt(new Browser(url), '/hub/oauth_login', 'b2')).status, 403)
  })
})

describe('examples/github', () => {
  it('starts, and leads to GitHub with all that protects a login', async (t) => {
    const secret = join(temporaryFolder(t), 'secret')
    writeFileSync(secret, 'a secret', { mode: 0o600 })
    const { url } = await startExample(
      t,
      'github',
      `--set=authenticator.clientSecretFile=${secret}`,
    )
    const browser = new Browser(url)
    assert.match((await browser.get('/hub/login')).text, /Sign in with GitHub/)
    const away = await browser.get('/hub/oauth_login')
    const { origin, pathname, searchParams } = new URL(away.headers.get('location') ?? '')
    assert.equal(`${origin}${pathname}`, 'https://github.com/login/oauth/authorize')
    assert.equal(searchParams.get('redirect_uri'), 'http://127.0.0.1:8000/hub/oauth_callback')
    assert.equal(searchParams.get('code_challenge_method'), 'S256')
    assert.ok((searchParams.get('state') ?? '').length >= 43)
    assert.equal(searchParams.get('scope'), 'read:org')
    assert.equal(searchParams.has('nonce'), false)
  })
})
